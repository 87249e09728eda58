"""Assigns images to splits by their content, independent of the other images.

The hash of an image's content, read as a number u in [0, 1), decides: the lowest
`test_fraction` is test, the highest `eval_fraction` is eval, what lies between is train. So
an image keeps its split while data grow, and changing one fraction leaves the other split
alone. Images of a group (`data.group_by`) are split by the hash of its name, all into one split.

A class of `MIN_IMAGES_TO_CUT` images (or groups) that finds none in a split gives it a
stand-in: its smallest u to test; to train the smallest u of eval, if it has two there, else
the largest of test; to eval the largest u that is not the only one of its split. Smaller
classes are trained on whole. Where no class is that large, the largest gives one to each.

A stand-in goes back where its own u says once the class has a real one, so growth moves
images from test or eval to train, one a class and split at a time. An image that was
trained on comes into test or eval in two cases only: it stood in for train, or its class
reached `MIN_IMAGES_TO_CUT`. docs/data.md says how often.
"""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from common.errors import DataError
from components.image_example_gen import gathered, looks, stand_ins
from components.image_example_gen.gathered import DIGEST_BYTES
from components.image_example_gen.stand_ins import EVAL, TEST, TRAIN
from schema import features
from schema.spelling import listed

# Smaller classes than this give nothing to a cut split, else training would lose them.
MIN_IMAGES_TO_CUT = 3

# An image that lies in two official splits stays in the one where it could do harm if it
# were trained on: in that of the larger code.
_NAMES = {TRAIN: features.TRAIN, EVAL: features.EVAL, TEST: features.TEST}
_CODES = {"": TRAIN, **{name: code for code, name in _NAMES.items()}}
# Bits of the hash that make u; a float holds them exactly.
_U_BITS = 48


class Row(NamedTuple):
    """What the split of an image is decided by.

    Attributes:
      digest: SHA-256 of the pixels (raw formats) or of the encoded bytes (files).
      split: the official one, '' for none.
      text: class.
      key: of the image.
      is_gray: one channel. height: px. width: px.
      group: name of the group that it belongs to, '' for none.
    """

    digest: bytes
    split: str
    text: str
    key: str
    is_gray: bool
    height: int
    width: int
    group: str = ""


class Cut(NamedTuple):
    """What is cut from train.

    Attributes:
      eval_fraction: share of train for eval, in [0, 1); used when eval is missing.
      test_fraction: share of train for test, in [0, 1); used when test is missing.
      seed: another draw of both for every value.
    """

    eval_fraction: float
    test_fraction: float
    seed: int = 0


NO_CUT = Cut(0.0, 0.0)


class Assignment(NamedTuple):
    """The rule by which every worker finds an image's split by itself.

    Attributes:
      cut: what is cut from train; shares are 0 where the split is official.
      stand_ins: digest of an image or of a group's name -> split, where that is not the one
        of its u; images of small classes are among them.
      repeated: digest -> official split and group that decide, for images of which copies
        differ in them.
      images: split -> class -> images.
      duplicates_dropped: copies left out because a more important split has them.
      duplicates_kept: further copies within one split.
      label_conflicts: different images of which copies carry different classes.
      few_groups: class -> groups, where they are fewer than `MIN_IMAGES_TO_CUT`.
    """

    cut: Cut
    stand_ins: dict[bytes, str]
    repeated: dict[bytes, tuple[str, str]]
    images: dict[str, dict[str, int]]
    duplicates_dropped: int
    duplicates_kept: int
    label_conflicts: int
    few_groups: dict[str, int]

    def split_of(self, digest: bytes, split: str, group: str = "") -> str:
        """Split of an image; '' for a duplicate that is left out."""
        digest = digest[:DIGEST_BYTES]
        winner, group = self.repeated.get(digest, (split, group))
        if _CODES[split] < _CODES[winner]:
            return ""
        if _CODES[winner]:
            return winner
        unit = digest_of_group(group) if group else digest
        if unit in self.stand_ins:
            return self.stand_ins[unit]
        (code,) = _by_hash(_place(unit, self.cut.seed), self.cut)
        return _NAMES[code]


def assign(rows: Iterable[Row], cut: Cut) -> Assignment:
    """Assignment of all images; the order of `rows` does not matter.

    Official test and eval sets stay what they are. Whichever is missing is cut from train.
    Copies of one image follow it: of several official splits the most important decides, of
    several classes or groups the first by name.

    Args:
      rows: each is looked at once, 25 bytes of it are kept meanwhile.
      cut: what is cut from train where a split is missing.

    Raises:
      DataError: a group lies in several official splits.
    """
    gatherer = gathered.Gatherer()
    for row in rows:
        gatherer.add(row.digest[:DIGEST_BYTES], _CODES[row.split], row.text, row.group)
    images = gatherer.images()
    splits = images.greatest(images.codes)
    is_kept = images.codes == splits[images.of]  # other copies are left out
    classes = images.least(np.where(is_kept, images.classes, len(images.texts)))
    groups = images.least(np.where(is_kept, images.groups, len(images.names)))
    _refuse_straddling(images.names, groups, splits)
    conflicts = images.greatest(images.classes) != images.least(images.classes)
    cut = Cut(
        0.0 if EVAL in splits else cut.eval_fraction,
        0.0 if TEST in splits else cut.test_fraction,
        cut.seed,
    )
    is_cut = splits == TRAIN
    digests, units = _units(images, groups, is_cut)
    by_hash, filled = _fill(cut, digests, units, classes[is_cut], len(images.texts))
    splits[is_cut] = filled.splits[units]
    split_of_row = splits[images.of]
    few = np.flatnonzero((filled.sizes > 0) & (filled.sizes < MIN_IMAGES_TO_CUT))
    return Assignment(
        cut,
        stand_ins={
            _whole(digests[unit]): _NAMES[filled.splits[unit]]
            for unit in np.flatnonzero(filled.splits != by_hash)
        },
        repeated=_repeated(images, splits, groups, is_cut),
        images={
            name: _count(images.texts, images.classes[is_kept & (split_of_row == code)])
            for code, name in _NAMES.items()
        },
        duplicates_dropped=int(np.count_nonzero(~is_kept)),
        duplicates_kept=int(np.count_nonzero(is_kept)) - len(images.digests),
        label_conflicts=int(np.count_nonzero(conflicts)),
        few_groups={
            images.texts[number]: int(filled.sizes[number])
            for number in few
            if images.has_groups
        },
    )


