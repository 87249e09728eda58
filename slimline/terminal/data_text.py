"""A dataset as text: classes by split, sizes, lists that are cut."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from slimline.terminal import output

if TYPE_CHECKING:
    from components.image_example_gen.inspection import SizeRange

MAX_LISTED = 5
MAX_CLASSES = 20
TITLE_WIDTH = 11


def class_table(images: Mapping[str, Mapping[str, int]], labels: Sequence[str]) -> str:
    """Images by class and split, the first classes only.

    Args:
      images: split -> class -> images.
      labels: classes, in the order of the rows.
    """
    rows = [("class", *images)]
    rows += [
        (label, *(f"{classes.get(label, 0):,}" for classes in images.values()))
        for label in labels[:MAX_CLASSES]
    ]
    table = output.columns(rows)
    more = len(labels) - MAX_CLASSES
    return (
        f"{table}\nand {more:,} more classes (--json lists all)" if more > 0 else table
    )


def smallest(images: Mapping[str, Mapping[str, int]], labels: Sequence[str]) -> str:
    """The smallest classes; '' where all have as many images."""
    sizes = sorted(
        (sum(classes.get(label, 0) for classes in images.values()), label)
        for label in labels
    )
    largest_size, largest = sizes[-1]
    if sizes[0][0] == largest_size:
        return ""
    few = ", ".join(f"{label} ({size:,})" for size, label in sizes[:MAX_LISTED])
    return f"{few}; the largest is {largest} ({largest_size:,})"


def branches(lines: Sequence[str]) -> list[str]:
    """What belongs to the line above, a branch for each of `lines`."""
    marks = ["├─"] * (len(lines) - 1) + ["└─"]
    return [f"{'':<10}{mark} {line}" for mark, line in zip(marks, lines, strict=False)]


def listed(title: str, names: Sequence[str], count: str = "") -> str:
    """A title with the number of `names`, or `count`, and the first of them below it."""
    more = len(names) - MAX_LISTED
    lines = [*names[:MAX_LISTED], *([f"and {more:,} more"] if more > 0 else [])]
    heading = f"{title:<{TITLE_WIDTH - 1}} {count or f'{len(names):,}'}"
    return "\n".join([heading, *(f"  {line}" for line in lines)])


def sizes(width_px: "SizeRange", height_px: "SizeRange") -> str:
    """Smallest, median and largest size."""
    width, height = (
        f"{px.minimum} / {px.median} / {px.maximum}" for px in (width_px, height_px)
    )
    return f"width {width}, height {height} px (smallest / median / largest)"
