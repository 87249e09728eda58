"""The classes of candidate and baseline, compared by name.

A label number means nothing outside its own model: when a class is added, removed or
renamed, the numbers of the others move.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from common.errors import DataError
from schema.spelling import listed


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
    others, as it is for clients of the live model.

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


def numbers(
    names: Iterable[str], labels: Sequence[str], *, by_number: bool = False
) -> dict[str, int]:
    """Label number of each class of a dataset, for those that the model knows.

    Args:
      names: classes as the dataset names or numbers them.
      labels: class names of the model, in label order.
      by_number: a class that the model has no name for is a number: that of the label.

    Raises:
      DataError: the model knows none of them, or a number is not that of a label.
    """
    names = sorted(set(names))
    known = {label: number for number, label in enumerate(labels)}
    found = {name: known[name] for name in names if name in known}
    missing = [name for name in names if name not in known]
    if by_number and missing:
        wrong = [
            name for name in missing if not name.isdecimal() or int(name) >= len(labels)
        ]
        if wrong:
            raise DataError(
                "--by-number takes classes that are numbers of the model's labels",
                found=listed(wrong),
                expected=f"0 to {len(labels) - 1}",
            )
        found |= {name: int(name) for name in missing}
    if not found:
        are_numbers = all(name.isdecimal() for name in names)
        raise DataError(
            "the model and the data have no class in common",
            found=f"in the data {listed(names)}",
            expected=f"classes of the model: {listed(labels)}",
            tip="--by-number takes number k as the model's label k"
            if are_numbers and names
            else "",
        )
    return found
