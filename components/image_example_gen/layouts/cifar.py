"""CIFAR-10 and CIFAR-100, in the layout of the binary and of the python release."""

import dataclasses
import functools
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from common.errors import DataError
from components.image_example_gen import records
from components.image_example_gen.layouts import pickles
from components.image_example_gen.layouts.layout import (
    AUTO,
    Layout,
    Listing,
    question,
    setting,
    splits_setting,
)
from components.image_example_gen.sources.source import Member, read_data_file
from schema import contract, features

# A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009. Planes of
# pixels, red first, top row first.
_CHANNELS, _SIDE_PX = 3, 32
_PIXEL_BYTES = _CHANNELS * _SIDE_PX**2


@dataclasses.dataclass(frozen=True)
class Release:
    """A dataset in one of its two forms.

    Attributes:
      dataset: 'cifar10' or 'cifar100', also the name of the packaged contract.
      form: 'binary' or 'python', which is pickled.
      num_classes: number of classes.
      data: pattern of the name of a data file; `test` at its start decides the split.
      meta: file with the class names.
    """

    dataset: str
    form: str
    num_classes: int
    data: str
    meta: str

    @property
    def format(self) -> str:
        """Name for `data.format`."""
        return f"{self.dataset}_{self.form}"

    @property
    def has_superclasses(self) -> bool:
        """Whether a superclass stands before each class, as in CIFAR-100."""
        return self.dataset == "cifar100"

    def key(self, name: str) -> str:
        """Key in a pickled dictionary; CIFAR-100 has those of superclasses besides."""
        return f"fine_{name}" if self.has_superclasses else name

    def is_data(self, base: str) -> bool:
        """Whether a file of that name holds images."""
        return bool(re.fullmatch(self.data, base))

    def folders(self, names: Iterable[str]) -> list[str]:
        """Folders that hold the release, of the files called `names`.

        The files of CIFAR-100 are called by everyday words: two must lie together.
        """
        counts: Counter[str] = Counter()
        for name in names:
            folder, base = posixpath.split(name)
            is_meta = self.has_superclasses and base == self.meta
            counts[folder] += self.is_data(base) or is_meta
        needed = 2 if self.has_superclasses else 1
        return sorted(folder for folder, count in counts.items() if count >= needed)


