"""What a check of a dataset found."""

import dataclasses
from collections.abc import Iterable, Mapping

from components.image_example_gen.inspection import SizeRange
from components.image_example_gen.records import Unreadable
from data_check.wrong_labels import WrongLabel


@dataclasses.dataclass(frozen=True, order=True, slots=True)
class Place:
    """Where an image stands.

    Attributes:
      key: its path or place in the source.
      split: 'train', 'eval', 'test', or 'all' where the data have no splits.
      text: its class.
    """

    key: str
    split: str
    text: str


@dataclasses.dataclass(frozen=True)
class Group:
    """Images that belong together, in the order of their keys.

    Attributes:
      images: two or more.
      is_across_splits: they lie in several splits.
      has_several_classes: they carry several classes.
    """

    images: tuple[Place, ...]
    is_across_splits: bool
    has_several_classes: bool


@dataclasses.dataclass(frozen=True)
class OddImage:
    """An image that stands out.

    Attributes:
      image: which one.
      score: of cleanvision, in [0, 1]; the lower, the worse.
    """

    image: Place
    score: float


@dataclasses.dataclass(frozen=True)
class Findings:
    """What a check found; empty where nothing is wrong.

    Attributes:
      source: what was checked.
      images: split -> class -> readable images.
      width_px: range of widths. height_px: range of heights.
      unreadable: images that would be left out, with reasons.
      exact_duplicates: images of the same pixels.
      near_duplicates: images that look the same, though their pixels differ; None where
        they were not looked for.
      odd_images: kind, as 'dark' -> images of that kind, the worst first; None where they
        were not looked for.
      usual: kind -> images of that kind, where most are, so that none stands out; None
        where they were not looked for.
      wrong_labels: images whose class a model doubts, the most doubtful first; None where
        no model was asked.
      left_out: a sentence for each check that was not made.
    """

    source: str
    images: Mapping[str, Mapping[str, int]]
    width_px: SizeRange
    height_px: SizeRange
    unreadable: tuple[Unreadable, ...]
    exact_duplicates: tuple[Group, ...]
    near_duplicates: tuple[Group, ...] | None
    odd_images: Mapping[str, tuple[OddImage, ...]] | None
    usual: Mapping[str, int] | None
    wrong_labels: tuple[WrongLabel, ...] | None
    left_out: tuple[str, ...]


def make_group(images: Iterable[Place]) -> Group:
    """The group of `images`."""
    ordered = tuple(sorted(images))
    return Group(
        ordered,
        is_across_splits=len({image.split for image in ordered}) > 1,
        has_several_classes=len({image.text for image in ordered}) > 1,
    )
