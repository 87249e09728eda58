"""Ten thousand slots, two schedulers, kills, sleeps and clocks set back: each slot once."""

import collections
import datetime
import random

import pytest

from pipeline.scheduling.controller import MAX_ATTEMPTS
from pipeline.scheduling.cron import Cron
from pipeline.slots import rows
from pipeline.slots.ledger import FILE, Ledger
from pipeline.slots.rows import Outcome

# A kill comes before or after one call in so many.
KILL_ODDS = 60
SEED = 20261126
ZONE = "Europe/Berlin"


class Killed(BaseException):
    """kill -9, as far as one process can play it."""


class Perils:
    """Kills whoever asks, now and then; off at the end, so that all can be worked off."""

    def __init__(self, drawn: random.Random):
        self._drawn = drawn
        self.is_on = True
        self.kills = 0

    def maybe(self) -> None:
        if self.is_on and self._drawn.randrange(KILL_ODDS) == 0:
            self.kills += 1
            raise Killed


class PerilousLedger(Ledger):
    """Its owner may die right before and right after each transaction."""

    perils: Perils

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if name not in ("plan", "update", "register"):
            return found

        def call(*values, **named):
            self.perils.maybe()
            result = found(*values, **named)
            self.perils.maybe()
            return result

        return call


class Oracle:
    """A runner that keeps outside of the ledger what was run, and never two at once."""

    def __init__(self, perils: Perils, drawn: random.Random):
        self._perils = perils
        self._drawn = drawn
        self.started = collections.Counter()
        self.ended = collections.Counter()
        self._results = {}
        self._under_way = 0
        self.meanwhile = lambda: None

    def run(self, row, settings, began):
        assert self._under_way == 0
        self._under_way += 1
        try:
            self.started[row.id] += 1
            self._perils.maybe()
            began(f"run-{row.id}-{self.started[row.id]}")
            if self._drawn.random() < 0.2:
                self.meanwhile()
            self._perils.maybe()
            self.ended[row.id] += 1
            state = self._drawn.choice(
                [rows.DONE, rows.DONE, rows.REFUSED, rows.FAILED]
            )
            self._results[row.id] = Outcome(state, "", 0)
            return self._results[row.id]
        finally:
            self._under_way -= 1

    def outcome(self, row):
        return self._results.get(row.id)


class NewEveryTime:
    """A source in which a span has always just come."""

    def __init__(self, source_type):
        self._source = source_type()
        self._count = 0

    def newest(self, now, last=-1):
        self._count += 1
        span = self._count if last == -1 else last
        self._source.spans = [span]
        return self._source.newest(now, last)


# The quick suite tries five days around the night in which the clock goes back, the nightly
# one weeks.
MANY = pytest.mark.nightly


@pytest.mark.parametrize(
    ("missed", "slots", "first_day"),
    [
        *((missed, 1_500, 22) for missed in ("once", "all", "skip")),
        pytest.param("once", 10_000, 10, marks=MANY),
        pytest.param("all", 2_000, 10, marks=MANY),
        pytest.param("skip", 2_000, 10, marks=MANY),
    ],
)
def test_each_slot_once(stage, missed: str, slots: int, first_day: int) -> None:
    drawn = random.Random(SEED)
    perils = Perils(drawn)
    oracle = Oracle(perils, drawn)
    source = NewEveryTime(type(stage.source))
    cron = Cron("*/5 * * * *", ZONE)
    start = datetime.datetime(2026, 10, first_day, tzinfo=datetime.UTC)
    stage.clock.set(start)

    def make():
        ledger = PerilousLedger(stage.root / FILE)
        ledger.perils = perils
        # Power does not fail here.
        ledger._database.execute("PRAGMA synchronous=OFF")
        ledger._database.execute("PRAGMA journal_mode=MEMORY")
        made = stage.controller(
            cron.expression,
            timezone=ZONE,
            ledger=ledger,
            newest=source.newest,
            runner=oracle,
            missed=missed,
            grace_seconds=120,
        )
        ledgers[id(made)] = ledger
        return made

    ledgers = {}
    controllers = [make(), make()]

    def look(number: int) -> None:
        controller = controllers[number]
        try:
            controller.tick()
        except Killed:
            ledgers.pop(id(controller)).close()
            controllers[number] = make()

    end = start + datetime.timedelta(minutes=5 * slots)
    newest = start
    looks_back = 0
    while stage.clock.now() < end:
        number = drawn.randrange(2)
        oracle.meanwhile = lambda other=1 - number: look(other)
        look(number)
        chance = drawn.random()
        if chance < 0.002:
            stage.clock.go(hours=-1)
            looks_back += 1
        elif chance < 0.02:
            stage.clock.go(minutes=drawn.randrange(15, 180))
        else:
            stage.clock.go(seconds=drawn.randrange(20, 400))
        newest = max(newest, stage.clock.now())
    perils.is_on = False
    stage.clock.set(newest)
    for _ in range(20):
        look(0)
    found = stage.ledger.history()
    by_slot = collections.Counter(row.slot for row in found)
    since = datetime.datetime.fromisoformat(stage.ledger.schedules()["cats"]["since"])
    expected = [slot.isoformat() for slot in cron.between(since, newest)]
    assert len(expected) > slots * 0.99
    assert sorted(by_slot) == expected and set(by_slot.values()) == {1}
    states = collections.Counter(row.state for row in found)
    assert set(states) <= {rows.DONE, rows.REFUSED, rows.FAILED, rows.MISSED}
    for row in found:
        if row.state == rows.MISSED:
            assert row.reason and row.id not in oracle.started
        elif row.reason.startswith("given up"):
            assert row.attempts > MAX_ATTEMPTS
        else:
            assert oracle.ended[row.id] == 1, row
            assert oracle.started[row.id] <= row.attempts
    print(f"seed {SEED}: {dict(states)}, {perils.kills} kills, {looks_back} steps back")
    assert perils.kills > slots / 40 and looks_back
