"""From the folder of a run to its page."""

import pathlib
from collections.abc import Sequence
from typing import Any

import markupsafe
import pandas as pd

from common import run_files
from common.errors import SlimlineError
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

    What some of the artifacts told is left out where they are gone; the page says which
    file is missing then.

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
    style = (page.TEMPLATES / page.STYLE).read_text(encoding="utf-8")
    script = (page.TEMPLATES / SCRIPT).read_text(encoding="utf-8")
    template = page.environment().get_template(PAGE)
    return template.render(
        headings=SECTIONS,
        run=data.summary["run"],
        experiment=data.summary["experiment"],
        finished=data.summary.get("finished", ""),
        style=markupsafe.Markup(style),
        script=markupsafe.Markup(script),
        policy=page.policy(style, script),
        **_contents(data),
    )


def _contents(data: RunData) -> dict[str, Any]:
    """Context of each section by its id, with all images read."""
    shown = confusion.matrix(data.verdict["confusion"]) if data.verdict else None
    chosen: dict[confusion.Cell, list[Any]] = {}
    wrong: pd.DataFrame | None = None
    least_sure: pd.DataFrame | None = None
    surest: pd.DataFrame | None = None
    if data.table is not None:
        wrong, least_sure = pictures.choose_mistakes(data.table)
        surest = pictures.choose_surest_hits(data.table)
        if shown:
            chosen = confusion.choose_images(shown, data.table)
    cell_keys = confusion.keys_in_order(chosen)
    single_keys = [
        key
        for rows in (wrong, surest, least_sure)
        if rows is not None
        for key in rows["key"]
    ]
    test = data.split(features.TEST)
    encoded = split_images.by_key(test, [*cell_keys, *single_keys]) if test else {}
    in_cells = thumbnails.within(cell_keys, encoded, pictures.CELL_BYTES)
    singles = thumbnails.within(single_keys, encoded, pictures.MISTAKE_BYTES)
    explained = [
        row
        for rows in (wrong, surest)
        if rows is not None
        for row in rows.itertuples(index=False)
    ]
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
        "hits": pictures.hits(data, surest, least_sure, singles, heat),
        "augmentation": augmentation,
        "configuration": training.configuration(data),
    }


def _from_train(data: RunData) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Examples of the classes, and what augmentation makes of some of them."""
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
    # One of each class before the second of any.
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
    sections_read = {key.split(".")[0] for key in known_keys(TrainerConfig)}
    nested = run_data.trainer_values(data.settings, sorted(sections_read))
    if not nested or not images:
        reason = "the settings of the run" if images else "images of train"
        return {"rows": [], "steps": [], "missing": [f"gone: {reason}"]}
    try:
        config = from_json(TrainerConfig, nested)
        grid = preview.preview([image.encoded for image in images], config, VARIANTS)
    except SlimlineError as error:
        # Settings of another version of slimline.
        return {"rows": [], "steps": [], "missing": [error.message]}
    names = [data.labels[image.label] for image in images]
    return {
        "rows": training.augmentation_rows(grid, names),
        "steps": recipe.describe(config),
        "missing": [],
    }
