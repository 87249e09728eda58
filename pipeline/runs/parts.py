"""A part of a pipeline: from one component to another, on what an earlier run left."""

import dataclasses
import json
import pathlib

from common.errors import ConfigError
from pipeline import order
from storage import durable

COMPONENTS = tuple(order.UPSTREAM)
# What a run leaves that ends before it has a verdict, in place of a summary.
FILE = "part.json"


@dataclasses.dataclass(frozen=True)
class Part:
    """Which components run.

    Attributes:
      first: with all that follows from it; '' is the pipeline's first.
      last: with all that leads to it; '' is the pipeline's last.
    """

    first: str = ""
    last: str = ""

    def __bool__(self) -> bool:
        return bool(self.first or self.last)

    def reaches(self, component: str) -> bool:
        """Whether a component may run."""
        place = COMPONENTS.index
        is_early = bool(self.first) and place(component) < place(self.first)
        is_late = bool(self.last) and place(component) > place(self.last)
        return not is_early and not is_late

    def __str__(self) -> str:
        return f"{self.first or COMPONENTS[0]} to {self.last or 'the end'}"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended that was to end before it has a verdict; JSON by `asdict`.

    Attributes:
      run: name of the run.
      folder: its own folder.
      experiment: name of the experiment.
      part: what was to run, in words.
      base: run that the rest is from, '' where nothing was needed.
      details: component -> what it gave, in words, of those that ran.
      seconds: of each of them.
      total_seconds: of the whole run.
    """

    run: str
    folder: str
    experiment: str
    part: str
    base: str
    details: dict[str, str]
    seconds: dict[str, float]
    total_seconds: float


def check(part: Part) -> None:
    """Finds the mistakes that show without the pipeline.

    Raises:
      ConfigError: the last component comes before the first.
    """
    if not (part.first and part.last):
        return
    if COMPONENTS.index(part.first) > COMPONENTS.index(part.last):
        raise ConfigError(
            f"'{part.first}' comes after '{part.last}'",
            expected=f"--from and --to in the order {', '.join(COMPONENTS)}",
            tip=f"--from {part.last} --to {part.first}",
        )


def write(folder: pathlib.Path, outcome: Outcome) -> None:
    """Leaves the outcome in the folder of the run."""
    text = json.dumps(dataclasses.asdict(outcome), indent=1)
    durable.write_text(folder / FILE, f"{text}\n")


def read(folder: pathlib.Path) -> Outcome | None:
    """The outcome that a run left, or None where it has none."""
    try:
        text = (folder / FILE).read_text(encoding="utf-8")
    except OSError:
        return None
    return Outcome(**json.loads(text))
