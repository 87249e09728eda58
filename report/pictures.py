"""Contents of the sections with test images: the confusion matrix, mistakes, and hits."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from components.model_evaluator import predictions
from report import confusion, run_data, wording
from report.run_data import RunData
from schema import features

MISTAKES = 24
# Each with a heat map.
SUREST_HITS = 16
# With more classes or longer names the column heads of the matrix are turned.
MAX_LEVEL_CLASSES, MAX_LEVEL_CHARACTERS = 14, 9
# Of data: addresses, so that the page stays below 5 MB.
CELL_BYTES = 2_500_000
MISTAKE_BYTES = 500_000


def matrix(
    data: RunData,
    shown: confusion.Matrix | None,
    chosen: Mapping[confusion.Cell, Sequence[Any]],
    addresses: Mapping[str, str],
) -> dict[str, Any]:
    """The matrix, and the images behind its cells.

    Args:
      data: of the run.
      shown: the matrix; None where it is gone.
      chosen: rows of the images of each cell.
      addresses: key -> thumbnail.
    """
    missing = [*data.without(run_data.VERDICT), *_without_images(data)]
    if shown is None:
        return {"rows": [], "missing": missing}
    labels = data.labels
    rows = [
        {
            "name": labels[true],
            "support": int(shown.counts[true].sum()),
            "cells": [_cell(shown, true, predicted) for predicted in shown.classes],
        }
        for true in shown.classes
    ]
    images = {
        _cell_name(cell): [
            {
                "src": addresses[row.key],
                "key": wording.visible(row.key),
                "confidence": wording.figure(row.confidence),
            }
            for row in found
            if row.key in addresses
        ]
        for cell, found in chosen.items()
    }
    return {
        "rows": rows,
        "labels": [labels[place] for place in shown.classes],
        "sums": [int(shown.counts[:, place].sum()) for place in shown.classes],
        "num_classes": len(labels),
        "has_long_names": len(shown.classes) > MAX_LEVEL_CLASSES
        or max(map(len, labels)) > MAX_LEVEL_CHARACTERS,
        "total": shown.total,
        "shown": shown.shown,
        "has_images": any(images.values()),
        "document": {
            "labels": [wording.visible(label) for label in labels],
            "images": {name: found for name, found in images.items() if found},
        },
        "missing": missing,
    }


def choose(
    table: pd.DataFrame,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Rows of the most confident mistakes, the most confident hits and the least confident hits.

    the most confident hit of each class comes before the second of any class.

    Args:
      table: of predictions.
    """
    order = [predictions.CONFIDENCE, predictions.KEY]
    most_confident = table.sort_values(order, ascending=[False, True])
    is_hit = predictions.hits(most_confident)
    mistakes, hits = most_confident[~is_hit], most_confident[is_hit]
    turns = hits.groupby(predictions.LABEL).cumcount().to_numpy()
    by_turn = hits.iloc[np.argsort(turns, kind="stable")]
    least_confident = hits.sort_values(order)
    return (
        mistakes.head(MISTAKES),
        by_turn.head(SUREST_HITS),
        least_confident.head(MISTAKES),
    )


def mistakes(
    data: RunData,
    wrong: pd.DataFrame,
    addresses: Mapping[str, str],
    heat_maps: Mapping[str, str],
    missing: Sequence[str],
) -> dict[str, Any]:
    """The most confident mistakes as thumbnails.

    Args:
      data: of the run.
      wrong: rows of predictions.
      addresses: key -> thumbnail; images without one are shown as names alone.
      heat_maps: key -> thumbnail with its heat map.
      missing: why there are no heat maps.
    """
    total = None
    if data.table is not None:
        total = int(np.count_nonzero(~predictions.hits(data.table)))
    return {
        "cards": _cards(data, wrong, addresses, heat_maps),
        "total": total,
        "has_heat_maps": bool(heat_maps),
        "missing": [*_without_images(data), *missing],
    }


def hits(
    data: RunData,
    most_confident: pd.DataFrame,
    least_confident: pd.DataFrame,
    addresses: Mapping[str, str],
    heat_maps: Mapping[str, str],
) -> dict[str, Any]:
    """The most confident and the least confident hits as thumbnails; arguments as for `mistakes`."""
    return {
        "most_confident": _cards(data, most_confident, addresses, heat_maps),
        "least_confident": _cards(data, least_confident, addresses, {}),
        "has_heat_maps": bool(heat_maps),
        "missing": _without_images(data),
    }


def _cards(
    data: RunData,
    rows: pd.DataFrame,
    addresses: Mapping[str, str],
    heat_maps: Mapping[str, str],
) -> list[dict[str, Any]]:
    return [
        {
            "src": addresses.get(row.key),
            "heat_map": heat_maps.get(row.key),
            "key": row.key,
            "true": data.labels[row.label],
            "predicted": data.labels[row.predicted],
            "confidence": float(row.confidence),
        }
        for row in rows.itertuples(index=False)
    ]


def _without_images(data: RunData) -> list[str]:
    return data.without(run_data.PREDICTIONS, f"{run_data.EXAMPLES} {features.TEST}")


def _cell(shown: confusion.Matrix, true: int, predicted: int) -> dict[str, Any]:
    return {
        "name": _cell_name((true, predicted)),
        "true": true,
        "predicted": predicted,
        "count": int(shown.counts[true, predicted]),
        "share": float(shown.shares[true, predicted]),
        "shade": shown.shade(true, predicted),
        "is_hit": true == predicted,
    }


def _cell_name(cell: confusion.Cell) -> str:
    """By label numbers: names of classes come from the data."""
    return f"{cell[0]}-{cell[1]}"
