"""One look at a schedule: what is due is written down, then worked off."""

import contextlib
import dataclasses
import datetime
import logging
from collections.abc import Callable, Sequence

from components.image_example_gen import spans
from pipeline.scheduling import rows
from pipeline.scheduling.clock import Clock, in_words
from pipeline.scheduling.cron import Cron
from pipeline.scheduling.data import Data, NotSettled, Source
from pipeline.scheduling.hooks import Hooks
from pipeline.scheduling.ledger import Ledger, LostClaim
from pipeline.scheduling.orders import Interrupted, Order, Outcome, Runner
from pipeline.scheduling.owner import Owner
from pipeline.scheduling.rows import New, Row
from schema.errors import ConfigError, DataError

# Which of the slots are run that were not begun in time: no scheduler was there, or the one
# before took so long.
SKIP = "skip"
ONCE = "once"
ALL = "all"
MISSED = (SKIP, ONCE, ALL)
# So many of them get a row; earlier ones share one.
MAX_MISSED = 1000
# A failed run of a new span is tried so often; a slot of a cron expression has the next.
MAX_TRIES = 3
# Between two looks at data on their way, or at a run that is under way.
AGAIN_SECONDS = 60.0
# Exit codes of the command (docs/cli.md).
_WRONG_SETTING = 2
_NO_DATA = 4
_LOGGER = logging.getLogger("slimline.schedule")


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When to train what.

    Attributes:
      pipeline: name of the experiment.
      settings_key: equal where its settings are (`data.settings_key`).
      cron: when; None trains on every new span as it comes.
      missed: what becomes of slots that were not begun in time: none is run (SKIP), the
        last (ONCE), or all of them, one after the other (ALL).
      grace_seconds: how late a slot may begin and is not missed yet.
      is_warm: whether training starts from the live model.
      is_forced: whether to train now, whatever is due and whatever has changed.
      looks_back: whether the first look of all takes slots within `grace_seconds` before
        it for due, as one that a timer starts has to.
    """

    pipeline: str
    settings_key: str
    cron: Cron | None = None
    missed: str = ONCE
    grace_seconds: float = 900.0
    is_warm: bool = False
    is_forced: bool = False
    looks_back: bool = False


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What a controller works with.

    Attributes:
      ledger: of the root.
      source: of the data.
      runner: who runs.
      clock: the time.
      owner: this process.
      hooks: whom to tell.
      has_live_model: whether there is a model to start from.
      is_busy: whether a run that no schedule began holds the experiment.
      tidy: deletes what is old; takes the row whose run has just ended.
    """

    ledger: Ledger
    source: Source
    runner: Runner
    clock: Clock
    owner: Owner
    hooks: Hooks = dataclasses.field(default_factory=Hooks)
    has_live_model: Callable[[], bool] = lambda: False
    is_busy: Callable[[], bool] = lambda: False
    tidy: Callable[[Row], None] = lambda row: None


@dataclasses.dataclass(frozen=True)
class Look:
    """What one look came to.

    Attributes:
      rows: slots that were worked off, in their order.
      planned: slots that were written down.
      waits_for: why something was not begun, or ''.
      is_soon: whether that may be over in AGAIN_SECONDS.
      fault: of the data of a schedule by spans, as that there are none.
    """

    rows: tuple[Row, ...] = ()
    planned: int = 0
    waits_for: str = ""
    is_soon: bool = False
    fault: DataError | None = None


