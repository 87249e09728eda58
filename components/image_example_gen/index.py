"""Index of all images of a source: 32 bytes per image, in columns.

Workers fill a `Part` for each batch; `Index` joins them. Classes and official splits are
numbers into a table. Keys are hashed: they only decide between copies.
"""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from components.image_example_gen import records, splits, spool
from components.image_example_gen.gathered import DIGEST_BYTES
from components.image_example_gen.reading import Record
from schema import features, image_names

# `high`, `low`: the first 16 bytes of the digest as numbers, most significant byte first.
# `key`: hash of the key. `kind`: number in the table of kinds. `stored_bytes`: of what lies
# in the spool. `image_bytes`: of the image, wherever it lies.
ROW = np.dtype(
    [
        ("high", "<u8"),
        ("low", "<u8"),
        ("key", "<u4"),
        ("kind", "<u4"),
        ("stored_bytes", "<u4"),
        ("image_bytes", "<u4"),
    ]
)
# An Example on its way into a shard: where it lies in the spool, and its label.
PLACE = np.dtype(
    [
        ("file", "<u4"),
        ("offset", "<u4"),
        ("length", "<u4"),
        ("label", "<i4"),
        ("is_read_again", "u1"),
    ]
)
_ROWS_AT_ONCE = 4096
_LEFT_OUT = -1


class Kind(NamedTuple):
    """What many images have in common.

    Attributes:
      split: the official one, '' for none. text: class. label: its number.
      is_read_again: whether the image is read from the source again when it is written.
      group: name of the group, '' for none.
    """

    split: str
    text: str
    label: int
    is_read_again: bool
    group: str = ""


def known_kinds(labels: Sequence[str]) -> dict[Kind, int]:
    """Kinds of all classes of the contract -> their numbers."""
    splits_found = ("", *features.SPLITS)
    kinds = itertools.product(enumerate(labels), splits_found, (False, True))
    return {
        Kind(split, text, label, is_read_again): number
        for number, ((label, text), split, is_read_again) in enumerate(kinds)
    }


class Part:
    """Index of one batch; its records lie one after the other in one file of the spool."""

    def __init__(self, known: Mapping[Kind, int]):
        """Takes the `known_kinds`; the part brings the others along."""
        self._known = known
        self._rows: list[tuple[int, ...]] = []
        self._others: dict[Kind, int] = {}
        self._place: tuple[str, int] = ("", 0)
        self._unreadable: list[records.Unreadable] = []
        self._ignored: list[str] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, record: Record, place: spool.Place) -> None:
        """Adds a record; its Example lies at `place`."""
        row = record.row
        kind = Kind(row.split, row.text, record.label, not record.encoded, row.group)
        number = self._known.get(kind)
        if number is None:
            number = len(self._known) + self._others.setdefault(kind, len(self._others))
        if not self._rows:
            self._place = (place.file, place.offset)
        self._rows.append(
            (
                int.from_bytes(row.digest[:8], "big"),
                int.from_bytes(row.digest[8:DIGEST_BYTES], "big"),
                _hash(row.key),
                number,
                place.length,
                record.image_bytes or len(record.encoded),
            )
        )

    def leave_out(self, found: records.Unreadable | records.Ignored) -> None:
        """Adds an image that cannot be read, or a file that is no image of the dataset."""
        if isinstance(found, records.Unreadable):
            self._unreadable.append(found)
        else:
            self._ignored.append(found.name)

    def to_bytes(self) -> tuple[bytes, str]:
        """Serialised form for the next Beam step: rows, and the rest in JSON."""
        about = {
            "place": self._place,
            "kinds": list(self._others),
            "unreadable": self._unreadable,
            "ignored": len(self._ignored),
            "ignored_images": sum(map(image_names.is_image_name, self._ignored)),
        }
        return np.array(self._rows, ROW).tobytes(), json.dumps(about)


