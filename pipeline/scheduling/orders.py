"""What a scheduled run is asked for, and what comes of it."""

import dataclasses
from collections.abc import Callable
from typing import Protocol

from pipeline.scheduling.rows import DONE, FAILED, REFUSED


@dataclasses.dataclass(frozen=True)
class Order:
    """A run that is due.

    Attributes:
      pipeline: name of the experiment.
      row: number of its slot in the ledger.
      settings: dotted key -> value as text, over those that the schedule was given.
    """

    pipeline: str
    row: int
    settings: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
      state: DONE, REFUSED or FAILED.
      reason: in words.
      exit_code: of the command.
      pushed_version: version that became live, or None.
    """

    state: str
    reason: str
    exit_code: int
    pushed_version: str | None = None


class Interrupted(Exception):
    """The run was stopped from outside, and can go on."""


class Runner(Protocol):
    """Who runs."""

    def run(self, order: Order, beat: Callable[[str], None]) -> Outcome:
        """Runs, and calls `beat` at least every HEARTBEAT_SECONDS meanwhile.

        Args:
          order: what.
          beat: takes the name of the run's folder, '' before there is one.

        Raises:
          Interrupted: the run was stopped, and goes on when it is ordered again.
        """

    def outcome(self, order: Order) -> Outcome | None:
        """How a run ended that was ordered before; None where it did not."""

    def forget(self, order: Order) -> None:
        """Drops what `outcome` tells."""


# The contract of the command line (docs/cli.md).
_STATES = {0: DONE, 3: REFUSED, 4: REFUSED, 5: REFUSED}


def state_of(exit_code: int) -> str:
    """The state of a slot whose run ended with an exit code of the command."""
    return _STATES.get(exit_code, FAILED)
