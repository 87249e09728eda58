"""A night takes no time here: simulated clock, data that arrive on call, runs that run nothing."""

import dataclasses
import datetime
import pathlib

import pytest

from common.errors import DataError
from components.image_example_gen import spans
from pipeline.scheduling.controller import Controller
from pipeline.scheduling.cron import Cron
from pipeline.scheduling.data import Data
from pipeline.slots import rows
from pipeline.slots.ledger import FILE, Ledger
from pipeline.slots.rows import Outcome, TryAgain

START = datetime.datetime(2026, 11, 26, 1, 0, tzinfo=datetime.UTC)


class SimulatedClock:
    """Goes when it is told to, and while somebody sleeps."""

    def __init__(self, start: datetime.datetime = START):
        self._now = start

    def now(self) -> datetime.datetime:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += datetime.timedelta(seconds=seconds)

    def set(self, now: datetime.datetime) -> None:
        self._now = now

    def go(self, **duration: float) -> None:
        self._now += datetime.timedelta(**duration)


class FakeSource:
    """Spans as a list."""

    def __init__(self, *found: int):
        self.spans = list(found)
        self.error: Exception | None = None

    def newest(self, now, last=spans.NEWEST):
        if self.error is not None:
            raise self.error
        known = [span for span in self.spans if last in (spans.NEWEST, span)]
        if not known:
            raise DataError("no span matches cats/{SPAN}")
        span = max(known)
        return Data(f"span {span}", str(span), f"span {span}", span)


class StubRunner:
    """Runs nothing; keeps what was ordered.

    Attributes:
      orders: settings of all of them.
      outcomes: what the next ones come to; an exception is raised, a function called.
      is_busy: whether a run by hand is in progress.
    """

    def __init__(self):
        self.orders = []
        self.is_busy = False
        self.outcomes = []
        self.results = {}

    def run(self, row, settings, began):
        if self.is_busy:
            raise TryAgain("another run is in progress")
        self.orders.append(settings)
        began(f"2026-11-26_0300_run-{len(self.orders)}")
        version = str(len(self.orders))
        outcome = Outcome(rows.DONE, "blessed", 0, version)
        if self.outcomes:
            outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        if callable(outcome):
            outcome = outcome(settings)
        if outcome.state != rows.FAILED:  # what fails leaves no summary
            self.results[row.id] = outcome
        return outcome

    def outcome(self, row):
        return self.results.get(row.id)


@dataclasses.dataclass
class Stage:
    """A root with everything that a controller needs, and the means to make one."""

    root: pathlib.Path
    clock: SimulatedClock
    source: FakeSource
    runner: StubRunner
    ledger: Ledger

    def open(self) -> Ledger:
        """The same ledger, as another process opens it; closed, that process is dead."""
        return Ledger(self.root / FILE)

    def controller(self, cron="0 3 * * *", *, ledger=None, timezone="UTC", **given):
        values = {
            "pipeline": "cats",
            "settings_key": "s",
            "ledger": ledger or self.ledger,
            "newest": self.source.newest,
            "runner": self.runner,
            "clock": self.clock,
            "cron": Cron(cron, timezone) if cron else None,
        }
        return Controller(**(values | given))

    def states(self):
        return [(row.slot, row.state) for row in self.ledger.history()]

    def reasons(self):
        return [row.reason for row in self.ledger.history()]


@pytest.fixture
def stage(tmp_path):
    """A stage at 01:00 UTC with span 1 there."""
    made = Stage(tmp_path, SimulatedClock(), FakeSource(1), StubRunner(), None)
    made.ledger = made.open()
    yield made
    made.ledger.close()


@pytest.fixture
def simulated_clock():
    """The class, for tests with a clock of their own."""
    return SimulatedClock