def _units(
    images: gathered.Images, groups: np.ndarray, is_cut: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Digests of what moves as a whole, and for each image that is cut which one it is in."""
    digests, groups = images.digests[is_cut], groups[is_cut]
    if not images.has_groups:
        return digests, np.arange(len(digests))
    of_group = np.array(list(map(digest_of_group, images.names)), gathered.DIGEST)
    has_none = (groups == 0) & (images.names[0] == "")
    return np.unique(np.where(has_none, digests, of_group[groups]), return_inverse=True)


def _fill(
    cut: Cut,
    digests: np.ndarray,
    units: np.ndarray,
    classes: np.ndarray,
    num_classes: int,
) -> tuple[np.ndarray, stand_ins.Units]:
    """Splits of the units by their hash alone, and with stand-ins.

    Args:
      digests: of the units.
      units: unit of each image. classes: class of each image.
    """
    places = digests
    if cut.seed:
        seeded = (_place(_whole(digest), cut.seed) for digest in digests)
        places = np.fromiter(seeded, gathered.DIGEST, len(digests))
    by_hash = _by_hash(places.tobytes(), cut)
    pairs = np.stack([units, classes], axis=1)
    if len(digests) < len(units):
        pairs = np.unique(pairs, axis=0)
    else:
        pairs = pairs[np.argsort(units, kind="stable")]
    filled = stand_ins.Units(places, by_hash, pairs, num_classes, MIN_IMAGES_TO_CUT)
    asked = {TEST: cut.test_fraction, EVAL: cut.eval_fraction}
    filled.fill([split for split, share in asked.items() if share])
    return by_hash, filled


def _place(digest: bytes, seed: int) -> bytes:
    """The hash that decides the split of an image or a group, for a seed."""
    if not seed:
        return digest
    return digest_of(seed.to_bytes(8, "big") + digest)[:DIGEST_BYTES]


def _by_hash(places: bytes, cut: Cut) -> np.ndarray:
    """Split of each of the hashes that lie in `places` one after another, uint8."""
    numbers = np.frombuffer(places, ">u8")[:: DIGEST_BYTES // 8] >> np.uint64(
        64 - _U_BITS
    )
    u = numbers / 2.0**_U_BITS
    return np.where(
        u < cut.test_fraction, TEST, np.where(u >= 1 - cut.eval_fraction, EVAL, TRAIN)
    ).astype(np.uint8)


def _whole(digest: bytes) -> bytes:
    return digest.ljust(DIGEST_BYTES, b"\0")


def _repeated(
    images: gathered.Images, splits: np.ndarray, groups: np.ndarray, is_cut: np.ndarray
) -> dict[bytes, tuple[str, str]]:
    differ = images.least(images.codes) != images.greatest(images.codes)
    differ |= images.least(images.groups) != images.greatest(images.groups)
    return {
        _whole(images.digests[image]): (
            "" if is_cut[image] else _NAMES[splits[image]],
            images.names[groups[image]],
        )
        for image in np.flatnonzero(differ)
    }


def _refuse_straddling(
    names: list[str], groups: np.ndarray, splits: np.ndarray
) -> None:
    """Raises DataError where images of a group lie in several official splits."""
    kinds = np.unique(groups.astype(np.int64) * len(_NAMES) + splits) // len(_NAMES)
    straddling = [
        names[number] for number in np.unique(kinds[1:][kinds[1:] == kinds[:-1]])
    ]
    # Images that look alike need not be of one picture.
    if named := [name for name in straddling if name and not looks.is_look(name)]:
        raise DataError(
            "groups of data.group_by lie in several official splits",
            found=listed(named),
            expected="each group in train, eval or test as a whole",
            tip="fix the splits of the data, or leave out data.group_by",
        )


def _count(texts: list[str], classes: np.ndarray) -> dict[str, int]:
    counts = np.bincount(classes, minlength=len(texts)).tolist()
    return {text: count for text, count in zip(texts, counts, strict=True) if count}


def digest_of(content: bytes) -> bytes:
    """SHA-256 of an image's content."""
    return hashlib.sha256(content).digest()


def digest_of_group(name: str) -> bytes:
    """First `DIGEST_BYTES` of the SHA-256 of a group's name."""
    return digest_of(name.encode("utf-8", "surrogateescape"))[:DIGEST_BYTES]
