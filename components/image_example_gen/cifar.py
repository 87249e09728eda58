"""CIFAR-10 and CIFAR-100, in the layout of the binary and of the python release."""

import dataclasses
import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from components.image_example_gen import archives, datasets, pickles, records
from schema import features
from schema.errors import DataError

BATCH_IMAGES = 1000


@dataclasses.dataclass(frozen=True)
class Variant:
    """Names of the files in a release.

    Attributes:
      format: name for `input_format`.
      facts: the data set.
      data: pattern of a data file; `is_test` of its name decides the split.
      meta: file with the class names.
      is_pickled: python layout.
      marker: a file that no other layout has.
    """

    format: str
    facts: datasets.RawFormat
    data: re.Pattern[str]
    meta: str
    is_pickled: bool
    marker: re.Pattern[str]


VARIANTS = (
    Variant(
        "cifar10_binary",
        datasets.CIFAR10,
        re.compile(r"(data_batch_\d+|test_batch)\.bin"),
        "batches.meta.txt",
        False,
        re.compile(r"(data_batch_\d+|test_batch)\.bin"),
    ),
    Variant(
        "cifar10_python",
        datasets.CIFAR10,
        re.compile(r"data_batch_\d+|test_batch"),
        "batches.meta",
        True,
        re.compile(r"data_batch_\d+|test_batch"),
    ),
    Variant(
        "cifar100_binary",
        datasets.CIFAR100,
        re.compile(r"(train|test)\.bin"),
        "fine_label_names.txt",
        False,
        re.compile(r"(train|test)\.bin|fine_label_names\.txt"),
    ),
    Variant(
        "cifar100_python",
        datasets.CIFAR100,
        re.compile(r"train|test"),
        "meta",
        True,
        re.compile(r"train|test|meta"),
    ),
)


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

    def units(self, names: Iterable[str]) -> list[tuple[str, ...]]:
        """Parts that can be read apart: a data file, with the class names before it."""
        inside = sorted(name for name in names if self._base(name))
        meta = [name for name in inside if self._base(name) == self.variant.meta]
        data = [name for name in inside if self._is_data(name)]
        return [(*meta, name) for name in data]

    def read(
        self, members: Iterable[archives.Member]
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
                names = self._class_names(archives.read_data_file(member))
            elif base and self._is_data(member.name):
                waiting.append(
                    (base, *self._decode(base, archives.read_data_file(member)))
                )
            else:
                yield records.Ignored(member.name)
            if names:
                yield from self._give(waiting, names)
                waiting.clear()
        yield from self._give(waiting, datasets.class_names(self.variant.facts))

    def _base(self, name: str) -> str:
        """Name within the release's own folder, '' for a file elsewhere."""
        folder, base = posixpath.split(name)
        return base if folder == self.root and not archives.is_litter(base) else ""

    def _is_data(self, name: str) -> bool:
        return bool(self.variant.data.fullmatch(self._base(name)))

    def _give(
        self, files: list[tuple[str, np.ndarray, np.ndarray]], names: tuple[str, ...]
    ) -> Iterator[records.PixelBatch]:
        for file, labels, pixels in files:
            split = features.TEST if file.startswith("test") else features.TRAIN
            for first in range(0, len(labels), BATCH_IMAGES):
                end = first + BATCH_IMAGES
                yield records.PixelBatch(
                    split, file, first, labels[first:end], names, pixels[first:end]
                )

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
        facts = self.variant.facts
        if self.variant.is_pickled:
            meta = _load(self.variant.meta, data)
            key = "fine_label_names" if facts.label_bytes > 1 else "label_names"
            names = meta.get(key)
            if not isinstance(names, list):
                raise DataError(f"'{self.variant.meta}' has no list '{key}'")
            words = [_as_text(name) for name in names]
        else:
            words = data.decode("utf-8", "replace").split("\n")
        words = [word.strip() for word in words if word.strip()]
        if len(words) != facts.num_classes:
            raise DataError(
                f"'{self.variant.meta}' lists {len(words)} classes",
                expected=f"{facts.num_classes}, one a line",
            )
        return tuple(words)


def _decode_binary(
    facts: datasets.RawFormat, file: str, data: bytes
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
    facts: datasets.RawFormat, file: str, data: bytes
) -> tuple[np.ndarray, np.ndarray]:
    batch = _load(file, data)
    key = "fine_labels" if facts.label_bytes > 1 else "labels"
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


def _as_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def find(names: set[str], variants: Iterable[Variant] = VARIANTS) -> CifarLayout | None:
    """The CIFAR release among `names`, if one is there beyond doubt."""
    for variant in variants:
        for name in sorted(names):
            folder, base = posixpath.split(name)
            if not variant.marker.fullmatch(base):
                continue
            beside = {
                posixpath.basename(other)
                for other in names
                if posixpath.dirname(other) == folder
            }
            # CIFAR-100's names are everyday words, so two of them must be together.
            needed = 2 if variant.facts is datasets.CIFAR100 else 1
            found = [one for one in beside if variant.marker.fullmatch(one)]
            if len(found) >= needed:
                return CifarLayout(variant, folder)
    return None
