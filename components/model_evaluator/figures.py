"""Figures of a model from its answers alone: one pass over images, without TFMA."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from components.model_evaluator import intervals, predictions, scores
from components.model_evaluator.intervals import Interval

TOP_K = 5


@dataclasses.dataclass(frozen=True)
class Figures:
    """How good a model is on labelled images.

    Attributes:
      metrics: `top_1`, `top_5` where there are more classes, `cross_entropy` (nats),
        `macro_precision`, `macro_recall`, `macro_f1`, `calibration_error`, `example_count`;
        the same as those of a run.
      intervals: 95 % intervals of `top_1`, `top_5` and `cross_entropy`.
      per_class: class -> `precision`, `recall`, `f1`, `support`; of all classes.
      most_confused: true class, predicted class, images; None where nothing is wrong.
    """

    metrics: Mapping[str, float]
    intervals: Mapping[str, Interval]
    per_class: Mapping[str, Mapping[str, float]]
    most_confused: tuple[str, str, int] | None


def of_table(table: pd.DataFrame, labels: Sequence[str]) -> Figures:
    """Figures of the answers in `table`.

    Args:
      table: a row an image, at least one: the columns of `predictions.answer` and `label`.
      labels: class names of the model, in label order.
    """
    confusion = np.zeros([len(labels), len(labels)], np.int64)
    places = (table[predictions.LABEL], table[predictions.PREDICTED])
    np.add.at(confusion, tuple(place.to_numpy() for place in places), 1)
    per_class = scores.per_class(confusion, labels)
    hits = {
        f"top_{k}": predictions.hits(table, k)
        for k in (1, TOP_K)
        if k == 1 or k < len(labels)
    }
    losses = predictions.cross_entropy(table)
    bins = scores.reliability(
        table[predictions.CONFIDENCE].to_numpy(), predictions.hits(table)
    )
    return Figures(
        metrics={
            **{name: float(each.mean()) for name, each in hits.items()},
            "cross_entropy": float(losses.mean()),
            **scores.macro(per_class),
            "calibration_error": scores.calibration_error(bins),
            "example_count": float(len(table)),
        },
        intervals={
            **{
                name: intervals.of_share(int(each.sum()), len(each))
                for name, each in hits.items()
            },
            "cross_entropy": intervals.of_mean(losses),
        },
        per_class=per_class,
        most_confused=scores.most_confused(confusion.tolist(), labels),
    )
