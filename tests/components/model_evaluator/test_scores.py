"""Figures that follow from counts."""

import numpy as np
import pandas as pd
import pytest

from components.model_evaluator import figures, predictions, scores

LABELS = ("cat", "dog", "emu")
# Of 4 cats and 6 dogs.
TABLE = pd.DataFrame(
    {
        predictions.LABEL: [0] * 4 + [1] * 6,
        predictions.PREDICTED: [0, 0, 0, 1, 0, 0, 1, 1, 1, 1],
    }
)


def test_confusion_has_true_classes_in_rows() -> None:
    assert figures.confusion(TABLE, len(LABELS)).tolist() == [
        [3, 1, 0],
        [2, 4, 0],
        [0, 0, 0],
    ]


def test_per_class_by_hand() -> None:
    by_class = figures.per_class(TABLE, LABELS)
    assert by_class["cat"] == pytest.approx(
        {"precision": 3 / 5, "recall": 3 / 4, "f1": 2 / 3, "support": 4}
    )
    assert by_class["dog"] == pytest.approx(
        {"precision": 4 / 5, "recall": 4 / 6, "f1": 8 / 11, "support": 6}
    )


def test_a_class_without_images_and_predictions_scores_zero() -> None:
    emu = figures.per_class(TABLE, LABELS)["emu"]
    assert emu == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}


def test_macro_counts_every_class_with_images_the_same() -> None:
    means = scores.macro(figures.per_class(TABLE, LABELS))
    assert means["macro_precision"] == pytest.approx((3 / 5 + 4 / 5) / 2)
    assert means["macro_recall"] == pytest.approx((3 / 4 + 4 / 6) / 2)
    assert means["macro_f1"] == pytest.approx((2 / 3 + 8 / 11) / 2)


def test_reliability_by_hand() -> None:
    confidence = np.array([1.0, 0.95, 0.94, 1 / 15, 0.0])
    hits = np.array([True, True, False, False, True])
    bins = scores.reliability(confidence, hits)
    assert len(bins) == scores.BINS
    assert (bins[0]["count"], bins[14]["count"]) == (2, 3)
    assert bins[14]["accuracy"] == pytest.approx(2 / 3)
    assert bins[14]["confidence"] == pytest.approx((1 + 0.95 + 0.94) / 3)
    assert bins[7] == {
        "low": 7 / 15,
        "high": 8 / 15,
        "count": 0,
        "confidence": None,
        "accuracy": None,
    }
    high = abs(2 / 3 - (1 + 0.95 + 0.94) / 3)
    low = abs(0.5 - (1 / 15) / 2)
    assert scores.calibration_error(bins) == pytest.approx(0.6 * high + 0.4 * low)
