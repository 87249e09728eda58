"""What the sections curves, augmentation and configuration show: how the model was made."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common import run_files
from report import drawing, thumbnails
from report.run_data import RunData
from trainer import history

_CURVE_KINDS = {"ema": "first", "raw": "second"}


def curves(data: RunData) -> dict[str, Any]:
    """Loss, accuracy and rate over the steps."""
    losses = list(history.read(history.losses(data.folder)))
    measured = list(history.read(history.measurements(data.folder)))
    weights = [
        name.removeprefix(history.EVAL_TOP_1)
        for name in (measured[0] if measured else ())
        if name.startswith(history.EVAL_TOP_1)
    ]
    accuracy = [
        drawing.Line(
            "train, a batch each", "quiet", drawing.series(losses, "accuracy")
        ),
        *(
            drawing.Line(
                f"eval, {'averaged' if each == 'ema' else each} weights",
                _CURVE_KINDS.get(each, "second"),
                drawing.series(measured, history.EVAL_TOP_1 + each),
                has_marks=True,
            )
            for each in sorted(weights, reverse=True)
        ),
    ]
    panels = [
        ("Loss", "loss of the batch", [_train_line(losses, "loss")], 0.0),
        ("Accuracy", "top-1", accuracy, 1.0),
        ("Learning rate", "rate", [_train_line(losses, "learning_rate")], 0.0),
    ]
    # A class layer fitted at once has no losses of steps.
    expected = [history.HISTORY_FILE]
    if data.summary["steps"]:
        expected.insert(0, history.LOSSES_FILE)
    missing = [
        f"gone: {data.folder / name}"
        for name in expected
        if not (data.folder / name).is_file()
    ]
    return {
        "panels": [
            {
                "title": title,
                "drawing": drawing.curves(
                    drawing.in_words(title, lines), y_name, lines, top=top
                ),
                "lines": [line for line in lines if line.points],
            }
            for title, y_name, lines, top in panels
            if any(line.points for line in lines)
        ],
        "heads": list(history.read(history.heads(data.folder))),
        "net": data.summary["net"],
        "start": data.summary.get("start"),
        "head_top_1": data.summary.get("head_top_1"),
        "best_step": data.summary["best_step"],
        "steps": data.summary["steps"],
        "eval_top_1": data.summary["eval_top_1"],
        "weights": data.summary["weights"],
        "missing": missing,
    }


def augmentation_rows(grid: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """A row an image: as evaluation sees it, then as training does.

    Args:
      grid: uint8 [n, 1 + variants, height, width, channels].
      names: class of each image.
    """
    return [
        {"name": name, "sources": [thumbnails.of_pixels(pixels) for pixels in row]}
        for name, row in zip(names, grid, strict=True)
    ]


def configuration(data: RunData) -> dict[str, Any]:
    """Settings, versions, fingerprints, artifacts and time."""
    summary = data.summary
    changed = [
        setting
        for setting in data.settings
        if setting.origin not in ("", "default", "experiment")
    ]
    seconds: Mapping[str, float] = summary["seconds"]
    longest = max(seconds.values(), default=0)
    return {
        "changed": changed,
        "settings": data.settings,
        "versions": summary.get("versions") or {},
        "source_fingerprint": summary.get("source_fingerprint"),
        "data_fingerprint": summary.get("data_fingerprint", ""),
        "artifacts": [
            (component, key, uri, pathlib.Path(uri).exists())
            for component, outputs in summary["artifacts"].items()
            for key, uris in outputs.items()
            for uri in uris
        ],
        "seconds": [
            (name, value, drawing.bar(value, longest))
            for name, value in seconds.items()
        ],
        "total_seconds": summary["total_seconds"],
        "missing": []
        if data.settings
        else [f"gone: {data.folder / run_files.CONFIG_FILE}"],
    }


def _train_line(rows: Sequence[Mapping[str, float]], name: str) -> drawing.Line:
    return drawing.Line("train", "first", drawing.series(rows, name))
