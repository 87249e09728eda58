"""When data are refused that could be read: too few images, classes or readable files."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from common.errors import ConfigError, DataError
from components.image_example_gen import splits
from components.image_example_gen.layouts import layout
from schema import contract, features, spelling
from schema.spelling import listed

if TYPE_CHECKING:
    # Takes seconds to load; a look before a run does without it.
    from components.image_example_gen.index import Index

MIN_CLASSES = 2
MAX_NAMED = 3


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
    """Checks that preprocessing loses no colour without being told; gray is read as colour.

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
            f"{said} {listed(sorted(names))}"
            for said, names in (("without an image:", missing), ("new:", added))
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
            raise DataError(
                f"no images are left for the split '{split}'",
                found=", ".join(
                    f"{sum(counts.values()):,} {name}"
                    for name, counts in rule.images.items()
                ),
                expected=f"at least {splits.MIN_IMAGES_TO_CUT} different images in a"
                f" class, and a share for {split}",
                tip="add images"
                + (
                    ""
                    if split == features.TRAIN
                    else f", or --set data.{split}_fraction=0.1"
                ),
            )
