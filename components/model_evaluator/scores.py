"""What follows from the figures of classes, and how far confidence can be trusted."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

BINS = 15


def macro(by_class: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Means over the classes with images, each counting the same: macro_precision etc."""
    rows = [row for row in by_class.values() if row["support"]]
    return {
        f"macro_{name}": float(np.mean([row[name] for row in rows]))
        for name in ("precision", "recall", "f1")
    }


def most_confused(
    confusion: Sequence[Sequence[int]], labels: Sequence[str]
) -> tuple[str, str, int] | None:
    """True class, predicted class and number of images of the largest confusion."""
    wrong = np.array(confusion)
    np.fill_diagonal(wrong, 0)
    true, predicted = divmod(int(np.argmax(wrong)), len(labels))
    count = int(wrong[true, predicted])
    return (labels[true], labels[predicted], count) if count else None


def weakest(by_class: Mapping[str, Mapping[str, float]]) -> tuple[str, float] | None:
    """Class with the lowest recall among those with images, and that recall."""
    recalls = [
        (row["recall"], label) for label, row in by_class.items() if row["support"]
    ]
    recall, label = min(recalls, default=(0.0, ""))
    return (label, recall) if recalls else None


def majority(by_class: Mapping[str, Mapping[str, float]]) -> tuple[str, float]:
    """The class with most images and its share of all: what one answer for all would get.

    ('', 0.0) without images.
    """
    supports = {label: row["support"] for label, row in by_class.items()}
    total = sum(supports.values())
    if not total:
        return "", 0.0
    label = max(supports, key=lambda name: supports[name])
    return label, supports[label] / total


def majority_in_words(by_class: Mapping[str, Mapping[str, float]]) -> str:
    """What one answer for all images would get, where that is much; else ''.

    Much is more than half as much again as classes of equal size would give.
    """
    label, share = majority(by_class)
    tested = sum(1 for row in by_class.values() if row["support"])
    return f"always '{label}' {share:.4f}" if share * tested > 1.5 else ""


def reliability(confidence: np.ndarray, hits: np.ndarray) -> list[dict[str, Any]]:
    """How often the model is right when it is so sure, in bins of equal width.

    Args:
      confidence: float [n], the largest probability of each image.
      hits: bool [n].

    Returns:
      Of each bin `low` and `high` (in the bin), `count`, and the means `confidence` and
      `accuracy`, None where the bin is empty.
    """
    confidence = np.asarray(confidence, np.float64)
    places = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    bins: list[dict[str, Any]] = []
    for place in range(BINS):
        is_in = places == place
        count = int(np.count_nonzero(is_in))
        bins.append(
            {
                "low": place / BINS,
                "high": (place + 1) / BINS,
                "count": count,
                "confidence": float(confidence[is_in].mean()) if count else None,
                "accuracy": float(hits[is_in].mean()) if count else None,
            }
        )
    return bins


def calibration_error(bins: Sequence[dict[str, Any]]) -> float:
    """Expected calibration error: mean distance of accuracy from confidence.

    Reference: Guo et al., arXiv:1706.04599, equation 3.
    """
    filled = [each for each in bins if each["count"]]
    total = sum(each["count"] for each in filled)
    return float(
        sum(
            each["count"] / total * abs(each["accuracy"] - each["confidence"])
            for each in filled
        )
    )


def views_in_words(found: Mapping[str, Any] | None) -> str:
    """'top-1 0.9312 without its test-time views (mirror), +0.0043 with them', or ''.

    Args:
      found: `test_time_views` as `verdict.measure` gives them.
    """
    if not found or not found["metrics"]:
        return ""
    top_1 = found["differences"]["top_1"]
    return (
        f"top-1 {found['metrics']['top_1']:.4f} without its test-time views"
        f" ({found['views']}), {top_1['difference']:+.4f} with them (95 % interval"
        f" {top_1['low']:+.4f} to {top_1['high']:+.4f})"
    )
