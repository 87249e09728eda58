"""Builds the page about a run from its folder."""

import pathlib
from collections.abc import Sequence
from typing import Any

import pandas as pd

from common import run_files
from common.errors import SlimlineError
from components.model_evaluator import predictions
from report import (
    confusion,
    dataset,
    heat_maps,
    outcome,
    page,
    pictures,
    run_data,
    split_images,
    thumbnails,
    training,
)
from report.run_data import RunData
from schema import features
from storage import durable
from trainer.augmentation import preview, recipe
from trainer.config import TrainerConfig, from_json, known_keys

PAGE, SCRIPT = "page.html.jinja", "page.js"
AUGMENTED_IMAGES, VARIANTS = 6, 7
# Those of the table of predictions that the page reads.
COLUMNS = (
    predictions.KEY,
    predictions.LABEL,
    predictions.PREDICTED,
    predictions.CONFIDENCE,
)
# Id of each section and its heading, in the order of the page.
SECTIONS = {
    "verdict": "Verdict",
    "metrics": "Metrics",
    "data": "Data",
    "curves": "Curves",
    "confusion": "Confusion",
    "classes": "Classes",
    "calibration": "Calibration",
    "mistakes": "Mistakes",
    "hits": "Hits",
    "augmentation": "Augmentation",
    "configuration": "Configuration",
}


def build(run_folder: pathlib.Path, path: pathlib.Path | None = None) -> pathlib.Path:
    """Writes the page of a finished run; returns its file.

    Where artifacts are gone, the page shows the rest and names the missing files.

    Args:
      run_folder: of the run.
      path: of the page; `report.html` in the folder where it is None.

    Raises:
      ConfigError: there is no such run, it did not end, or all of its artifacts are gone.
      OSError: the page cannot be written.
    """
    text = render(run_data.read(run_folder))
    path = path or run_folder / run_files.REPORT_FILE
    durable.write_text(path, text)
    return path


def render(data: RunData) -> str:
    """The page as HTML."""
    return page.render(
        PAGE,
        (page.TEMPLATES / SCRIPT).read_text(encoding="utf-8"),
        headings=SECTIONS,
        summary=data.summary,
        **_contents(data),
    )


def _contents(data: RunData) -> dict[str, Any]:
    """Contents of each section by its id."""
    shown = confusion.matrix(data.verdict["confusion"]) if data.verdict else None
    table = data.table if data.table is not None else pd.DataFrame(columns=COLUMNS)
    chosen = confusion.choose_images(shown, table) if shown else {}
    wrong, most_confident, least_confident = pictures.choose(table)
    cell_keys = confusion.keys_in_order(chosen)
    single_keys = [*wrong["key"], *most_confident["key"], *least_confident["key"]]
    test = data.split(features.TEST)
    encoded = split_images.by_key(test, [*cell_keys, *single_keys]) if test else {}
    in_cells = thumbnails.within(cell_keys, encoded, pictures.CELL_BYTES)
    singles = thumbnails.within(single_keys, encoded, pictures.MISTAKE_BYTES)
    explained = pd.concat([wrong, most_confident])
    heat, unexplained = heat_maps.of_run(data, explained, encoded)
    examples, augmentation = _from_train(data)
    return {
        "verdict": outcome.verdict(data),
        "metrics": outcome.metrics(data),
        "data": dataset.dataset(data, examples),
        "curves": training.curves(data),
        "confusion": pictures.matrix(data, shown, chosen, in_cells),
        "classes": outcome.classes(data),
        "calibration": outcome.calibration(data),
        "mistakes": pictures.mistakes(data, wrong, singles, heat, unexplained),
        "hits": pictures.hits(data, most_confident, least_confident, singles, heat),
        "augmentation": augmentation,
        "configuration": training.configuration(data),
    }


def _from_train(data: RunData) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Training images of each class, and augmented variants of some of them."""
    missing = data.without(f"{run_data.EXAMPLES} {features.TRAIN}")
    split = data.split(features.TRAIN)
    if split is None:
        return [], {"rows": [], "steps": [], "missing": missing}
    labels = data.labels
    per_class = dataset.EXAMPLES_PER_CLASS
    if len(labels) * per_class > dataset.MAX_EXAMPLES:
        per_class = 1
    places = range(min(len(labels), dataset.MAX_EXAMPLES))
    found = split_images.of_each_class(split, places, per_class)
    examples = [
        {
            "src": thumbnails.of_encoded(image.encoded),
            "key": image.key,
            "text": labels[label],
        }
        for label, images in found.items()
        for image in images
    ]
    # The first of each class before the second of any.
    by_turn = sorted(
        (place, image.label, image)
        for images in found.values()
        for place, image in enumerate(images)
    )
    chosen = [image for _, _, image in by_turn[:AUGMENTED_IMAGES]]
    return examples, _augmentation(data, chosen)


def _augmentation(
    data: RunData, images: Sequence[split_images.SplitImage]
) -> dict[str, Any]:
    sections = {key.split(".")[0] for key in known_keys(TrainerConfig)}
    nested: dict[str, dict[str, Any]] = {}
    for setting in data.settings:
        section, _, key = setting.key.partition(".")
        if section in sections:
            nested.setdefault(section, {})[key] = setting.value
    if not nested or not images:
        reason = "the settings of the run" if images else "images of train"
        return {"rows": [], "steps": [], "missing": [f"gone: {reason}"]}
    try:
        config = from_json(TrainerConfig, nested)
        grid = preview.preview([image.encoded for image in images], config, VARIANTS)
    except SlimlineError as error:
        # The settings are of another version of slimline.
        return {"rows": [], "steps": [], "missing": [error.message]}
    names = [data.labels[image.label] for image in images]
    return {
        "rows": training.augmentation_rows(grid, names),
        "steps": recipe.describe(config),
        "missing": [],
    }
