"""What will go wrong later with data that can be read: classes that training cannot learn."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from components.image_example_gen import contracts, splits
from schema import features
from schema.spelling import listed

if TYPE_CHECKING:
    from components.image_example_gen.inspection import Inspection

MAX_UNREADABLE = 0.01  # the default of data.max_unreadable_share


def troubles(found: "Inspection") -> tuple[str, ...]:
    """Sentences about what a run on the inspected data will meet."""
    images, labels = found.images, found.labels
    unreadable = len(found.unreadable)
    total = sum(sum(classes.values()) for classes in images.values())
    told = []
    if unfit := contracts.unfit_labels(labels):
        told.append(
            f"no contract can name these classes: {listed(list(map(ascii, unfit)))}"
        )
    if len(labels) < 2:
        told.append("there is one class only: a classifier needs two or more")
    official = [split for split in features.SPLITS if split in images]
    for split in official:
        if absent := [text for text in labels if not images[split].get(text)]:
            told.append(f"{split} has no image of {listed(absent)}")
    if official and features.TRAIN not in images:
        told.append("there are no images to train on, only " + " and ".join(official))
    if not {features.EVAL, features.TEST} <= set(official):
        small = smallest(images, labels, below=splits.MIN_IMAGES_TO_CUT)
        if small:
            told.append(
                f"classes of fewer than {splits.MIN_IMAGES_TO_CUT} images are trained on and"
                f" never tested: {listed(small)}"
            )
        if found.few_groups:
            told.append(too_few_groups(found.few_groups))
    if unreadable > MAX_UNREADABLE * (total + unreadable):
        told.append(
            f"{unreadable / (total + unreadable):.1%} of the images are unreadable: a run"
            f" stops at more than {MAX_UNREADABLE:.0%} (data.max_unreadable_share)"
        )
    if found.duplicates_across_splits:
        told.append(
            f"{found.duplicates_across_splits:,} copies lie in two splits and are dropped from one"
        )
    if found.label_conflicts:
        told.append(f"{found.label_conflicts:,} images have copies in another class")
    return tuple(told)


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


def smallest(
    images: Mapping[str, Mapping[str, int]], labels: Sequence[str], below: int
) -> list[str]:
    """Classes of fewer than `below` images, the least first."""
    sizes = {
        text: sum(classes.get(text, 0) for classes in images.values())
        for text in labels
    }
    return sorted(
        (text for text in labels if sizes[text] < below),
        key=lambda text: (sizes[text], text),
    )
