"""Figures of a split from the table of predictions: of all images, slices and classes."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics

from components.model_evaluator import gate, intervals, predictions, scores

TOP_K = 5
CROSS_ENTROPY = "cross_entropy"
COUNT = "example_count"


def top(k: int) -> str:
    """Name of the metric that counts an image when its class is among the k first."""
    return f"top_{k}"


def telling(top_k: Iterable[int], num_classes: int) -> list[int]:
    """Those of `top_k` that say something about `num_classes` classes."""
    return [k for k in top_k if k == 1 or k < num_classes]


def of_images(
    table: pd.DataFrame, top_k: Iterable[int], prefix: str = ""
) -> pd.DataFrame:
    """Metrics of each image; their means are those of a split or slice.

    Args:
      table: as `predictions.read` gives it.
      top_k: which top-k accuracies.
      prefix: of the model's columns, as `predictions.BASELINE_PREFIX`.

    Returns:
      A row per image: bool `top_<k>`, and float64 `cross_entropy` in nats.
    """
    values = {top(k): predictions.hits(table, k, prefix) for k in top_k}
    values[CROSS_ENTROPY] = predictions.cross_entropy(table, prefix)
    return pd.DataFrame(values)


def means(values: pd.DataFrame) -> dict[str, float]:
    """Metrics of the images of a split or slice, and how many there are.

    Args:
      values: as `of_images` gives them.
    """
    return {
        **{name: float(column.mean()) for name, column in values.items()},
        COUNT: float(len(values)),
    }


def overall(
    values: pd.DataFrame,
    by_class: Mapping[str, Mapping[str, float]],
    bins: Sequence[dict[str, Any]],
) -> dict[str, float]:
    """`means`, and what follows from classes and from confidence.

    Args:
      values: as `of_images` gives them.
      by_class: as `per_class` gives them.
      bins: as `reliability` gives them.
    """
    error = scores.calibration_error(bins)
    return means(values) | scores.macro(by_class) | {"calibration_error": error}


def interval(column: pd.Series) -> intervals.Interval:
    """Of the mean of a metric of `of_images`."""
    if column.dtype == bool:
        return intervals.of_share(int(column.sum()), len(column))
    return intervals.of_mean(column.to_numpy())


def reliability(table: pd.DataFrame) -> list[dict[str, Any]]:
    """See `scores.reliability`."""
    return scores.reliability(
        table[predictions.CONFIDENCE].to_numpy(), predictions.hits(table)
    )


def slices(
    table: pd.DataFrame, labels: Sequence[str]
) -> Iterator[tuple[str, str, np.ndarray]]:
    """`gate.CLASS` or name of a trait, its value, and the rows that have it.

    Args:
      table: as `predictions.read` gives it.
      labels: class names in label order.
    """
    names = np.array(labels, dtype=object)
    columns = {gate.CLASS: names[table[predictions.LABEL]]} | {
        column.removeprefix(predictions.TRAIT_PREFIX): table[column]
        for column in table
        if column.startswith(predictions.TRAIT_PREFIX)
    }
    for name, values in sorted(columns.items()):
        rows = pd.Series(np.arange(len(table))).groupby(np.asarray(values)).indices
        for value in sorted(rows):
            yield name, value, rows[value]


def confusion(table: pd.DataFrame, num_classes: int) -> np.ndarray:
    """int [num_classes, num_classes], rows true, columns predicted."""
    return metrics.confusion_matrix(
        table[predictions.LABEL],
        table[predictions.PREDICTED],
        labels=np.arange(num_classes),
    )


def per_class(
    table: pd.DataFrame, labels: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Class name -> precision, recall, f1 and support.

    A class that is never predicted has precision 0, one without images recall 0.
    """
    columns = metrics.precision_recall_fscore_support(
        table[predictions.LABEL],
        table[predictions.PREDICTED],
        labels=np.arange(len(labels)),
        zero_division=0,
    )
    names = ("precision", "recall", "f1", "support")
    return {
        label: dict(zip(names, row, strict=True))
        for label, *row in zip(
            labels, *(column.tolist() for column in columns), strict=True
        )
    }


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
    intervals: Mapping[str, intervals.Interval]
    per_class: Mapping[str, Mapping[str, float]]
    most_confused: tuple[str, str, int] | None


def of_table(table: pd.DataFrame, labels: Sequence[str]) -> Figures:
    """Figures of the answers in `table`.

    Args:
      table: a row per image, at least one, as `predictions.of_batch` gives them.
      labels: class names of the model, in label order.
    """
    values = of_images(table, telling((1, TOP_K), len(labels)))
    by_class = per_class(table, labels)
    return Figures(
        metrics=overall(values, by_class, reliability(table)),
        intervals={name: interval(column) for name, column in values.items()},
        per_class=by_class,
        most_confused=scores.most_confused(
            confusion(table, len(labels)).tolist(), labels
        ),
    )
