"""The spans of a rolling window, read as one dataset."""

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
      plans: span, which goes in front -> its plan; the newest is the last.
    """

    plans: dict[str, layouts.Plan]

    @property
    def _newest(self) -> layouts.Plan:
        return list(self.plans.values())[-1]

    @property
    def layout(self) -> layouts.Layout:
        """Layout of the newest span; the others have the same format and channels."""
        return self._newest.layout

    @property
    def grouping(self) -> grouping.Grouping:
        """How the images get groups; the same for all spans."""
        return self._newest.grouping

    @property
    def units(self) -> tuple[tuple[str, tuple[str, ...] | None], ...]:
        """Parts for one worker each: a span, and a part of its plan."""
        plans = self.plans.items()
        return tuple((span, unit) for span, plan in plans for unit in plan.units)

    @property
    def ignored(self) -> tuple[str, ...]:
        """Files that no part holds."""
        plans = self.plans.items()
        return tuple(f"{span}/{name}" for span, plan in plans for name in plan.ignored)

    def reader(self) -> "Window":
        """A copy without the names of files, which reads parts all the same."""
        return Window({span: plan.reader() for span, plan in self.plans.items()})

    @property
    def is_random_access(self) -> bool:
        """Whether `read_file` works."""
        return all(plan.is_random_access for plan in self.plans.values())

    def read(self, unit: tuple[str, tuple[str, ...] | None]) -> Iterator[records.Found]:
        """Images of one part; see `layouts.Plan.read`."""
        span, part = unit
        for found in self.plans[span].read(part):
            yield _named(found, span)

    def read_file(self, name: str, limit: int) -> bytes:
        """Bytes of one file, where access is random."""
        span, _, inner = name.partition("/")
        return self.plans[span].read_file(inner, limit)


Images = layouts.Plan | Window


def plan(
    data_sets: Sequence[DataSet], answers: layouts.Answers = layouts.Answers()
) -> Images:
    """Finds out what lies in each of the datasets.

    Raises:
      ConfigError: the format is unknown, or several readings fit.
      DataError: one of them holds nothing of that kind, or they lie in different layouts.
    """
    plans = {
        str(data.span): layouts.plan(str(data.path), answers) for data in data_sets
    }
    first, *others = plans.values()
    if not others:
        return first
    kinds = {(found.layout.format, found.layout.channels) for found in plans.values()}
    if len(kinds) > 1:
        raise DataError(
            "the spans of the window lie in different layouts",
            found=", ".join(
                f"{data.name}: {plans[str(data.span)].layout.format}"
                for data in data_sets
            ),
            expected="one layout",
            tip="--set data.window_spans=1 takes the newest alone",
        )
    return Window(plans)


def _named(found: Any, span: str) -> Any:
    """What was found, with the span in front of its name."""
    if isinstance(found, records.PixelBatch):
        return found._replace(file=f"{span}/{found.file}")
    if isinstance(found, records.ImageFile):
        name = f"{span}/{found.name}" if found.name else ""
        return found._replace(key=f"{span}/{found.key}", name=name)
    if isinstance(found, records.Unreadable):
        return found._replace(key=f"{span}/{found.key}")
    return found._replace(name=f"{span}/{found.name}")