class Controller:
    """Looks at one schedule. Any number of them, in any process, may look at the same."""

    def __init__(self, schedule: Schedule, surroundings: Surroundings):
        self._schedule = schedule
        self._ledger = surroundings.ledger
        self._with = surroundings

    def due(self) -> tuple[New, ...]:
        """Slots that the next look would write down; writes nothing.

        Raises:
          ConfigError, DataError: the data of a schedule by spans cannot be looked at.
          NotSettled: they are still being written.
        """
        now = self._with.clock.now()
        if self._schedule.is_forced:
            return (New(f"{in_words(now)} forced", rows.FORCED),)
        if self._schedule.cron is None:
            return self._due_by_span(now)
        known = self._ledger.schedules().get(self._schedule.pipeline)
        since = known.since if known else self._first_since(now)
        return self._due_by_cron(self._schedule.cron, since, now)

    def tick(self) -> Look:
        """Writes down what is due and works it off.

        Raises:
          ConfigError: the ledger cannot be used, or the pattern of the spans not be read.
          KeyboardInterrupt: a run was stopped; its slot stays planned.
        """
        pipeline = self._schedule.pipeline
        now = self._with.clock.now()
        cron = self._schedule.cron
        self._ledger.register(
            pipeline,
            self._first_since(now),
            cron=cron.expression if cron else "",
            timezone=cron.timezone if cron else "",
        )
        waits_for, is_soon, planned, fault = "", False, 0, None
        try:
            due = self.due()
            planned = self._ledger.plan(pipeline, due, now)
            self._plan_again(due)
        except DataError as error:
            # One who stays waits: the first span may be yet to come.
            waits_for, fault = _in_short(error), error
        except NotSettled as error:
            waits_for, is_soon = str(error), True
        done: list[Row] = []
        while True:
            row, busy = self._ledger.claim(
                pipeline, self._with.owner, self._with.clock.now()
            )
            if row is None:
                if busy is not None:
                    waits_for, is_soon = f"slot {busy.slot} is being worked on", True
                break
            try:
                ended = self._work(row)
            except LostClaim:
                waits_for = f"slot {row.slot} was taken over by another scheduler"
                is_soon = True
                _LOGGER.warning("%s", waits_for)
                break
            if ended.state == rows.PLANNED:
                waits_for, is_soon = ended.reason, True
                break
            done.append(ended)
        return Look(tuple(done), planned, waits_for, is_soon, fault)

    def next_look(self, look: Look, every_seconds: float) -> datetime.datetime:
        """When to look again after a look.

        Args:
          look: the last one.
          every_seconds: between two looks for a new span.
        """
        now = self._with.clock.now()
        soon = now + datetime.timedelta(seconds=AGAIN_SECONDS)
        if self._schedule.cron is None:
            later = now + datetime.timedelta(seconds=every_seconds)
        else:
            # Not from `now`: a slot may have come during the look.
            newest = self._ledger.newest_slot(self._schedule.pipeline)
            later = max(self._schedule.cron.next(newest or now), now)
        return min(soon, later) if look.is_soon else later

    def _due_by_cron(
        self, cron: Cron, since: datetime.datetime, now: datetime.datetime
    ) -> tuple[New, ...]:
        newest = self._ledger.newest_slot(self._schedule.pipeline)
        after = since if newest is None else newest
        found, has_earlier = cron.newest(after, now, MAX_MISSED)
        if not found:
            return ()
        *earlier, last = found
        grace = datetime.timedelta(seconds=self._schedule.grace_seconds)
        new = []
        for slot in earlier:
            state, reason = rows.PLANNED, ""
            if self._schedule.missed == ONCE:
                state = rows.MISSED
                reason = f"not begun in time, slot {in_words(last)} stands for it"
            elif self._schedule.missed == SKIP and now - slot > grace:
                state = rows.MISSED
                reason = f"not begun in time, but looked at {in_words(now)}"
            new.append(New(in_words(slot), rows.CRON, state, reason))
        if has_earlier:
            first = new[0]
            new[0] = dataclasses.replace(
                first,
                state=rows.MISSED,
                reason=f"this and all earlier ones since {in_words(after)} were not begun"
                " in time",
            )
        if self._schedule.missed == SKIP and now - last > grace:
            reason = f"not begun in time, but looked at {in_words(now)}"
            new.append(New(in_words(last), rows.CRON, rows.MISSED, reason))
        else:
            new.append(New(in_words(last), rows.CRON))
        return tuple(new)

    def _first_since(self, now: datetime.datetime) -> datetime.datetime:
        """From when on slots count, where there was no schedule before."""
        seconds = self._schedule.grace_seconds if self._schedule.looks_back else 0.0
        return now - datetime.timedelta(seconds=seconds)

    def _due_by_span(self, now: datetime.datetime) -> tuple[New, ...]:
        found = self._with.source.newest(now)
        if not found.arrival:
            raise ConfigError(
                f"no new span can come: {found.name} is no pattern",
                expected="a path with {SPAN}, or {YYYY}, {MM} and {DD}",
                tip="--cron trains at given times",
            )
        row = self._ledger.find(self._schedule.pipeline, found.arrival)
        if row is None or _may_be_tried_again(row):
            return (New(found.arrival, rows.SPAN, data=found.name),)
        return ()

    def _plan_again(self, due: Sequence[New]) -> None:
        """Plans those anew that have failed."""
        for new in due:
            row = self._ledger.find(self._schedule.pipeline, new.slot)
            if new.kind == rows.SPAN and row is not None and _may_be_tried_again(row):
                self._ledger.plan_again(row, f"again after: {row.reason}")

    def _work(self, row: Row) -> Row:
        """Works off a slot that is ours; what cannot be begun yet is planned anew."""
        try:
            ended = self._ended(row)
        except (KeyboardInterrupt, SystemExit):
            with contextlib.suppress(LostClaim):
                self._ledger.put_off(row, "stopped, it goes on")
            raise
        if ended.state != rows.PLANNED:
            self._tell(ended)
        return ended

    def _ended(self, row: Row) -> Row:
        now = self._with.clock.now()
        order = Order(row.pipeline, row.id)
        # Whoever had it before may have died between the end of the run and its note.
        is_known = row.attempts > 1 or bool(row.runs)
        outcome = self._with.runner.outcome(order) if is_known else None
        if outcome is not None:
            return self._finish(row, outcome)
        if self._with.is_busy():
            reason = f"another run of '{row.pipeline}' is under way"
            return self._ledger.put_off(row, reason)
        is_begun = bool(row.runs) and row.span is not None
        try:
            # What was begun goes on with its span, and its training with its checkpoint.
            found = self._with.source.newest(
                now, row.span if is_begun and row.span is not None else spans.NEWEST
            )
        except NotSettled as error:
            return self._ledger.put_off(row, str(error))
        except (ConfigError, DataError) as error:
            code = _NO_DATA if isinstance(error, DataError) else _WRONG_SETTING
            outcome = Outcome(rows.FAILED, _in_short(error), code)
            return self._finish(row, outcome)
        if row.kind == rows.SPAN and found.arrival != row.slot:
            reason = f"{found.name} has come meanwhile"
            return self._ledger.finish(row, rows.SKIPPED, reason, now)
        row = self._ledger.note(
            row,
            data=found.name,
            data_key=found.key,
            settings_key=self._schedule.settings_key,
            span=found.span,
            version=found.version,
        )
        if row.kind != rows.FORCED and (reason := self._nothing_new(found)):
            return self._ledger.finish(row, rows.SKIPPED, reason, now)
        return self._run(
            row, dataclasses.replace(order, settings=self._settings(found))
        )

    def _run(self, row: Row, order: Order) -> Row:
        self._with.runner.forget(order)
        running = row

        def beat(run: str) -> None:
            nonlocal running
            running = self._ledger.beat(running, run, self._with.clock.now())

        try:
            outcome = self._with.runner.run(order, beat)
        except Interrupted as error:
            return self._ledger.put_off(running, str(error))
        except ConfigError as error:
            outcome = Outcome(rows.FAILED, _in_short(error), _WRONG_SETTING)
        return self._finish(running, outcome)

    def _finish(self, row: Row, outcome: Outcome) -> Row:
        """Writes down how a run ended, after what is old was deleted."""
        try:
            self._with.tidy(row)
        except Exception:  # a run that has ended does not fail by what is left over
            _LOGGER.exception("what is old could not be deleted")
        ended = self._ledger.finish(
            row,
            outcome.state,
            outcome.reason,
            self._with.clock.now(),
            pushed_version=outcome.pushed_version,
            exit_code=outcome.exit_code,
        )
        self._with.runner.forget(Order(row.pipeline, row.id))
        return ended

    def _tell(self, row: Row) -> None:
        """Tells those who want to know."""
        for notice in self._with.hooks.tell(row, self._with.clock.now()):
            if notice.error:
                _LOGGER.warning("%s was not told: %s", notice.target, notice.error)
            self._ledger.add_notice(notice)

    def _nothing_new(self, found: Data) -> str:
        """Why a run would come to what is known already, or ''."""
        last = self._ledger.last_settled(self._schedule.pipeline)
        if last is None or (last.data_key, last.settings_key) != (
            found.key,
            self._schedule.settings_key,
        ):
            return ""
        run = f" by {last.run}" if last.run else ""
        if last.state == rows.REFUSED:
            return f"nothing new: {found.name} was refused{run}: {last.reason}"
        return f"nothing new: {found.name} was trained on{run}"

    def _settings(self, found: Data) -> dict[str, str]:
        settings = {}
        if found.span is not None:
            settings["data.span"] = str(found.span)
        if self._schedule.is_warm and self._with.has_live_model():
            settings["train.weights"] = "blessed"
        return settings


def _may_be_tried_again(row: Row) -> bool:
    return row.state == rows.FAILED and row.attempts < MAX_TRIES


def _in_short(error: ConfigError | DataError) -> str:
    """Cause and finding in one line."""
    return f"{error.message}: {error.found}" if error.found else error.message
