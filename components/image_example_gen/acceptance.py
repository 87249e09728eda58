"""Checks that refuse data before a run, and warnings about problems that the run will have."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from common.errors import ConfigError, DataError
from components.image_example_gen import contracts, splits
from components.image_example_gen.layouts import layout
from schema import contract, features, spelling
from schema.spelling import listed

if TYPE_CHECKING:
    # Takes seconds to load; a look before a run does without it.
    from components.image_example_gen.index import Index

MIN_CLASSES = 2
MAX_NAMED = 3
MAX_UNREADABLE = 0.01  # the default of data.max_unreadable_share


def check_readable(index: "Index", max_share: float) -> None:
    """Checks that nearly all images of a source can be read.

    Args:
      max_share: unreadable images per image, at most.

    Raises:
      DataError: there are no images, or more of them than allowed are unreadable.
    """
    total = len(index.rows) + len(index.unreadable)
    if not total:
        raise DataError("there are no images in the data")
    share = len(index.unreadable) / total
    if share == 1 or share > max_share:
        raise DataError(
            f"{len(index.unreadable):,} of {total:,} images are unreadable",
            found=listed(list(map(": ".join, index.unreadable)), MAX_NAMED, "; "),
            expected=f"at most {max_share:.1%}",
            tip="fix or remove them; to accept more on purpose:"
            f" --set data.max_unreadable_share={min(0.99, share + 0.01):.2f}",
        )


def check_channels(found: layout.Layout, channels: int) -> None:
    """Checks that preprocessing drops no colour by accident; gray images pass as colour.

    Raises:
      ConfigError: all images are in colour, and the experiment asks for gray ones.
    """
    if found.channels > channels:
        raise ConfigError(
            f"images of format {found.format} have {found.channels} channels,"
            f" the experiment asks for {channels}",
            tip=f"--set preprocessing.channels={found.channels}",
        )


def check_classes(classes: Collection[str], labels: Sequence[str] = ()) -> None:
    """Checks that a classifier can be trained on images of these classes.

    Args:
      classes: those of the images.
      labels: those of the contract, where there is one already.

    Raises:
      DataError: there is one class only, two look alike, or they are not the contract's.
    """
    spelling.check_classes(sorted(classes))
    if len(classes) < MIN_CLASSES:
        raise DataError(
            "the data have one class only",
            found=", ".join(classes),
            expected="two or more",
            tip="a classifier needs something to tell apart",
        )
    added, missing = set(classes) - set(labels), set(labels) - set(classes)
    if labels and (added or missing):
        found = [
            f"{title} {listed(sorted(names))}"
            for title, names in (("without an image:", missing), ("new:", added))
            if names
        ]
        raise DataError(
            "the classes of the data are not those of their contract",
            found="; ".join(found),
            tip=contract.BROKEN_TIP,
        )


def check_splits(rule: splits.Assignment) -> None:
    """Checks that a classifier can be trained and judged on the splits.

    Raises:
      DataError: there is one class only, two look alike, or a split is empty.
    """
    check_classes({text for counts in rule.images.values() for text in counts})
    for split in features.SPLITS:
        if not rule.images[split]:
            share = f", or --set data.{split}_fraction=0.1"
            raise DataError(
                f"no images are left for the split '{split}'",
                found=", ".join(
                    f"{sum(counts.values()):,} {name}"
                    for name, counts in rule.images.items()
                ),
                expected=f"at least {splits.MIN_IMAGES_TO_CUT} different images in a"
                f" class, and a share for {split}",
                tip="add images" + ("" if split == features.TRAIN else share),
            )


def troubles(found: Any) -> tuple[str, ...]:
    """Problems that a run on these data will have, a sentence each.

    Args:
      found: `inspection.Inspection`, which no component may import: a look at data must not
        decide about the cache.
    """
    images, labels = found.images, found.labels
    unreadable = len(found.unreadable)
    total = sum(sum(classes.values()) for classes in images.values())
    sentences = []
    if unfit := contracts.unfit_labels(labels):
        sentences.append(
            f"no contract can name these classes: {listed(list(map(ascii, unfit)))}"
        )
    if len(labels) < 2:
        sentences.append("there is one class only: a classifier needs two or more")
    official = [split for split in features.SPLITS if split in images]
    for split in official:
        if absent := [text for text in labels if not images[split].get(text)]:
            sentences.append(f"{split} has no image of {listed(absent)}")
    if official and features.TRAIN not in images:
        sentences.append(
            "there are no images to train on, only " + " and ".join(official)
        )
    if not {features.EVAL, features.TEST} <= set(official):
        sizes = sum(map(Counter, images.values()), Counter[str]())
        small = [text for text in labels if sizes[text] < splits.MIN_IMAGES_TO_CUT]
        if small:
            small.sort(key=lambda text: (sizes[text], text))
            sentences.append(
                f"classes of fewer than {splits.MIN_IMAGES_TO_CUT} images are trained on and"
                f" never tested: {listed(small)}"
            )
        if found.few_groups:
            sentences.append(too_few_groups(found.few_groups))
    if unreadable > MAX_UNREADABLE * (total + unreadable):
        sentences.append(
            f"{unreadable / (total + unreadable):.1%} of the images are unreadable: a run"
            f" stops at more than {MAX_UNREADABLE:.0%} (data.max_unreadable_share)"
        )
    if found.duplicates_across_splits:
        sentences.append(
            f"{found.duplicates_across_splits:,} copies lie in two splits and are dropped from one"
        )
    if found.label_conflicts:
        sentences.append(
            f"{found.label_conflicts:,} images have copies in another class"
        )
    return tuple(sentences)


def too_few_groups(few: Mapping[str, int]) -> str:
    """The sentence about classes of so few groups that none is cut for eval or test.

    Args:
      few: class -> groups.
    """
    named = [
        f"{text} ({count} group{'s' * (count > 1)})"
        for text, count in sorted(few.items())
    ]
    return (
        f"classes of fewer than {splits.MIN_IMAGES_TO_CUT} groups give none to eval and"
        f" test: {listed(named)}"
    )
