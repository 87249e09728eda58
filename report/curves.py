"""Panels about trainings: one in full, or several in each panel."""

import pathlib
from collections.abc import Mapping

from report.drawing import QUIET, Line, Panel, look, series, thin
from trainer import history


def of_run(folder: pathlib.Path) -> list[Panel]:
    """Loss, accuracy and rate of a training.

    Args:
      folder: with the tables of the training.
    """
    losses = list(history.read(history.losses(folder)))
    measured = list(history.read(history.measurements(folder)))
    names = [
        name
        for name in (measured[0] if measured else ())
        if name.startswith(history.EVAL_TOP_1)
    ]
    accuracy = [Line("train, a batch each", QUIET, series(losses, "accuracy"))]
    # Averaged weights first, if there are any.
    for name in sorted(names):
        weights = name.removeprefix(history.EVAL_TOP_1)
        title = f"eval, {'averaged' if weights == 'ema' else weights} weights"
        points = series(measured, name)
        accuracy.append(Line(title, look(weights != "ema"), points, has_marks=True))
    best = max(measured, key=history.eval_top_1, default=None)
    top = (best["step"], history.eval_top_1(best)) if best else None
    return [
        Panel("Loss", "loss of the batch", [_train(losses, "loss")]),
        Panel("Accuracy", "top-1", accuracy, top=1.0, best=top),
        Panel("Learning rate", "rate", [_train(losses, "learning_rate")]),
    ]


def of_runs(folders: Mapping[str, pathlib.Path]) -> list[Panel]:
    """Loss, eval top-1 and rate of several trainings.

    Args:
      folders: by name, with the tables of each training.
    """
    losses, top_1, rates = [], [], []
    for place, (name, folder) in enumerate(folders.items()):
        rows = list(history.read(history.losses(folder)))
        losses.append(Line(name, look(place), series(rows, "loss")))
        rates.append(Line(name, look(place), series(rows, "learning_rate")))
        points = thin(
            [
                (row["step"], history.eval_top_1(row))
                for row in history.read(history.measurements(folder))
            ]
        )
        top_1.append(Line(name, look(place), points, has_marks=True))
    return [
        Panel("Loss", "loss of the batch", losses),
        Panel("Accuracy on eval", "top-1", top_1, top=1.0),
        Panel("Learning rate", "rate", rates),
    ]


def _train(rows: list[dict[str, float]], name: str) -> Line:
    return Line("train", look(0), series(rows, name))
