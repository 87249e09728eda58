"""The classes of candidate and baseline, compared by name.

A label number means nothing outside its own model: when a class is added, removed or
renamed, the numbers of the others move.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Baseline:
    """The model that a candidate is compared with.

    Attributes:
      version: that is live.
      labels: its class names in its own label order; empty if it names none.
      seen: why it may have been trained on test images, or ''.
    """

    version: str
    labels: tuple[str, ...]
    seen: str = ""


@dataclasses.dataclass(frozen=True)
class Changes:
    """What became of the classes between baseline and candidate.

    Attributes:
      shared: known to both, in the candidate's order.
      added: known to the candidate only; they have no baseline.
      removed: known to the baseline only.
    """

    shared: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]


def changes(labels: Sequence[str], before: Sequence[str]) -> Changes:
    """The changes from the class list `before` to `labels`."""
    now_known, known_before = set(labels), set(before)
    return Changes(
        shared=tuple(label for label in labels if label in known_before),
        added=tuple(label for label in labels if label not in known_before),
        removed=tuple(label for label in before if label not in now_known),
    )


def align(
    probabilities: np.ndarray, labels: Sequence[str], before: Sequence[str]
) -> np.ndarray:
    """Probabilities of a baseline under the candidate's label numbers.

    Nothing is renormalised: what the baseline gives to a removed class is lost for the
    others, as it is for whoever asks the live model.

    Args:
      probabilities: float [n, len(before)].
      labels: class names of the candidate, in label order.
      before: those of the baseline.

    Returns:
      [n, len(labels) + number of removed classes], same dtype: the candidate's classes,
      with 0 for those that the baseline does not know, then the removed ones.
    """
    numbers = {name: number for number, name in enumerate(labels)}
    for name in before:
        numbers.setdefault(name, len(numbers))
    aligned = np.zeros([len(probabilities), len(numbers)], probabilities.dtype)
    aligned[:, [numbers[name] for name in before]] = probabilities
    return aligned