RELEASES = (
    Release(
        "cifar10", "binary", 10, r"(data_batch_\d+|test_batch)\.bin", "batches.meta.txt"
    ),
    Release("cifar10", "python", 10, r"data_batch_\d+|test_batch", "batches.meta"),
    Release("cifar100", "binary", 100, r"(train|test)\.bin", "fine_label_names.txt"),
    Release("cifar100", "python", 100, r"train|test", "meta"),
)
FORMATS = tuple(release.format for release in RELEASES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CifarLayout(Layout):
    """A CIFAR release at `root` of a source."""

    release: Release
    root: str

    def units(self, names: Iterable[str]) -> list[tuple[str, ...]]:
        """Parts for one worker each: a data file, after the file of class names."""
        bases = {name: self._base(name) for name in sorted(names)}
        meta = [name for name, base in bases.items() if base == self.release.meta]
        data = [name for name, base in bases.items() if self.release.is_data(base)]
        return [(*meta, name) for name in data]

    def read(
        self, members: Iterable[Member]
    ) -> Iterator[records.PixelBatch | records.Ignored]:
        """Images of the data files among `members`.

        Class names come from the release's own list. In a tar it may stand behind the
        data; then the files before it wait in memory (30 MB each).

        Raises:
          DataError: a file has not the bytes that its records need, or unknown classes.
        """
        waiting: list[tuple[str, np.ndarray, np.ndarray]] = []
        names: tuple[str, ...] = ()
        for member in members:
            base = self._base(member.name)
            if base == self.release.meta:
                names = self._class_names(read_data_file(member))
            elif self.release.is_data(base):
                waiting.append((base, *self._decode(base, read_data_file(member))))
            else:
                yield records.Ignored(member.name)
            if names:
                yield from self._give(waiting, names)
                waiting.clear()
        yield from self._give(waiting, class_names(self.release.dataset))

    def _base(self, name: str) -> str:
        """Name within the release's own folder, '' for a file elsewhere."""
        folder, base = posixpath.split(name)
        return base if folder == self.root else ""

    def _give(
        self, files: list[tuple[str, np.ndarray, np.ndarray]], names: tuple[str, ...]
    ) -> Iterator[records.PixelBatch]:
        for file, labels, pixels in files:
            split = features.TEST if file.startswith("test") else features.TRAIN
            yield from records.in_batches(split, file, labels, names, pixels)

    def _decode(self, file: str, data: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Labels int64 [n] and pixels uint8 [n, 32, 32, 3]."""
        decode = _decode_pickle if self.release.form == "python" else _decode_binary
        labels, planes = decode(self.release, file, data)
        shape = (-1, _CHANNELS, _SIDE_PX, _SIDE_PX)
        return labels, planes.reshape(shape).transpose(0, 2, 3, 1)

    def _class_names(self, data: bytes) -> tuple[str, ...]:
        """Names by class number, from the content of the release's list."""
        if self.release.form == "python":
            key = self.release.key("label_names")
            lines = _load(self.release.meta, data).get(key)
            if not isinstance(lines, list):
                raise DataError(f"'{self.release.meta}' has no list '{key}'")
            lines = [
                line.decode("utf-8", "replace")
                if isinstance(line, bytes)
                else str(line)
                for line in lines
            ]
        else:
            lines = data.decode("utf-8", "replace").split("\n")
        words = [line.strip() for line in lines if line.strip()]
        if len(words) != self.release.num_classes:
            raise DataError(
                f"'{self.release.meta}' lists {len(words)} classes",
                expected=f"{self.release.num_classes}, one a line",
            )
        return tuple(words)


@functools.cache
def class_names(dataset: str) -> tuple[str, ...]:
    """The official class names, for archives that come without their list."""
    return contract.load(contract.find(dataset)).labels


def find(listing: Listing) -> CifarLayout | None:
    """The CIFAR release among the files, if one is there beyond doubt.

    Raises:
      ConfigError: there are several.
    """
    found = [
        CifarLayout(
            format=release.format,
            words=(f"CIFAR-{release.num_classes} in the {release.form} release",),
            channels=_CHANNELS,
            release=release,
            root=folder,
        )
        for release in RELEASES
        if listing.answers.format in (AUTO, release.format)
        for folder in release.folders(listing.names)
    ]
    if len(found) > 1:
        raise question(
            f"{len(found)} releases of CIFAR lie together",
            found=", ".join(
                f"{layout.root or '.'} ({layout.format})" for layout in found
            ),
            answers=[
                setting("data.format", layout.format) + f" (reads {layout.root or '.'})"
                if [other.format for other in found].count(layout.format) == 1
                else splits_setting({layout.root: "none"})
                + f" (leaves {layout.root} out)"
                for layout in found
            ],
        )
    return found[0] if found else None


def _decode_binary(
    release: Release, file: str, data: bytes
) -> tuple[np.ndarray, np.ndarray]:
    label_bytes = 2 if release.has_superclasses else 1
    record_bytes = label_bytes + _PIXEL_BYTES
    complete, rest = divmod(len(data), record_bytes)
    if rest or not complete:
        raise DataError(
            f"record {complete} of '{file}' has {rest:,} bytes",
            expected=(
                f"{record_bytes:,} ({label_bytes} label +"
                f" {_SIDE_PX}*{_SIDE_PX}*{_CHANNELS})"
            ),
            tip="is the archive complete?",
        )
    table = np.frombuffer(data, np.uint8).reshape(complete, record_bytes)
    labels = table[:, label_bytes - 1].astype(np.int64)
    return labels, table[:, label_bytes:]


def _decode_pickle(
    release: Release, file: str, data: bytes
) -> tuple[np.ndarray, np.ndarray]:
    batch = _load(file, data)
    key = release.key("labels")
    pixels, labels = batch.get("data"), batch.get(key)
    if (
        not isinstance(pixels, np.ndarray)
        or pixels.dtype != np.uint8
        or pixels.ndim != 2
        or pixels.shape[1] != _PIXEL_BYTES
        or not len(pixels)
    ):
        found = type(pixels).__name__
        if isinstance(pixels, np.ndarray):
            found = f"{pixels.dtype} {pixels.shape}"
        raise DataError(
            f"'data' in '{file}' is not an array of images",
            found=found,
            expected=f"uint8 (N, {_PIXEL_BYTES})",
        )
    if isinstance(labels, np.ndarray):
        labels = labels.tolist() if labels.ndim == 1 else None
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise DataError(f"'{key}' in '{file}' is not a list of whole numbers")
    return np.clip(labels, -1, 1 << 30).astype(np.int64), np.ascontiguousarray(pixels)


def _load(file: str, data: bytes) -> dict[str, Any]:
    try:
        return pickles.load(data)
    except pickles.PickleRefused as error:
        raise DataError(
            f"'{file}' is refused: {error}",
            expected="a CIFAR batch: a pickled dictionary of numbers, text and arrays",
            tip="pickles can run code, so nothing else is read; the binary release"
            " holds the same images",
        ) from error
