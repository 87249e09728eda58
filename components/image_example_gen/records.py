"""What layouts read, and how classes get their labels."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from common.errors import DataError
from schema import features, images

BATCH_IMAGES = 1000


class PixelBatch(NamedTuple):
    """Images of a raw format that lie next to each other in one file.

    Attributes:
      split: 'train', 'eval' or 'test' as the dataset has it.
      file: name of the file, without the wrapping folder.
      first: number of the first image in that file.
      indices: int64 [n], classes as numbers.
      class_names: names of the classes by number; empty where the dataset has none.
      pixels: uint8 [n, height, width, channels].
    """

    split: str
    file: str
    first: int
    indices: np.ndarray
    class_names: tuple[str, ...]
    pixels: np.ndarray

    def class_name(self, index: int) -> str:
        """Name of a class by its number, which is the name where there is none."""
        return self.class_names[index] if self.class_names else str(index)


def in_batches(
    split: str,
    file: str,
    indices: np.ndarray,
    class_names: tuple[str, ...],
    pixels: np.ndarray,
) -> Iterator[PixelBatch]:
    """The images of one file as batches, at most BATCH_IMAGES each.

    Args:
      split: 'train', 'eval' or 'test' as the dataset has it, '' where it has none.
      file: name of the file, without the wrapping folder.
      indices: int64 [n], classes as numbers.
      class_names: by number, '' for a number without a class; empty where the dataset has
        none.
      pixels: uint8 [n, height, width, channels].

    Raises:
      DataError: there are not as many classes as images, a number is that of no class, or
        encoded, images of that size would be refused.
    """
    if len(pixels) != len(indices):
        raise DataError(
            f"'{file}' has {len(pixels):,} images and {len(indices):,} labels",
            expected="a label for every image",
            tip="are all files complete, and do they belong together?",
        )
    numbers = [number for number, name in enumerate(class_names) if name]
    is_known = np.isin(indices, numbers) if class_names else indices >= 0
    if not is_known.all():
        record = is_known.argmin()
        named = f"0 to {len(class_names) - 1}, a number with a class name"
        raise DataError(
            f"record {record} of '{file}' has the class number {indices[record]}",
            expected=named if class_names else "0 or more",
            tip="is the file damaged, or of another dataset?",
        )
    height, width = pixels.shape[1:3]
    if len(pixels) and (reason := images.check_size(width, height)):
        raise DataError(f"the images in {file} cannot be read", found=reason)
    for first in range(0, len(indices), BATCH_IMAGES):
        end = first + BATCH_IMAGES
        yield PixelBatch(
            split, file, first, indices[first:end], class_names, pixels[first:end]
        )


class ImageFile(NamedTuple):
    """An encoded image, in a file of its own or one of many in a file.

    Attributes:
      split: 'train', 'eval' or 'test' as the dataset has it, '' where it has none.
      key: its path without the wrapping folder.
      word: class as the dataset spells it.
      data: the encoded image.
      name: its name in the source; '' for one of many in a file.
      group: name of its group (`grouping`), '' for none.
    """

    split: str
    key: str
    word: str
    data: bytes
    name: str
    group: str = ""


class Unreadable(NamedTuple):
    """An image that is left out, and why."""

    key: str
    reason: str


class Ignored(NamedTuple):
    """A file that is no part of the dataset."""

    name: str


Found = PixelBatch | ImageFile | Unreadable | Ignored


class Classes:
    """Class names in label order, as the contract has them.

    Without a contract (no names) the dataset's own numbers are the labels.
    """

    def __init__(self, labels: tuple[str, ...]):
        self._labels = labels
        self._label_of = {text: label for label, text in enumerate(labels)}
        # Where the names are digits themselves, a number is a name and not a place.
        self._are_digits = all(text.isdecimal() for text in labels)

    def of_name(self, name: str) -> tuple[int, str]:
        """Label and text of a class name; UNKNOWN_LABEL where the contract lacks it."""
        return self._label_of.get(name, features.UNKNOWN_LABEL), name

    def of_pixels(self, batch: PixelBatch, index: int) -> tuple[int, str]:
        """Label and text of a class of a batch by its number."""
        name = batch.class_name(index)
        if not self._labels:
            return index, name
        is_place = not batch.class_names and not self._are_digits
        if is_place and 0 <= index < len(self._labels):
            return index, self._labels[index]
        return self.of_name(name)
