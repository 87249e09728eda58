"""MNIST-format data: IDX files, gzip-compressed or not."""

import dataclasses
import math
import posixpath
import re
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np

from common.errors import DataError
from components.image_example_gen import records
from components.image_example_gen.layouts.layout import (
    Layout,
    Listing,
    question,
    setting,
)
from components.image_example_gen.sources.source import Member, unpack
from schema import features

# train-images-idx3-ubyte.gz, t10k-labels.idx1-ubyte, emnist-letters-test-images-...
_NAME = re.compile(
    r"(?P<prefix>(?:.*[-_.])?)(?P<split>train|t10k|test|val)[-_.]"
    r"(?P<kind>images|labels)[-_.]idx[13]-ubyte(?:\.gz)?",
    re.IGNORECASE,
)
# Unsigned bytes in three dimensions, and in one.
_MAGIC = {"images": 0x00000803, "labels": 0x00000801}
_SPLITS = {
    "train": features.TRAIN,
    "t10k": features.TEST,
    "test": features.TEST,
    "val": features.EVAL,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class IdxLayout(Layout):
    """IDX files of one dataset.

    Attributes:
      root: their folder.
      prefix: tells EMNIST's kinds apart.
      is_transposed: whether rows and columns are exchanged, as in all of EMNIST's files.
      class_names: character of each number, '' for a number without a class; empty
        where the numbers are the names. The file in `files` has them.
    """

    root: str
    prefix: str
    is_transposed: bool
    class_names: tuple[str, ...]

    def units(self, names: Iterable[str]) -> list[tuple[str, ...]]:
        """Parts for one worker each: the images and labels of a split."""
        by_split: dict[str, list[str]] = {}
        for name in sorted(names):
            if match := self._match(name):
                by_split.setdefault(match["split"].lower(), []).append(name)
        return [tuple(files) for files in by_split.values()]

    def read(
        self, members: Iterable[Member]
    ) -> Iterator[records.PixelBatch | records.Ignored]:
        """Images, once the labels that belong to them are there.

        Raises:
          DataError: a file is missing, or its size is not what its header says.
        """
        halves: dict[str, dict[str, tuple[str, np.ndarray]]] = {}
        for member in members:
            match = self._match(member.name)
            if match is None:
                yield records.Ignored(member.name)
                continue
            split, kind = match["split"].lower(), match["kind"].lower()
            file = posixpath.basename(member.name)
            half = halves.setdefault(split, {})
            if kind in half:
                raise DataError(
                    f"{file} exists twice",
                    found=f"{half[kind][0]} and {file}",
                    tip="keep one of the two",
                )
            half[kind] = (file, _decode(file, kind, unpack(member)))
            if len(half) == 2:
                yield from self._pair(_SPLITS[split], half)
        for split, half in halves.items():
            if len(half) == 1:
                ((kind, (file, _)),) = half.items()
                missing = "labels" if kind == "images" else "images"
                raise DataError(
                    f"{file} has no {missing} beside it",
                    expected=f"{self.prefix}{split}-{missing}-idx"
                    f"{1 if missing == 'labels' else 3}-ubyte[.gz] beside it",
                )

    def _pair(
        self, split: str, half: dict[str, tuple[str, np.ndarray]]
    ) -> Iterator[records.PixelBatch]:
        (file, images), (_, labels) = half["images"], half["labels"]
        half["images"] = (file, np.empty(0))  # lets the pixels go once they are given
        pixels = images.transpose(0, 2, 1, 3) if self.is_transposed else images
        return records.in_batches(split, file, labels, self.class_names, pixels)

    def _match(self, name: str) -> re.Match[str] | None:
        folder, base = posixpath.split(name)
        match = _NAME.fullmatch(base)
        if match and folder == self.root and match["prefix"] == self.prefix:
            return match
        return None


def find(listing: Listing) -> IdxLayout | None:
    """The MNIST-format dataset among the files.

    Raises:
      ConfigError: there are several, as in EMNIST's archive of all kinds, or the one asked
        for is missing.
    """
    kinds: dict[tuple[str, str], set[str]] = defaultdict(set)
    for name in listing.names:
        folder, base = posixpath.split(name)
        if match := _NAME.fullmatch(base):
            kinds[folder, match["prefix"]].add(match["kind"].lower())
    # Kaggle's MNIST holds each file a second time, in a folder of its own.
    whole = [place for place in kinds if len(kinds[place]) > 1]
    found = {
        posixpath.join(*place).rstrip("-_./") or ".": place for place in whole or kinds
    }
    if not found:
        return None
    wanted = listing.answers.subset
    if len(found) == 1 and not wanted:
        wanted = next(iter(found))
    if wanted not in found:
        raise question(
            f"there is no MNIST-format dataset '{wanted}'"
            if wanted
            else f"{len(found)} MNIST-format datasets lie together",
            found=", ".join(sorted(found)),
            answers=[setting("data.subset", name) for name in sorted(found)],
        )
    folder, prefix = found[wanted]
    mapping = posixpath.join(folder, f"{prefix}mapping.txt")
    files = tuple({mapping}.intersection(listing.names))
    title = prefix.rstrip("-_.")
    words = [f"MNIST-format files{f' of {title}' if title else ''}"]
    if is_transposed := "emnist" in prefix.lower():
        words.append(
            "EMNIST stores images with rows and columns exchanged; turned upright"
        )
    if files:
        words.append(f"{mapping} has the characters of the classes")
    return IdxLayout(
        format="idx",
        words=tuple(words),
        files=files,
        channels=1,
        root=folder,
        prefix=prefix,
        is_transposed=is_transposed,
        class_names=_characters(mapping, listing.read(files)[mapping]) if files else (),
    )


def _characters(file: str, data: bytes) -> tuple[str, ...]:
    """Character of each class, from lines of its number and the codes of its characters.

    Of a class with a capital and a small letter the first is its name.
    """
    names: dict[int, str] = {}
    for line in data.decode("ascii", "replace").splitlines():
        cells = line.split()
        if not cells:
            continue
        if len(cells) < 2 or not all(cell.isdecimal() for cell in cells):
            raise DataError(
                f"{file} is no mapping of classes to characters",
                found=line[:80],
                expected="lines as '10 65': a number, and the code of its character",
            )
        names[int(cells[0])] = chr(int(cells[1]))
    return tuple(names.get(number, "") for number in range(max(names, default=-1) + 1))


def _decode(file: str, kind: str, data: bytes) -> np.ndarray:
    """Images uint8 [n, height, width, 1] or labels int64 [n]."""
    dimensions = 3 if kind == "images" else 1
    magic = _MAGIC[kind]
    header_bytes = 4 + 4 * dimensions
    found = int.from_bytes(data[:4], "big")
    if len(data) < header_bytes or found != magic:
        raise DataError(
            f"{file} is not an IDX file of {kind}",
            found=f"magic number 0x{found:08x}, {len(data):,} bytes",
            expected=f"magic number 0x{magic:08x}",
        )
    shape = struct.unpack(f">{dimensions}I", data[4:header_bytes])
    if len(data) - header_bytes != math.prod(shape):
        raise DataError(
            f"{file} has {len(data) - header_bytes:,} bytes behind its header",
            expected=f"{math.prod(shape):,} ({' * '.join(str(size) for size in shape)})",
            tip="is the file complete?",
        )
    values = np.frombuffer(data, np.uint8, offset=header_bytes)
    if kind == "labels":
        return values.astype(np.int64)
    return values.reshape(*shape, 1)