class Index:
    """All that is known of a source without its pixels.

    Attributes:
      rows: `ROW` [num_images], in the order of the parts.
      kinds: that the rows mean.
      unreadable: images left out, sorted.
      ignored: number of files that are no part of the dataset.
      ignored_images: how many of those are images by their names.
    """

    def __init__(self, parts: Sequence[tuple[bytes, str]], labels: Sequence[str]):
        """Joins parts.

        Args:
          parts: of the workers, in any order.
          labels: classes of the contract.
        """
        abouts = [json.loads(about) for _, about in parts]
        known = known_kinds(labels)
        others = sorted({Kind(*kind) for about in abouts for kind in about["kinds"]})
        self.kinds = (*known, *others)
        number_of = {kind: number for number, kind in enumerate(others, len(known))}
        self.unreadable = sorted(
            records.Unreadable(*item)
            for about in abouts
            for item in about["unreadable"]
        )
        self.ignored = sum(about["ignored"] for about in abouts)
        self.ignored_images = sum(about["ignored_images"] for about in abouts)
        counts = [len(rows) // ROW.itemsize for rows, _ in parts]
        self.rows = np.empty(sum(counts), ROW)
        self._first = np.cumsum([0, *counts])
        for first, (rows, _), about in zip(self._first, parts, abouts, strict=False):
            of_part = self.rows[first : first + len(rows) // ROW.itemsize]
            of_part[:] = np.frombuffer(rows, ROW)
            if about["kinds"]:
                numbers = [number_of[Kind(*kind)] for kind in about["kinds"]]
                is_other = of_part["kind"] >= len(known)
                place = of_part["kind"][is_other] - len(known)
                of_part["kind"][is_other] = np.array(numbers)[place]
        files = [about["place"][0] for about in abouts]
        self._files, self._file_of_part = np.unique(files, return_inverse=True)
        self._offsets = np.array([about["place"][1] for about in abouts], np.int64)
        # Whatever the order of the parts: by content, copies by their keys.
        self._order = np.lexsort(
            [self.rows[name] for name in reversed(ROW.names or ())]
        )

    def __iter__(self) -> Iterator[splits.Row]:
        """Each image, ascending by digest; copies by their keys.

        Of digests 16 bytes are kept, of keys the hash. Sizes and numbers of channels are not
        known.
        """
        for start in range(0, len(self.rows), _ROWS_AT_ONCE):
            chunk = self._order[start : start + _ROWS_AT_ONCE]
            for high, low, key, number, *_ in self.rows[chunk].tolist():
                digest = ((high << 64) | low).to_bytes(DIGEST_BYTES, "big")
                kind = self.kinds[number]
                yield splits.Row(
                    *(digest, kind.split, kind.text, f"{key:08x}", False, 0, 0),
                    kind.group,
                )

    def shards(
        self, rule: splits.Assignment, num_shards: Callable[[str, int], int]
    ) -> Iterator[tuple[str, int, int, list[str], bytes]]:
        """Contents of each file of each split.

        Args:
          rule: who goes where.
          num_shards: number of files for a split and the bytes of its images.

        Yields:
          Split, number of the file, number of files, files of the spool, and `PLACE`s of
          the Examples in their order. Files of a split hold about equally many bytes.
        """
        codes = {split: code for code, split in enumerate(features.SPLITS)}
        codes[""] = _LEFT_OUT
        of_images = np.fromiter(
            (codes[rule.split_of(row.digest, row.split, row.group)] for row in self),
            np.int8,
            len(self.rows),
        )
        for split in features.SPLITS:
            places = self._order[of_images == codes[split]]
            # The first bytes of the digest decide about the split, so by the later ones:
            # classes come mixed. Stable: copies stay in the order of their keys.
            low = self.rows["low"][places]
            places = places[np.argsort(low, kind="stable")]
            sizes = self.rows["image_bytes"][places].astype(np.int64)
            total = int(sizes.sum())
            count = num_shards(split, total)
            before = np.cumsum(sizes) - sizes
            bounds = [-(-number * total // count) for number in range(count)]
            starts = [*np.searchsorted(before, bounds).tolist(), len(places)]
            for number in range(count):
                of_shard = places[starts[number] : starts[number + 1]]
                yield split, number, count, *self._places(of_shard)

    def _places(self, rows: np.ndarray) -> tuple[list[str], bytes]:
        parts = np.searchsorted(self._first, rows, side="right") - 1
        stored = self.rows["stored_bytes"]
        ends = np.cumsum(stored, dtype=np.int64)
        starts = np.append(0, ends)[self._first[parts]]
        found = np.empty(len(rows), PLACE)
        kinds = self.rows["kind"][rows]
        found["file"] = self._file_of_part[parts]
        found["offset"] = self._offsets[parts] + ends[rows] - stored[rows] - starts
        found["length"] = stored[rows]
        found["label"] = np.array([kind.label for kind in self.kinds], np.int32)[kinds]
        again = np.array([kind.is_read_again for kind in self.kinds], np.uint8)
        found["is_read_again"] = again[kinds]
        return self._files.tolist(), found.tobytes()


def _hash(key: str) -> int:
    encoded = key.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=4).digest(), "little")
