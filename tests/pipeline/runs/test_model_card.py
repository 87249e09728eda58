"""The card that goes with a model."""

import json
import pathlib

import pytest

from components.model_evaluator import gate
from pipeline.runs import lineage, model_card
from schema import orientation

FIGURES = {
    "is_blessed": True,
    "labels": ["ant", "bee"],
    "sentences": ["top-1 0.9000 ≥ 0.8000 required"],
    "metrics": {"top_1": 0.9},
    "intervals": {"top_1": [0.8, 0.95]},
    "baseline_version": "6",
    "baseline_metrics": {"top_1": 0.75},
    "per_class": {
        "ant": {"precision": 1.0, "recall": 0.8, "f1": 0.9, "support": 5},
        "bee": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0},
    },
}
CHANGED = "The classes are not those of version 6"


def card(
    folder: pathlib.Path, properties: dict[str, dict] | None = None, **changes: object
) -> str:
    """The card of a run whose evaluation has figures; all its other files are gone."""
    (folder / gate.VERDICT_FILE).write_text(json.dumps(FIGURES | changes))
    steps = [
        lineage.Step(
            component,
            number,
            "2026-01-01",
            (properties or {}).get(component, {}),
            (),
            {"evaluation": str(folder)},
            {},
        )
        for number, component in enumerate(("ingest", "transform", "train", "evaluate"))
    ]
    return model_card.render(folder / "pets" / "7", steps)


def test_the_card_says_how_photos_are_turned(tmp_path: pathlib.Path) -> None:
    # Runs of earlier releases left no rule.
    assert "JPEG or PNG, seen as stored, Exif orientation ignored; what" in card(
        tmp_path
    )
    properties = {"transform": {"orientation": orientation.RULE}}
    text = card(tmp_path, properties=properties)
    assert "JPEG or PNG, turned upright by its Exif orientation; what" in text


def test_figures_of_other_classes_are_told_apart(tmp_path: pathlib.Path) -> None:
    classes = {"shared": ["ant"], "added": ["bee"], "removed": ["emu|x"], "images": 5}
    text = card(tmp_path, classes=classes)
    assert "| top_1 | 0.9000 | 0.8000 to 0.9500 | 0.7500 |" in text
    assert (
        f"{CHANGED} (new, without a baseline: bee; gone: emu/x). The figures before are those"
        " of the 5 images of classes that both models know."
    ) in text


@pytest.mark.parametrize(
    "classes",
    [None, {"shared": ["ant", "bee"], "added": [], "removed": [], "images": 5}],
)
def test_the_same_classes_need_no_word(tmp_path: pathlib.Path, classes) -> None:
    assert CHANGED not in card(tmp_path, classes=classes)


def test_a_class_without_test_images_is_not_called_weak(tmp_path: pathlib.Path) -> None:
    weak = card(tmp_path).partition("## Where it is weak")[2].partition("##")[0]
    assert "| ant |" in weak
    assert "bee" not in weak


def test_the_figure_without_views_stands_in_the_card(tmp_path: pathlib.Path) -> None:
    views = {
        "views": "mirror",
        "metrics": {"top_1": 0.88},
        "differences": {"top_1": {"difference": 0.02, "low": -0.01, "high": 0.05}},
    }
    assert (
        "On the same images: top-1 0.8800 without its test-time views (mirror), +0.0200"
        " with them (95 % interval -0.0100 to +0.0500)."
    ) in card(tmp_path, test_time_views=views)
    assert "test-time views" not in card(tmp_path)
