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
    Listing,
    question,
    setting,
    splits_setting,
)
from components.image_example_gen.sources.source import Member, read_data_file
from schema import contract, features


@dataclasses.dataclass(frozen=True)
class RawFormat:
    """A binary record: label bytes, then planes of pixels, top row first.

    Attributes:
      name: data set, also the name of its packaged contract.
      label_bytes: bytes before the pixels; the last of them is the class.
      height: px. width: px. channels: planes, red first.
      num_classes: number of classes.
      num_train: images of the official training set. num_test: of the official test set.
    """

    name: str
    label_bytes: int
    height: int
    width: int
    channels: int
    num_classes: int
    num_train: int
    num_test: int

    @property
    def title(self) -> str:
        """Name as its authors write it."""
        return self.name.upper().replace("CIFAR", "CIFAR-")

    @property
    def pixel_bytes(self) -> int:
        return self.height * self.width * self.channels

    @property
    def record_bytes(self) -> int:
        return self.label_bytes + self.pixel_bytes


# A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
CIFAR10 = RawFormat("cifar10", 1, 32, 32, 3, 10, 50_000, 10_000)
# Two label bytes: superclass (coarse), then class (fine).
CIFAR100 = RawFormat("cifar100", 2, 32, 32, 3, 100, 50_000, 10_000)


@dataclasses.dataclass(frozen=True)
class Variant:
    """Names of the files in a release.

    Attributes:
      format: name for `input_format`.
      facts: the data set.
      data: pattern of a data file; `test` at its start decides the split.
      meta: file with the class names.
      is_pickled: python layout.
    """

    format: str
    facts: RawFormat
    data: re.Pattern[str]
    meta: str
    is_pickled: bool

    @property
    def markers_needed(self) -> int:
        """Files that must lie together; CIFAR-100's names are everyday words."""
        return 2 if self.facts is CIFAR100 else 1

    def is_marker(self, base: str) -> bool:
        """Whether a file of that name speaks for the release."""
        is_list = self.markers_needed > 1 and base == self.meta
        return is_list or bool(self.data.fullmatch(base))


VARIANTS = (
    Variant(
        "cifar10_binary",
        CIFAR10,
        re.compile(r"(data_batch_\d+|test_batch)\.bin"),
        "batches.meta.txt",
        is_pickled=False,
    ),
    Variant(
        "cifar10_python",
        CIFAR10,
        re.compile(r"data_batch_\d+|test_batch"),
        "batches.meta",
        is_pickled=True,
    ),
    Variant(
        "cifar100_binary",
        CIFAR100,
        re.compile(r"(train|test)\.bin"),
        "fine_label_names.txt",
        is_pickled=False,
    ),
    Variant(
        "cifar100_python",
        CIFAR100,
        re.compile(r"train|test"),
        "meta",
        is_pickled=True,
    ),
)


FORMATS = tuple(variant.format for variant in VARIANTS)


