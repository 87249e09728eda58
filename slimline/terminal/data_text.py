"""A data set as text: classes by split, sizes, lists that are cut."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from slimline.terminal import output

if TYPE_CHECKING:
    from components.image_example_gen.inspection import SizeRange
    from components.image_example_gen.spans import DataSet

MAX_LISTED = 5
MAX_CLASSES = 20
TITLE_WIDTH = 11


def class_table(images: Mapping[str, Mapping[str, int]], labels: Sequence[str]) -> str:
    """Images by class and split, the first classes only.

    Args:
      images: split -> class -> images.
      labels: classes, in the order of the rows.
    """
    splits = list(images)
    rows = [("class", *splits)]
    rows += [
        (label, *(f"{images[split].get(label, 0):,}" for split in splits))
        for label in labels[:MAX_CLASSES]
    ]
    table = output.columns(rows)
    more = len(labels) - MAX_CLASSES
    return (
        f"{table}\nand {more:,} more classes (--json lists all)" if more > 0 else table
    )


def ingested(images: Mapping[str, Mapping[str, int]]) -> list[str]:
    """The line with the sizes that the splits of a run will have.

    Args:
      images: split -> class -> images.
    """
    sizes = {split: sum(classes.values()) for split, classes in images.items()}
    told = " · ".join(f"{size:,} {split}" for split, size in sizes.items())
    return [f"{'a run has':<10}{told}"]


def tree(title: str, head: str, lines: Sequence[str]) -> list[str]:
    """A title and what belongs to it, with a branch for each of `lines`."""
    marks = ["├─"] * (len(lines) - 1) + ["└─"] * bool(lines)
    branches = [
        f"{'':<10}{mark} {line}" for mark, line in zip(marks, lines, strict=True)
    ]
    return [f"{title:<10}{head}", *branches]


def smallest(
    images: Mapping[str, Mapping[str, int]], labels: Sequence[str]
) -> list[str]:
    """The line with the smallest classes; none where all have as many images."""
    sizes = sorted(
        (sum(classes.get(label, 0) for classes in images.values()), label)
        for label in labels
    )
    if sizes[0][0] == sizes[-1][0]:
        return []
    told = ", ".join(f"{label} ({size:,})" for size, label in sizes[:MAX_LISTED])
    return [f"{'smallest':<10}{told}; the largest is {sizes[-1][1]} ({sizes[-1][0]:,})"]


def listed(title: str, names: Sequence[str], count: str = "") -> str:
    """A title with the number of `names`, or `count`, and the first of them below it."""
    more = len(names) - MAX_LISTED
    told = [*names[:MAX_LISTED], *([f"and {more:,} more"] if more > 0 else [])]
    heading = f"{title:<{TITLE_WIDTH - 1}} {count or f'{len(names):,}'}"
    return "\n".join([heading, *(f"  {name}" for name in told)])


def span_lines(data_sets: "Sequence[DataSet]") -> list[str]:
    """What lies behind a pattern, the newest first; no lines for a plain path."""
    if not data_sets:
        return []
    newest = data_sets[-1]
    names = [f"{data.name}  {data.path}" for data in reversed(data_sets)]
    return [listed("spans", names), f"{'newest':<10}{newest.name}", ""]


def sizes(width_px: "SizeRange", height_px: "SizeRange") -> str:
    """The line with smallest, middle and largest size."""
    return (
        f"{'size':<10}width {_range(width_px)}, height {_range(height_px)} px"
        " (smallest / median / largest)"
    )


def _range(found: "SizeRange") -> str:
    return f"{found.minimum} / {found.median} / {found.maximum}"
