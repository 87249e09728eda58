"""Images gathered from all rows of a source, 25 bytes per row."""

from array import array
from typing import NamedTuple

import numpy as np

# Bytes of a SHA-256 that are kept; enough to tell images apart.
DIGEST_BYTES = 16
DIGEST = f"S{DIGEST_BYTES}"  # NumPy drops zeros at the end of what it gives back


class Images(NamedTuple):
    """Rows by image: copies, which share a digest, lie side by side.

    Attributes:
      digests: `DIGEST` [images], ascending.
      firsts: first row of each image.
      of: image of each row.
      codes: official split of each row, uint8.
      texts: names of all classes, sorted.
      classes: class of each row, its place in `texts`.
      names: names of all groups, sorted.
      groups: group of each row, its place in `names`.
    """

    digests: np.ndarray
    firsts: np.ndarray
    of: np.ndarray
    codes: np.ndarray
    texts: list[str]
    classes: np.ndarray
    names: list[str]
    groups: np.ndarray

    @property
    def has_groups(self) -> bool:
        """Whether any row has a group."""
        return any(self.names)

    def least(self, values: np.ndarray) -> np.ndarray:
        """Smallest value of the rows of each image."""
        return np.minimum.reduceat(values, self.firsts)

    def greatest(self, values: np.ndarray) -> np.ndarray:
        """Largest value of the rows of each image."""
        return np.maximum.reduceat(values, self.firsts)


class Gatherer:
    """Takes rows, in any order."""

    def __init__(self) -> None:
        self._digests = bytearray()
        self._codes = bytearray()
        self._classes = _Texts()
        self._groups = _Texts()

    def add(self, digest: bytes, code: int, text: str, group: str) -> None:
        """Adds a row: `DIGEST_BYTES` of digest, official split, class and group."""
        self._digests += digest
        self._codes.append(code)
        self._classes.add(text)
        self._groups.add(group)

    def images(self) -> Images:
        """What was gathered, by image."""
        digests = np.frombuffer(self._digests, DIGEST)
        order = np.argsort(digests, kind="stable")
        digests = digests[order]
        is_first = np.ones(len(order), bool)
        is_first[1:] = digests[1:] != digests[:-1]
        return Images(
            digests[is_first],
            np.flatnonzero(is_first),
            np.cumsum(is_first) - 1,
            np.frombuffer(self._codes, np.uint8)[order],
            *self._classes.ranked(order),
            *self._groups.ranked(order),
        )


class _Texts:
    """A text for every row; each different one is held once."""

    def __init__(self) -> None:
        self._number_of: dict[str, int] = {}
        self._numbers = array("I")

    def add(self, text: str) -> None:
        self._numbers.append(self._number_of.setdefault(text, len(self._number_of)))

    def ranked(self, order: np.ndarray) -> tuple[list[str], np.ndarray]:
        """The texts, sorted, and which of them the rows have, int64 in the given order."""
        texts = sorted(self._number_of)
        ranks = np.empty(len(texts), np.int64)
        ranks[[self._number_of[text] for text in texts]] = np.arange(len(texts))
        return texts, ranks[np.frombuffer(self._numbers, np.uint32)[order]]
