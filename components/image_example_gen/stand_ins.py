"""Stand-ins: images that a class moves to a split in which it would have none.

What moves is a unit: an image, or a whole group of images. Units of one image have one
class; a group may have several, and then each of them has to keep what it needs.
"""

from collections.abc import Collection

import numpy as np

TRAIN, EVAL, TEST = range(3)


class Units:
    """All units that are cut from train, and the split of each.

    Attributes:
      splits: uint8 [units], TRAIN, EVAL or TEST.
      sizes: units of each class, int [classes].
    """

    def __init__(
        self,
        places: np.ndarray,
        by_hash: np.ndarray,
        pairs: np.ndarray,
        num_classes: int,
        min_units: int,
    ):
        """Takes the units as their hashes put them; those of small classes go to train.

        Args:
          places: bytes [units], by which the units of a class are ordered.
          by_hash: uint8 [units], the splits.
          pairs: int [pairs, 2], different (unit, class) in ascending order.
          num_classes: number of classes.
          min_units: of a class that is not small.
        """
        self._places = places
        self._units, self._classes = pairs.T
        self._min_units = min_units
        self.sizes = np.bincount(self._classes, minlength=num_classes)
        is_in_large = np.zeros(len(places), bool)
        is_in_large[self._units[self.sizes[self._classes] >= min_units]] = True
        self.splits = np.where(is_in_large, by_hash, TRAIN)
        self._counts = np.zeros((num_classes, 3), np.int64)
        np.add.at(self._counts, (self._classes, self.splits[self._units]), 1)
        # Rows of `pairs`, class after class.
        self._by_class = np.argsort(self._classes, kind="stable")
        self._ends = np.concatenate([[0], np.cumsum(self.sizes)])

    def fill(self, wanted: Collection[int]) -> None:
        """Gives every class that is not small a unit in each of the splits `wanted`.

        Small ones get one in train, too, where groups leave them none. Where no unit is in a
        wanted split then, the largest class gives one that it can spare.
        """
        for split in (TEST, TRAIN, EVAL):
            if split != TRAIN and split not in wanted:
                continue
            least = 1 if split == TRAIN else self._min_units
            lacking = (self.sizes >= least) & (self._counts[:, split] == 0)
            for number in np.flatnonzero(lacking).tolist():
                if not self._counts[number, split]:  # no other class has filled it yet
                    self._give(number, split)
            if split in wanted and not self._counts[:, split].any():
                self._take_one(split)

    def _give(self, number: int, split: int) -> None:
        """Moves the unit of a class that is nearest to `split`."""
        units = self._ordered(number)
        if split == TEST:
            self._move(units[0], TEST)
        elif split == EVAL:
            if spared := [unit for unit in units if self._is_spared(unit)]:
                self._move(spared[-1], EVAL)
        else:
            # From eval, if it has another: when it goes back, nothing that was trained on
            # comes into test.
            in_eval = [unit for unit in units if self.splits[unit] == EVAL]
            in_test = [unit for unit in units if self.splits[unit] == TEST]
            is_from_eval = len(in_eval) > 1 or not in_test
            self._move(in_eval[0] if is_from_eval else in_test[-1], TRAIN)

    def _take_one(self, split: int) -> None:
        in_train = self._counts[:, TRAIN]
        for number in np.argsort(-in_train, kind="stable").tolist():
            units = self._ordered(number)
            for unit in units if split == TEST else reversed(units):
                if self.splits[unit] == TRAIN and self._is_spared(unit):
                    self._move(unit, split)
                    return

    def _ordered(self, number: int) -> list[int]:
        rows = self._by_class[self._ends[number] : self._ends[number + 1]]
        units = self._units[rows]
        return units[np.argsort(self._places[units], kind="stable")].tolist()

    def _classes_of(self, unit: int) -> np.ndarray:
        first, end = np.searchsorted(self._units, (unit, unit + 1))
        return self._classes[first:end]

    def _is_spared(self, unit: int) -> bool:
        """Whether each class of a unit keeps another one in its split."""
        return bool((self._counts[self._classes_of(unit), self.splits[unit]] > 1).all())

    def _move(self, unit: int, split: int) -> None:
        numbers = self._classes_of(unit)
        self._counts[numbers, self.splits[unit]] -= 1
        self._counts[numbers, split] += 1
        self.splits[unit] = split
