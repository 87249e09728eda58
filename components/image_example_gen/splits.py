"""Which image goes into which split."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple, Protocol, runtime_checkable

from schema import features

# An image that lies in two official splits stays in the one where it could do harm if it
# were trained on.
_PRIORITY = {"": 0, features.TRAIN: 0, features.EVAL: 1, features.TEST: 2}

# Smaller classes than this give nothing to a cut split, else training would lose them.
MIN_IMAGES_TO_CUT = 3


class Row(NamedTuple):
    """What the split of an image is decided by.

    Attributes:
      digest: SHA-256 of the pixels (raw formats) or of the encoded bytes (files).
      split: the official one, '' for none.
      text: class.
      key: of the image; breaks ties.
      is_gray: one channel. height: px. width: px.
    """

    digest: bytes
    split: str
    text: str
    key: str
    is_gray: bool
    height: int
    width: int


@runtime_checkable
class Copies(Protocol):
    """Digest -> rows of all copies of an image; read several times (`index.Index`)."""

    def items(self) -> Iterable[tuple[bytes, list[Row]]]:
        """Each different image once."""


class Assignment(NamedTuple):
    """The rule by which every worker finds an image's split by itself.

    Attributes:
      test_until: class -> largest digest of `train` that is cut for `test`.
      eval_until: class -> largest digest of `train` that is cut for `eval`.
      repeated: digest -> split and class that decide, for images that occur twice.
      images: split -> class -> images.
      duplicates_dropped: copies left out because a more important split has them.
      duplicates_kept: further copies within one split.
      label_conflicts: different images of which copies carry different classes.
      seed: of the order in which images are cut from train.
    """

    test_until: dict[str, bytes]
    eval_until: dict[str, bytes]
    repeated: dict[bytes, tuple[str, str]]
    images: dict[str, dict[str, int]]
    duplicates_dropped: int
    duplicates_kept: int
    label_conflicts: int
    seed: int = 0

    def split_of(self, digest: bytes, split: str, text: str) -> str:
        """Split of an image; '' for a copy that is left out."""
        winner, decisive_text = self.repeated.get(digest, (split, text))
        if _PRIORITY[split] < _PRIORITY[winner]:
            return ""
        if _PRIORITY[winner]:
            return winner
        place = _place(digest, self.seed)
        if place <= self.test_until.get(decisive_text, b""):
            return features.TEST
        if place <= self.eval_until.get(decisive_text, b""):
            return features.EVAL
        return features.TRAIN


def assign(
    rows: Iterable[Row] | Copies,
    eval_fraction: float,
    test_fraction: float,
    seed: int = 0,
) -> Assignment:
    """Assignment of all images; the order of `rows` does not matter.

    Official test and eval sets stay what they are. Whichever is missing is cut from
    train, class by class: of the different images of a class, sorted by digest, the first
    `fraction` (rounded, at least one where there are three) go to the missing split. Where
    no class has three, one image of the largest class does. Copies of one image follow it.

    Args:
      eval_fraction: share of train for eval, in [0, 1); used when eval is missing.
      test_fraction: share of train for test, in [0, 1); used when test is missing.
      seed: another order of the images for every value.
    """
    copies = rows if isinstance(rows, Copies) else _by_digest(rows)
    official = {row.split for _, group in copies.items() for row in group}
    test_share = 0.0 if features.TEST in official else test_fraction
    eval_share = 0.0 if features.EVAL in official else eval_fraction

    repeated = {}
    train_digests: dict[str, list[bytes]] = defaultdict(list)
    for digest, group in copies.items():
        decisive = min(group, key=lambda row: (-_PRIORITY[row.split], row.key))
        if len(group) > 1:
            repeated[digest] = (decisive.split, decisive.text)
        if not _PRIORITY[decisive.split]:
            train_digests[decisive.text].append(_place(digest, seed))

    sizes = {text: len(digests) for text, digests in train_digests.items()}
    tests = {text: _share(test_share, size, size - 1) for text, size in sizes.items()}
    if test_share:
        _take_one(tests, sizes)
    evals = {
        text: _share(eval_share, size, size - 1 - tests[text])
        for text, size in sizes.items()
    }
    if eval_share:
        rest = {text: size - tests[text] for text, size in sizes.items()}
        _take_one(evals, rest)

    test_until, eval_until = {}, {}
    for text, digests in train_digests.items():
        digests.sort()
        if tests[text]:
            test_until[text] = digests[tests[text] - 1]
        if evals[text]:
            eval_until[text] = digests[tests[text] + evals[text] - 1]
    rule = Assignment(test_until, eval_until, repeated, {}, 0, 0, 0, seed)
    return _count(rule, copies)


def _by_digest(rows: Iterable[Row]) -> Copies:
    copies: dict[bytes, list[Row]] = defaultdict(list)
    for row in rows:
        copies[row.digest].append(row)
    return copies


def _share(fraction: float, images: int, at_most: int) -> int:
    if not fraction or images < MIN_IMAGES_TO_CUT:
        return 0
    return max(0, min(at_most, max(1, int(fraction * images + 0.5))))


def _place(digest: bytes, seed: int) -> bytes:
    """Where an image comes in the order of its class."""
    return digest_of(seed.to_bytes(8, "big") + digest) if seed else digest


def _take_one(cut: dict[str, int], sizes: dict[str, int]) -> None:
    """Takes one image of the largest class where no class was large enough to be cut.

    Every class keeps an image to be trained on.
    """
    largest = min(sizes, key=lambda text: (-sizes[text], text), default="")
    if not any(cut.values()) and sizes.get(largest, 0) > 1:
        cut[largest] = 1


def _count(rule: Assignment, copies: Copies) -> Assignment:
    counts: dict[str, Counter[str]] = {split: Counter() for split in features.SPLITS}
    dropped = kept_copies = conflicts = 0
    for digest, group in copies.items():
        kept = 0
        for row in group:
            split = rule.split_of(digest, row.split, row.text)
            if split:
                counts[split][row.text] += 1
                kept += 1
            else:
                dropped += 1
        kept_copies += kept - 1
        conflicts += len({row.text for row in group}) > 1
    return rule._replace(
        images={split: dict(sorted(counts[split].items())) for split in counts},
        duplicates_dropped=dropped,
        duplicates_kept=kept_copies,
        label_conflicts=conflicts,
    )


def digest_of(content: bytes) -> bytes:
    """What equal images have in common."""
    return hashlib.sha256(content).digest()
