"""Several datasets read as one: the spans of a rolling window."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from common.errors import DataError
from components.image_example_gen import grouping, layouts, records
from components.image_example_gen.spans import DataSet


@dataclasses.dataclass(frozen=True)
class Window:
    """The plans of several spans, with the same attributes as one.

    Keys, and names of files, get the span in front: `7/cat/a.jpg`. Splits are cut from all
    images together, so copies in two spans never lie in two splits.

    Attributes:
      spans: what goes in front, one a plan.
      plans: of the spans.
    """

    spans: tuple[str, ...]
    plans: tuple[layouts.Plan, ...]

    @property
    def layout(self) -> layouts.Layout:
        """Layout of the newest span; the others have the same format and channels."""
        return self.plans[-1].layout

    @property
    def grouping(self) -> grouping.Grouping:
        """How the images get groups; all spans are asked for the same."""
        return self.plans[-1].grouping

    @property
    def units(self) -> tuple[tuple[int, tuple[str, ...] | None], ...]:
        """Parts to be read apart: number of the span, and its part."""
        return tuple(
            (number, unit)
            for number, plan in enumerate(self.plans)
            for unit in plan.units
        )

    @property
    def ignored(self) -> tuple[str, ...]:
        """Files that no part holds."""
        return tuple(
            f"{span}/{name}"
            for span, plan in zip(self.spans, self.plans, strict=True)
            for name in plan.ignored
        )

    def reader(self) -> "Window":
        """The same without the names of files: what it takes to read a part."""
        return Window(self.spans, tuple(plan.reader() for plan in self.plans))

    @property
    def is_random_access(self) -> bool:
        """Whether `read_file` works."""
        return all(plan.is_random_access for plan in self.plans)

    def read(self, unit: tuple[int, tuple[str, ...] | None]) -> Iterator[records.Found]:
        """Images of one part; see `layouts.Plan.read`."""
        number, part = unit
        for found in self.plans[number].read(part):
            yield _named(found, self.spans[number])

    def read_file(self, name: str, limit: int) -> bytes:
        """Bytes of one file, where access is random."""
        span, _, inner = name.partition("/")
        return self.plans[self.spans.index(span)].read_file(inner, limit)


Images = layouts.Plan | Window


def plan(
    data_sets: Sequence[DataSet], answers: layouts.Answers = layouts.Answers()
) -> Images:
    """Finds out what lies in each of the datasets.

    Raises:
      ConfigError: the format is unknown, or several readings fit.
      DataError: one of them holds nothing of that kind, or they lie in different layouts.
    """
    plans = [layouts.plan(str(data.path), answers) for data in data_sets]
    if len(plans) == 1:
        return plans[0]
    kinds = {(found.layout.format, found.layout.channels) for found in plans}
    if len(kinds) > 1:
        raise DataError(
            "the spans of the window lie in different layouts",
            found=", ".join(
                f"{data.name}: {found.layout.format}"
                for data, found in zip(data_sets, plans, strict=True)
            ),
            expected="one layout",
            tip="--set data.window_spans=1 takes the newest alone",
        )
    return Window(tuple(str(data.span) for data in data_sets), tuple(plans))


def _named(found: Any, span: str) -> Any:
    """What was found, under the name that it has in the window."""
    if isinstance(found, records.PixelBatch):
        return found._replace(file=f"{span}/{found.file}")
    if isinstance(found, records.ImageFile):
        name = f"{span}/{found.name}" if found.name else ""
        return found._replace(key=f"{span}/{found.key}", name=name)
    if isinstance(found, records.Unreadable):
        return found._replace(key=f"{span}/{found.key}")
    return found._replace(name=f"{span}/{found.name}")
