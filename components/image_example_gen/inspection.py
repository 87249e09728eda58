"""Inspection of data before a run: layout, classes, splits and problems."""

import dataclasses
import pathlib
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from common.errors import DataError
from components.image_example_gen import (
    acceptance,
    contracts,
    layouts,
    reading,
    records,
    splits,
)
from schema import features, images, spelling
from schema.contract import Contract

# Where the dataset itself has no splits, all images are listed under this name.
ALL = "all"


@dataclasses.dataclass(frozen=True)
class SizeRange:
    """Smallest, middle and largest size in px."""

    minimum: int
    median: int
    maximum: int


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What lies at a path.

    Attributes:
      path: where. format: one of `layouts.FORMATS`.
      words: the layout in sentences, with what it leaves out.
      images: split -> class -> images; the only split is 'all' where there are none.
      ingested: the same as ingest will have them, in train, eval and test.
      few_groups: class -> groups, where they are too few to be cut.
      labels: classes in the order a contract would give them.
      channels: 1 if all images are gray, else 3.
      width_px: range of widths. height_px: range of heights.
      formats: 'jpeg' and 'png', whichever the Examples would have.
      unreadable: images that would be left out, with reasons.
      ignored: files that are no part of the dataset.
      duplicates: images of which an equal one comes before them.
      duplicates_across_splits: of those, the ones that a more important split has, too.
      label_conflicts: different images of which copies carry different classes.
    """

    path: str
    format: str
    words: tuple[str, ...]
    images: dict[str, dict[str, int]]
    ingested: dict[str, dict[str, int]]
    few_groups: dict[str, int]
    labels: tuple[str, ...]
    channels: int
    width_px: SizeRange
    height_px: SizeRange
    formats: tuple[str, ...]
    unreadable: tuple[records.Unreadable, ...]
    ignored: tuple[str, ...]
    duplicates: int
    duplicates_across_splits: int
    label_conflicts: int

    @property
    def is_cut(self) -> bool:
        """Whether ingest will cut a split that the data lack."""
        return any(
            self.ingested[split] and split not in self.images
            for split in (features.EVAL, features.TEST)
        )

    @property
    def troubles(self) -> tuple[str, ...]:
        """Problems that a run on these data will have, a sentence each."""
        return acceptance.troubles(self)


def inspect(
    path: str,
    answers: layouts.Answers = layouts.Answers(),
    cut: splits.Cut = splits.NO_CUT,
) -> Inspection:
    """Reads and checks every image at `path`; writes nothing.

    Args:
      path: folder or archive.
      answers: what a person decided about the layout.
      cut: what ingest will cut from train.

    Raises:
      ConfigError: the format is unknown, several readings fit, or an image has no group
        where all must.
      DataError: nothing readable is there, the data break their format, two classes look
        alike, or a group lies in several official splits.
    """
    plan = layouts.plan(path, answers)
    seen = _Seen(list(plan.ignored))
    rule = splits.assign(seen.rows(plan), cut)
    if not seen.counts:
        raise DataError(
            f"no readable image in {path}",
            found="; ".join(f"{key}: {reason}" for key, reason in seen.unreadable[:3]),
        )
    labels = order_classes(seen.numbers)
    spelling.check_classes(labels)
    return Inspection(
        path=str(pathlib.Path(path)),
        format=plan.layout.format,
        words=plan.layout.words,
        images=_ordered(seen.counts, sorted(seen.counts), labels),
        ingested=_ordered(rule.images, features.SPLITS, labels),
        few_groups=rule.few_groups,
        labels=labels,
        channels=1 if seen.is_gray else 3,
        width_px=size_range(seen.widths),
        height_px=size_range(seen.heights),
        formats=tuple(sorted(seen.formats)),
        unreadable=tuple(sorted(seen.unreadable)),
        ignored=tuple(sorted(seen.ignored)),
        duplicates=rule.duplicates_dropped + rule.duplicates_kept,
        duplicates_across_splits=rule.duplicates_dropped,
        label_conflicts=rule.label_conflicts,
    )


@dataclasses.dataclass
class _Seen:
    """Counts made while images are read."""

    ignored: list[str]
    unreadable: list[records.Unreadable] = dataclasses.field(default_factory=list)
    counts: dict[str, Counter[str]] = dataclasses.field(
        default_factory=lambda: defaultdict(Counter)
    )
    widths: Counter[int] = dataclasses.field(default_factory=Counter)
    heights: Counter[int] = dataclasses.field(default_factory=Counter)
    formats: set[str] = dataclasses.field(default_factory=set)
    is_gray: bool = True
    numbers: dict[str, int] = dataclasses.field(default_factory=dict)

    def rows(self, plan: layouts.Plan) -> Iterator[splits.Row]:
        """A row for each readable image, counted on its way."""
        progress = reading.Progress()
        for unit in plan.units:
            for found in reading.records_of(
                plan.read(unit), plan, records.Classes(()), has_pixels=False
            ):
                if isinstance(found, records.Unreadable):
                    self.unreadable.append(found)
                    continue
                if isinstance(found, records.Ignored):
                    self.ignored.append(found.name)
                    continue
                progress.add(1)
                row = found.row
                self.counts[row.split or ALL][row.text] += 1
                self.widths[row.width] += 1
                self.heights[row.height] += 1
                self.formats.add(found.format)
                self.is_gray = self.is_gray and row.is_gray
                self.numbers[row.text] = found.label
                yield row


def _ordered(
    counts: Mapping[str, Mapping[str, int]],
    names: Iterable[str],
    labels: Iterable[str],
) -> dict[str, dict[str, int]]:
    """Split -> class -> images, both in the order given, without zeros."""
    return {
        split: {text: counts[split][text] for text in labels if counts[split].get(text)}
        for split in names
    }


def order_classes(numbers: dict[str, int]) -> tuple[str, ...]:
    """Class names in label order.

    Args:
      numbers: class name -> its number in the dataset, or UNKNOWN_LABEL. Where all have
        a number, that is the order; else digits go by value, other names by their bytes.
    """
    if all(number != features.UNKNOWN_LABEL for number in numbers.values()):
        return tuple(sorted(numbers, key=numbers.__getitem__))
    if all(map(str.isdecimal, numbers)):
        return tuple(sorted(numbers, key=lambda name: (int(name), name)))
    return tuple(
        sorted(numbers, key=lambda name: name.encode("utf-8", "surrogateescape"))
    )


def make_contract(inspection: Inspection) -> Contract:
    """Contract that the inspected data keep.

    The classes are pinned. Images of one size, as digits and CIFAR are, pin it and their
    format, too. Photos come in many sizes and either format: the next ones may differ.

    Raises:
      DataError: there is one class only.
    """
    acceptance.check_classes(inspection.labels)
    height, width = inspection.height_px, inspection.width_px
    if height.minimum == height.maximum and width.minimum == width.maximum:
        formats = inspection.formats
        height_px = (height.minimum, height.maximum)
        width_px = (width.minimum, width.maximum)
    else:
        formats = images.KEPT_FORMATS
        height_px = width_px = (1, images.MAX_SIDE_PX)
    return contracts.write_contract(
        inspection.labels, formats=formats, height_px=height_px, width_px=width_px
    )


def size_range(sizes: Counter[int]) -> SizeRange:
    """Range of `sizes`, size in px -> images; there is at least one image."""
    return SizeRange(min(sizes), statistics.median_high(sizes.elements()), max(sizes))
