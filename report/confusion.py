"""The confusion matrix: which of its classes and images are shown."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from components.model_evaluator import predictions

MAX_CLASSES = 30
MAX_PER_CELL = 12
MAX_IMAGES = 1200
# Shades of the style sheet, `shade-0` for none.
SHADES = 8

Cell = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Matrix:
    """A confusion matrix, and which of its classes are shown.

    Attributes:
      classes: label numbers of the classes shown, rising.
      counts: int [num_classes, num_classes] of all, rows true, columns predicted.
      shares: of each row; 0 in rows without images.
    """

    classes: tuple[int, ...]
    counts: np.ndarray
    shares: np.ndarray

    @property
    def total(self) -> int:
        """Images in all cells, also of classes that are not shown."""
        return int(self.counts.sum())

    @property
    def shown(self) -> int:
        """Images in the cells that are shown."""
        return int(self.counts[np.ix_(self.classes, self.classes)].sum())

    def cells(self) -> list[Cell]:
        """Cells that are shown and have images: confusions first, then hits, largest first."""
        found = [
            (true, predicted)
            for true in self.classes
            for predicted in self.classes
            if self.counts[true, predicted]
        ]
        return sorted(found, key=lambda cell: (cell[0] == cell[1], -self.counts[cell]))

    def shade(self, true: int, predicted: int) -> int:
        """0 to `SHADES`, as a share of the largest confusion shown; 0 for hits."""
        share = float(self.shares[true, predicted])
        if true == predicted or not share:
            return 0
        wrong = self.shares[np.ix_(self.classes, self.classes)].copy()
        np.fill_diagonal(wrong, 0)
        return max(1, round(SHADES * share / float(wrong.max())))


def matrix(confusion: Sequence[Sequence[int]]) -> Matrix:
    """Shows the `MAX_CLASSES` classes with most confusion, in rows and columns together.

    Args:
      confusion: rows true, columns predicted.
    """
    counts = np.asarray(confusion, np.int64)
    sums = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, sums, out=np.zeros(counts.shape), where=sums > 0)
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")
    return Matrix(tuple(sorted(order[:MAX_CLASSES].tolist())), counts, shares)


def choose_images(shown: Matrix, table: pd.DataFrame) -> dict[Cell, list[Any]]:
    """Cell -> rows of its images, the most confident first, at most `MAX_PER_CELL`.

    All cells together have at most `MAX_IMAGES`, one each before any gets its second.

    Args:
      shown: decides about cells and their order.
      table: of predictions.
    """
    ordered = table.sort_values(
        [predictions.CONFIDENCE, predictions.KEY], ascending=[False, True]
    )
    by_cell = {
        cell: list(rows.head(MAX_PER_CELL).itertuples(index=False))
        for cell, rows in ordered.groupby([predictions.LABEL, predictions.PREDICTED])
    }
    turns = itertools.product(range(MAX_PER_CELL), shown.cells())
    dealt = [cell for place, cell in turns if place < len(by_cell.get(cell, ()))]
    counts = Counter(dealt[:MAX_IMAGES])
    return {cell: by_cell[cell][:count] for cell, count in counts.items()}


def keys_in_order(chosen: Mapping[Cell, Sequence[Any]]) -> list[str]:
    """Keys of the images, the first of each cell first."""
    rounds = itertools.zip_longest(*chosen.values())
    return [row.key for each in rounds for row in each if row is not None]