@dataclasses.dataclass(frozen=True)
class CifarLayout:
    """A CIFAR release at `root` of a source."""

    variant: Variant
    root: str

    @property
    def format(self) -> str:
        return self.variant.format

    @property
    def channels(self) -> int:
        """Channels of the raw pixels."""
        return self.variant.facts.channels

    @property
    def words(self) -> tuple[str, ...]:
        release = "python" if self.variant.is_pickled else "binary"
        return (f"{self.variant.facts.title} in the {release} release",)

    def used(self) -> frozenset[str]:
        return frozenset()

    def classes(self, names: Iterable[str]) -> frozenset[str]:
        """None: they are in the files."""
        return frozenset()

    def units(self, names: Iterable[str]) -> list[tuple[str, ...]]:
        """Parts that can be read apart: a data file, with the class names before it."""
        inside = sorted(name for name in names if self._base(name))
        meta = [name for name in inside if self._base(name) == self.variant.meta]
        data = [name for name in inside if self._is_data(name)]
        return [(*meta, name) for name in data]

    def read(
        self, members: Iterable[Member]
    ) -> Iterator[records.PixelBatch | records.Ignored]:
        """Images of the data files among `members`.

        Class names come from the release's own list. In a tar it may stand behind the
        data; then the files before it wait in memory (30 MB each).

        Raises:
          DataError: a file has not the bytes that its records need.
        """
        waiting: list[tuple[str, np.ndarray, np.ndarray]] = []
        names: tuple[str, ...] = ()
        for member in members:
            base = self._base(member.name)
            if base == self.variant.meta:
                names = self._class_names(read_data_file(member))
            elif base and self._is_data(member.name):
                waiting.append((base, *self._decode(base, read_data_file(member))))
            else:
                yield records.Ignored(member.name)
            if names:
                yield from self._give(waiting, names)
                waiting.clear()
        yield from self._give(waiting, class_names(self.variant.facts))

    def _base(self, name: str) -> str:
        """Name within the release's own folder, '' for a file elsewhere."""
        folder, base = posixpath.split(name)
        return base if folder == self.root else ""

    def _is_data(self, name: str) -> bool:
        return bool(self.variant.data.fullmatch(self._base(name)))

    def _give(
        self, files: list[tuple[str, np.ndarray, np.ndarray]], names: tuple[str, ...]
    ) -> Iterator[records.PixelBatch]:
        for file, labels, pixels in files:
            split = features.TEST if file.startswith("test") else features.TRAIN
            yield from records.in_batches(split, file, labels, names, pixels)

    def _decode(self, file: str, data: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Labels int64 [n] and pixels uint8 [n, 32, 32, 3]."""
        facts = self.variant.facts
        decode = _decode_pickle if self.variant.is_pickled else _decode_binary
        labels, planes = decode(facts, file, data)
        wrong = np.flatnonzero((labels < 0) | (labels >= facts.num_classes))
        if len(wrong):
            raise DataError(
                f"record {wrong[0]} of '{file}' has the class number"
                f" {labels[wrong[0]]}",
                expected=f"0 to {facts.num_classes - 1}",
                tip="is the archive damaged, or another data set?",
            )
        shape = (-1, facts.channels, facts.height, facts.width)
        return labels, planes.reshape(shape).transpose(0, 2, 3, 1)

    def _class_names(self, data: bytes) -> tuple[str, ...]:
        """Names by class number, from the content of the release's list."""
        facts = self.variant.facts
        if self.variant.is_pickled:
            lines = _unpickle_names(facts, self.variant.meta, data)
        else:
            lines = data.decode("utf-8", "replace").split("\n")
        words = [line.strip() for line in lines if line.strip()]
        if len(words) != facts.num_classes:
            raise DataError(
                f"'{self.variant.meta}' lists {len(words)} classes",
                expected=f"{facts.num_classes}, one a line",
            )
        return tuple(words)


@functools.cache
def class_names(facts: RawFormat) -> tuple[str, ...]:
    """The official class names, for archives that come without their list."""
    return contract.load(contract.find(facts.name)).labels


def find(listing: Listing) -> CifarLayout | None:
    """The CIFAR release among the files, if one is there beyond doubt.

    Raises:
      ConfigError: there are several.
    """
    names = sorted(listing.names)
    found: list[CifarLayout] = []
    for variant in VARIANTS:
        if listing.answers.format not in (AUTO, variant.format):
            continue
        markers = [
            name for name in names if variant.is_marker(posixpath.basename(name))
        ]
        beside = Counter(posixpath.dirname(name) for name in markers)
        found += (
            CifarLayout(variant, folder)
            for folder, count in beside.items()
            if count >= variant.markers_needed
        )
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
    facts: RawFormat, file: str, data: bytes
) -> tuple[np.ndarray, np.ndarray]:
    complete, rest = divmod(len(data), facts.record_bytes)
    if rest or not complete:
        raise DataError(
            f"record {complete} of '{file}' has {rest:,} bytes",
            expected=(
                f"{facts.record_bytes:,} ({facts.label_bytes} label +"
                f" {facts.width}*{facts.height}*{facts.channels})"
            ),
            tip="is the archive complete?",
        )
    table = np.frombuffer(data, np.uint8).reshape(complete, facts.record_bytes)
    labels = table[:, facts.label_bytes - 1].astype(np.int64)
    return labels, table[:, facts.label_bytes :]


def _decode_pickle(
    facts: RawFormat, file: str, data: bytes
) -> tuple[np.ndarray, np.ndarray]:
    batch = _load(file, data)
    key = _key("labels", facts)
    pixels, labels = batch.get("data"), batch.get(key)
    if (
        not isinstance(pixels, np.ndarray)
        or pixels.dtype != np.uint8
        or pixels.ndim != 2
        or pixels.shape[1] != facts.pixel_bytes
        or not len(pixels)
    ):
        found = (
            f"{pixels.dtype} {pixels.shape}" if isinstance(pixels, np.ndarray) else ""
        )
        raise DataError(
            f"'data' in '{file}' is not an array of images",
            found=found or type(pixels).__name__,
            expected=f"uint8 (N, {facts.pixel_bytes})",
        )
    if isinstance(labels, np.ndarray):
        labels = labels.tolist() if labels.ndim == 1 else None
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise DataError(f"'{key}' in '{file}' is not a list of whole numbers")
    if len(labels) != len(pixels):
        raise DataError(
            f"'{file}' has {len(pixels):,} images and {len(labels):,} labels",
            tip="is the archive complete?",
        )
    return np.clip(labels, -1, 1 << 30).astype(np.int64), np.ascontiguousarray(pixels)


def _unpickle_names(facts: RawFormat, file: str, data: bytes) -> list[str]:
    key = _key("label_names", facts)
    names = _load(file, data).get(key)
    if not isinstance(names, list):
        raise DataError(f"'{file}' has no list '{key}'")
    return [
        name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
        for name in names
    ]


def _key(name: str, facts: RawFormat) -> str:
    """Key in a pickled dictionary; CIFAR-100 has coarse classes besides."""
    return f"fine_{name}" if facts.label_bytes > 1 else name


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
