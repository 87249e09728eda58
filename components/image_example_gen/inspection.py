"""A look at data before anything is made of them."""

import dataclasses
import pathlib
from collections import Counter, defaultdict

from components.image_example_gen import contracts, layouts, outlook, reading, records
from schema import features, images, spelling
from schema.contract import Contract
from schema.errors import DataError

MIN_CLASSES = 2
# Where the data set itself has no splits, all images are listed under this name.
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
      labels: classes in the order a contract would give them.
      channels: 1 if all images are gray, else 3.
      width_px: range of widths. height_px: range of heights.
      formats: 'jpeg' and 'png', whichever the Examples would have.
      unreadable: images that would be left out, with reasons.
      ignored: files that are no part of the data set.
      duplicates: images of which an equal one comes before them.
      duplicates_across_splits: of those, the ones in another split.
      label_conflicts: different images of which copies carry different classes.
    """

    path: str
    format: str
    words: tuple[str, ...]
    images: dict[str, dict[str, int]]
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
    def troubles(self) -> tuple[str, ...]:
        """What a run on these data will meet, in sentences."""
        return outlook.troubles(
            self.images,
            self.labels,
            unreadable=len(self.unreadable),
            duplicates_across_splits=self.duplicates_across_splits,
            label_conflicts=self.label_conflicts,
        )


def inspect(path: str, answers: layouts.Answers = layouts.Answers()) -> Inspection:
    """Reads and checks every image at `path`; writes nothing.

    Args:
      path: folder or archive.
      answers: what a person decided about the layout.

    Raises:
      ConfigError: the format is unknown, or several readings fit.
      DataError: nothing readable is there, the data break their format, or two classes
        look alike.
    """
    plan = layouts.plan(path, answers)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    widths: Counter[int] = Counter()
    heights: Counter[int] = Counter()
    copies: dict[bytes, list[tuple[str, str]]] = defaultdict(list)
    unreadable, ignored = [], list(plan.ignored)
    formats = set()
    is_gray = True
    progress = reading.Progress()
    numbers: dict[str, int] = {}
    for unit in plan.units:
        for found in reading.read_records(
            plan, unit, records.Classes(()), has_pixels=False
        ):
            if isinstance(found, records.Unreadable):
                unreadable.append(found)
                continue
            if isinstance(found, records.Ignored):
                ignored.append(found.name)
                continue
            progress.add(1)
            row = found.row
            counts[row.split or ALL][row.text] += 1
            widths[row.width] += 1
            heights[row.height] += 1
            copies[row.digest].append((row.split, row.text))
            formats.add(found.format)
            is_gray = is_gray and row.is_gray
            numbers[row.text] = found.label
    if not counts:
        raise DataError(
            f"no readable image in {path}",
            found="; ".join(f"{key}: {reason}" for key, reason in unreadable[:3]),
        )
    labels = order_classes(numbers)
    spelling.check_classes(labels)
    return Inspection(
        path=str(pathlib.Path(path)),
        format=plan.layout.format,
        words=plan.layout.words,
        images={
            split: {text: counts[split][text] for text in labels if counts[split][text]}
            for split in sorted(counts)
        },
        labels=labels,
        channels=1 if is_gray else 3,
        width_px=size_range(widths),
        height_px=size_range(heights),
        formats=tuple(sorted(formats)),
        unreadable=tuple(sorted(unreadable)),
        ignored=tuple(sorted(ignored)),
        duplicates=sum(len(group) - 1 for group in copies.values()),
        duplicates_across_splits=sum(
            len(group) - max(Counter(split for split, _ in group).values())
            for group in copies.values()
        ),
        label_conflicts=sum(
            len({text for _, text in group}) > 1 for group in copies.values()
        ),
    )


def order_classes(numbers: dict[str, int]) -> tuple[str, ...]:
    """Class names in label order.

    Args:
      numbers: class name -> its number in the data set, or UNKNOWN_LABEL. Where all have
        a number, that is the order; else digits go by value, other names by their bytes.
    """
    if all(number != features.UNKNOWN_LABEL for number in numbers.values()):
        return tuple(sorted(numbers, key=lambda name: numbers[name]))
    if all(name.isdecimal() for name in numbers):
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
    if len(inspection.labels) < MIN_CLASSES:
        raise DataError(
            f"{inspection.path} has one class only",
            found=", ".join(inspection.labels),
            expected="two or more class folders",
            tip="a classifier needs something to tell apart",
        )
    height, width = inspection.height_px, inspection.width_px
    if height.minimum == height.maximum and width.minimum == width.maximum:
        return contracts.write_contract(
            inspection.labels,
            formats=inspection.formats,
            height_px=(height.minimum, height.maximum),
            width_px=(width.minimum, width.maximum),
        )
    return contracts.write_contract(
        inspection.labels,
        formats=images.KEPT_FORMATS,
        height_px=(1, images.MAX_SIDE_PX),
        width_px=(1, images.MAX_SIDE_PX),
    )


def size_range(sizes: Counter[int]) -> SizeRange:
    """Range of `sizes`, size in px -> images; there is at least one image."""
    ordered = sorted(sizes)
    middle, seen = sizes.total() // 2, 0
    median = ordered[-1]
    for size in ordered:
        seen += sizes[size]
        if seen > middle:
            median = size
            break
    return SizeRange(ordered[0], median, ordered[-1])
