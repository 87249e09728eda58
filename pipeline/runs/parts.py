"""A part of a pipeline: from one component to another, on what an earlier run left."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from common.errors import ConfigError
from storage import durable

# In the order of a run.
COMPONENTS = (
    "contract",
    "ingest",
    "statistics",
    "check",
    "transform",
    "train",
    "baseline",
    "evaluate",
    "infra",
    "push",
    "infer",
)
# What a run leaves that ends before it has a verdict, in place of a summary.
FILE = "part.json"

# Settings that a component reads, sections or keys.
_READ_BY = {
    "ingest": (
        "data.path",
        "data.span",
        "data.window_spans",
        "data.contract",
        "data.format",
        "data.subset",
        "data.class_from",
        "data.splits",
        "data.columns",
        "data.eval_fraction",
        "data.test_fraction",
        "data.split_seed",
        "data.group_by",
        "data.max_unreadable_share",
        "preprocessing.channels",
    ),
    "check": (
        "data.max_drift",
        "data.max_label_drift",
        "data.max_skew",
        "data.max_imbalance",
    ),
    "transform": ("preprocessing",),
    "train": ("preprocessing", "model", "augmentation", "train", "schedule"),
    "evaluate": ("evaluation",),
    "infra": ("infra",),
}


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


def without_effect(
    values: Mapping[str, Any], earlier: Mapping[str, Any], reused: Sequence[str]
) -> list[tuple[str, str]]:
    """Settings that differ from an earlier run's, but only matter to what is taken from it.

    Args:
      values: dotted key -> value, of this run.
      earlier: the same of the earlier run.
      reused: components whose results are taken from it.

    Returns:
      Key and component, in the order of the components.
    """
    found: list[tuple[str, str]] = []
    for component in COMPONENTS:
        if component in reused:
            found += [
                (key, component)
                for key, value in values.items()
                if key in earlier
                and earlier[key] != value
                and _reads(component, key)
                and key not in dict(found)
            ]
    return found


def _reads(component: str, key: str) -> bool:
    return any(
        key == read or key.startswith(f"{read}.")
        for read in _READ_BY.get(component, ())
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
