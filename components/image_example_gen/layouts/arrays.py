"""Arrays in .npz files: x_train and y_train, train_images and train_labels, images and labels."""

import io
import re
import zipfile
from collections.abc import Iterable, Iterator

import numpy as np

from common.errors import DataError
from components.image_example_gen import records
from components.image_example_gen.layouts import containers, split_names
from components.image_example_gen.layouts.layout import Listing
from components.image_example_gen.sources.source import Member, read_data_file
from schema import spelling
from schema.spelling import vocabulary

_IMAGES = vocabulary("x image images img imgs data")
_LABELS = vocabulary("y label labels target targets")
_NAMES = ("class_names", "label_names", "classes", "names")


class ArrayLayout(containers.ContainerLayout):
    """Arrays of pixels and of classes, in pairs."""

    FORMAT = "npz"
    NAME = re.compile(r".*\.npz", re.IGNORECASE)

    def read_file(self, member: Member) -> Iterator[records.PixelBatch]:
        file = member.name
        with _open(file, read_data_file(member)) as arrays:
            names = next((name for name in _NAMES if name in arrays.files), "")
            class_names = _texts(_array(file, arrays, names)) if names else ()
            for split, (images, labels) in _pairs(file, arrays.files).items():
                pixels = _pixels(file, images, _array(file, arrays, images))
                if pixels.shape[3] != self.channels:
                    raise DataError(
                        f"'{images}' in {file} has other channels than the first images",
                        found=f"{pixels.shape[3]}",
                        expected=f"{self.channels}",
                    )
                indices, known = _indices(
                    file, labels, _array(file, arrays, labels), class_names
                )
                where = split or containers.split_of_shard(file)
                yield from records.in_batches(
                    where, f"{file}/{images}", indices, known, pixels
                )


def find(listing: Listing) -> ArrayLayout | None:
    """The layout of the .npz files, by the first.

    Raises:
      DataError: it has no pair of images and labels.
    """
    member = ArrayLayout.first(listing)
    if not member:
        return None
    file = member.name
    with _open(file, read_data_file(member)) as arrays:
        pairs = _pairs(file, arrays.files)
        alone = sorted(_alone(arrays.files, pairs))
        first = next(iter(pairs.values()))
        pixels = _pixels(file, first[0], _array(file, arrays, first[0]))
    names = ", ".join(f"{images} with {labels}" for images, labels in pairs.values())
    words = [f"NumPy arrays of pixels and classes: {names}"]
    if alone:
        words.append(f"left out, as labels or images are missing: {', '.join(alone)}")
    return ArrayLayout(
        format=ArrayLayout.FORMAT, words=tuple(words), channels=pixels.shape[3]
    )


def _alone(names: Iterable[str], pairs: dict[str, tuple[str, str]]) -> set[str]:
    """Arrays with the name of images or labels, but without their other half."""
    paired = {name for pair in pairs.values() for name in pair}
    return {
        name
        for name in set(names) - paired - set(_NAMES)
        if (_IMAGES | _LABELS) & set(re.findall(r"[a-z]+", name.lower()))
    }


def _pairs(file: str, names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Split -> names of its images and its labels."""
    found: dict[str, dict[str, str]] = {}
    names = list(names)
    for name in names:
        words = re.findall(r"[a-z]+", name.lower())
        splits = {split_names.SPLIT_OF_NAME.get(word, "") for word in words} - {""}
        kinds = [
            kind
            for kind, usual in (("images", _IMAGES), ("labels", _LABELS))
            if usual & set(words)
        ]
        if len(kinds) == 1 and len(splits) < 2 and name not in _NAMES:
            half = found.setdefault(next(iter(splits), ""), {})
            if half.setdefault(kinds[0], name) != name:
                raise DataError(
                    f"{file} has two arrays of {kinds[0]} for one split",
                    found=f"{half[kinds[0]]}, {name}",
                )
    pairs = {
        split: (half["images"], half["labels"])
        for split, half in found.items()
        if len(half) == 2
    }
    if not pairs:
        raise DataError(
            f"{file} has no arrays of images and labels",
            found=", ".join(names),
            expected="x_train and y_train, train_images and train_labels, or the like",
        )
    return pairs


def _open(file: str, data: bytes) -> "np.lib.npyio.NpzFile":
    try:
        return np.load(io.BytesIO(data))  # pickled objects are refused by default
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{file} is no .npz file: {error}") from error


def _array(file: str, arrays: "np.lib.npyio.NpzFile", name: str) -> np.ndarray:
    try:
        return arrays[name]
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise DataError(
            f"'{name}' in {file} cannot be read: {error}",
            expected="numbers or texts; pickled objects are never read",
        ) from error


def _pixels(file: str, name: str, array: np.ndarray) -> np.ndarray:
    """uint8 [n, height, width, channels], from that or from [n, height, width]."""
    pixels = array[..., None] if array.ndim == 3 else array
    if (
        pixels.dtype != np.uint8
        or pixels.ndim != 4
        or pixels.shape[3] not in (1, 3)
        or not pixels.size
    ):
        raise DataError(
            f"'{name}' in {file} holds no images",
            found=f"{array.dtype} {list(array.shape)}",
            expected="uint8 [n, height, width], or [n, height, width, 1 or 3]",
        )
    return pixels


def _indices(
    file: str, name: str, array: np.ndarray, class_names: tuple[str, ...]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """int64 [n] and the names by number, () where the numbers are the names."""
    flat = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if flat.ndim == 1 and flat.dtype.kind == "U":
        texts, indices = np.unique(flat, return_inverse=True)
        return indices.astype(np.int64), _texts(texts)
    if flat.ndim != 1 or flat.dtype.kind not in "iu":
        raise DataError(
            f"'{name}' in {file} holds no classes",
            found=f"{array.dtype} {list(array.shape)}",
            expected="whole numbers or texts, one an image",
        )
    return flat.astype(np.int64), class_names


def _texts(array: np.ndarray) -> tuple[str, ...]:
    """Class names in an array, in NFC."""
    return tuple(spelling.normalise(str(text)) for text in array)
