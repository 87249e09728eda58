"""One look at a schedule: what is due is written down, then worked off."""

import contextlib
import dataclasses
import datetime
import json
import logging
from collections.abc import Callable
from typing import Any

from components.image_example_gen import spans
from pipeline.scheduling import rows
from pipeline.scheduling.clock import Clock, in_words
from pipeline.scheduling.cron import Cron
from pipeline.scheduling.data import Data, NotSettled, Source
from pipeline.scheduling.hooks import Hooks
from pipeline.scheduling.ledger import MAX_TRIES, Ledger, LostClaim
from pipeline.scheduling.rows import Interrupted, Outcome, Row, Runner
from schema.errors import ConfigError, DataError

# Which of the slots are run that were not begun in time: no scheduler was there, or the one
# before took so long.
SKIP = "skip"
ONCE = "once"
ALL = "all"
# So many of them get a row; earlier ones share one.
MAX_MISSED = 1000
# A slot whose scheduler died so often is given up: it may be what kills them.
MAX_ATTEMPTS = 5
# Between two looks at data on their way, or at a run that is under way.
AGAIN_SECONDS = 60.0
# The clock may be set, or the machine sleep: so long at most between two looks at it.
NAP_SECONDS = 30.0
# Exit codes of the command (docs/cli.md).
_FAILED = 1
_WRONG_SETTING = 2
_NO_DATA = 4
_LOGGER = logging.getLogger("slimline.schedule")


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When to train what.

    Attributes:
      pipeline: identity of the schedule (`data.identity`).
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
      ledger, source, runner, clock, hooks: of the schedule.
      has_live_model: whether there is a model to start from.
      is_busy: whether a run that no schedule began holds the experiment.
      tidy: deletes what is old; takes the row whose run has just ended.
    """

    ledger: Ledger
    source: Source
    runner: Runner
    clock: Clock
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
      fault: why the span data could not be read.
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
        self._with = surroundings
        self._ledger = surroundings.ledger

    def due(self) -> tuple[Row, ...]:
        """Slots that the next look would write down; writes nothing.

        Raises:
          ConfigError, DataError: the data of a schedule by spans cannot be looked at.
          NotSettled: they are still being written.
        """
        now = self._with.clock.now()
        if self._schedule.is_forced:
            return (self._new(f"{in_words(now)} forced", rows.FORCED),)
        if self._schedule.cron is None:
            return self._due_by_span(now)
        return self._due_by_cron(self._schedule.cron, now)

    def tick(self) -> Look:
        """Writes down what is due and works it off.

        Raises:
          ConfigError: the ledger cannot be used, or the pattern of the spans not be read.
          KeyboardInterrupt: a run was stopped; its slot stays planned.
        """
        schedule, now = self._schedule, self._with.clock.now()
        zone = (
            (schedule.cron.expression, schedule.cron.timezone) if schedule.cron else ()
        )
        self._ledger.register(schedule.pipeline, self._first_since(now), *zone)
        look = Look()
        try:
            look = Look(planned=self._ledger.plan(self.due(), now))
        except DataError as error:
            # One who stays waits: the first span may be yet to come.
            look = Look(waits_for=_in_short(error), fault=error)
        except NotSettled as error:
            look = Look(waits_for=str(error), is_soon=True)
        done: list[Row] = []
        waits_for = ""
        while not waits_for:
            row, busy = self._ledger.claim(schedule.pipeline, self._with.clock.now())
            if busy is not None:
                waits_for = f"slot {busy.slot} is being worked on"
            if row is None:
                break
            try:
                ended = self._work(row)
            except LostClaim:
                waits_for = f"slot {row.slot} was taken over by another scheduler"
                _LOGGER.warning("%s", waits_for)
                continue
            if ended.state == rows.PLANNED:
                waits_for = ended.reason
            else:
                done.append(ended)
        if waits_for:
            look = dataclasses.replace(look, waits_for=waits_for, is_soon=True)
        return dataclasses.replace(look, rows=tuple(done))

    def next_look(self, look: Look, every_seconds: float) -> datetime.datetime:
        """When to look again after a look; `every_seconds` is between two for a new span."""
        now = self._with.clock.now()
        if self._schedule.cron is None:
            later = now + datetime.timedelta(seconds=every_seconds)
        else:
            # Not from `now`: a slot may have come during the look.
            newest = self._ledger.newest_slot(self._schedule.pipeline)
            later = max(self._schedule.cron.next(newest or now), now)
        soon = now + datetime.timedelta(seconds=AGAIN_SECONDS)
        return min(soon, later) if look.is_soon else later

    def _new(self, slot: str, kind: str, **values: Any) -> Row:
        return Row(self._schedule.pipeline, slot, kind, **values)

    def _due_by_cron(self, cron: Cron, now: datetime.datetime) -> tuple[Row, ...]:
        known = self._ledger.schedules().get(self._schedule.pipeline)
        since = datetime.datetime.fromisoformat(known["since"]) if known else None
        after = self._ledger.newest_slot(self._schedule.pipeline) or since
        after = after or self._first_since(now)
        found, has_earlier = cron.newest(after, now, MAX_MISSED)
        grace = datetime.timedelta(seconds=self._schedule.grace_seconds)
        new = []
        for number, slot in enumerate(found):
            reason = ""
            if has_earlier and number == 0:
                reason = (
                    f"this and all earlier ones since {in_words(after)} were not begun in"
                    " time"
                )
            elif self._schedule.missed == ONCE and slot != found[-1]:
                reason = f"not begun in time, slot {in_words(found[-1])} stands for it"
            elif self._schedule.missed == SKIP and now - slot > grace:
                reason = f"not begun in time, but looked at {in_words(now)}"
            state = rows.MISSED if reason else rows.PLANNED
            new.append(self._new(in_words(slot), rows.CRON, state=state, reason=reason))
        return tuple(new)

    def _first_since(self, now: datetime.datetime) -> datetime.datetime:
        """From when on slots count, where there was no schedule before."""
        seconds = self._schedule.grace_seconds if self._schedule.looks_back else 0.0
        return now - datetime.timedelta(seconds=seconds)

    def _due_by_span(self, now: datetime.datetime) -> tuple[Row, ...]:
        found = self._with.source.newest(now)
        if not found.arrival:
            raise ConfigError(
                f"no new span can come: {found.name} is no pattern",
                expected="a path with {SPAN}, or {YYYY}, {MM} and {DD}",
                tip="--cron trains at given times",
            )
        row = self._ledger.find(self._schedule.pipeline, found.arrival)
        if row and (row.state != rows.FAILED or row.attempts >= MAX_TRIES):
            return ()
        return (self._new(found.arrival, rows.SPAN, data=found.name),)

    def _work(self, row: Row) -> Row:
        """Works off a slot that is ours; what cannot be begun yet is planned anew."""
        current = row
        try:
            outcome = self._known_outcome(row)
            if outcome is None:
                current, settings = self._prepared(row)
                if current.state != rows.RUNNING:
                    return current

                def beat(run: str) -> None:
                    nonlocal current
                    names = current.runs.split()
                    names += [run] if run and run not in names else []
                    moment = in_words(self._with.clock.now())
                    current = self._ledger.update(
                        current, heartbeat=moment, runs=" ".join(names)
                    )

                self._with.runner.forget(current)
                outcome = self._with.runner.run(current, settings, beat)
        except (Interrupted, NotSettled) as error:
            return self._put_off(current, str(error))
        except (ConfigError, DataError) as error:
            code = _NO_DATA if isinstance(error, DataError) else _WRONG_SETTING
            outcome = Outcome(rows.FAILED, _in_short(error), code)
        except (KeyboardInterrupt, SystemExit):
            with contextlib.suppress(LostClaim):
                self._put_off(current, "stopped, it resumes")
            raise
        return self._finish(current, outcome)

    def _known_outcome(self, row: Row) -> Outcome | None:
        """How a slot's run ended under an owner who died before he wrote it down."""
        is_known = row.attempts > 1 or bool(row.runs)
        found = self._with.runner.outcome(row) if is_known else None
        if found is None and row.attempts > MAX_ATTEMPTS:
            reason = f"given up after {MAX_ATTEMPTS} attempts: {row.reason}"
            return Outcome(rows.FAILED, reason, _FAILED)
        return found

    def _prepared(self, row: Row) -> tuple[Row, dict[str, str]]:
        """A row with its data, and the settings of its run; or a row that does not run."""
        if self._with.is_busy():
            reason = f"another run of '{row.pipeline}' is under way"
            return self._put_off(row, reason), {}
        # What was begun resumes with its span, and its training from its checkpoint.
        last = row.span if row.runs and row.span is not None else spans.NEWEST
        found = self._with.source.newest(self._with.clock.now(), last)
        if row.kind == rows.SPAN and found.arrival != row.slot:
            return self._skip(row, f"{found.name} has come meanwhile"), {}
        row = self._ledger.update(
            row,
            data=found.name,
            data_key=found.key,
            settings_key=self._schedule.settings_key,
            span=found.span,
            version=found.version,
        )
        if row.kind != rows.FORCED and (reason := self._nothing_new(found)):
            return self._skip(row, reason), {}
        settings = {}
        if found.span is not None:
            settings["data.span"] = str(found.span)
        if self._schedule.is_warm and self._with.has_live_model():
            settings["train.weights"] = "blessed"
        return row, settings

    def _put_off(self, row: Row, reason: str) -> Row:
        """Plans a running row anew, as if it had not been begun."""
        attempts = row.attempts - 1
        return self._ledger.update(
            row, state=rows.PLANNED, reason=reason, attempts=attempts
        )

    def _skip(self, row: Row, reason: str) -> Row:
        finished = in_words(self._with.clock.now())
        return self._ledger.update(
            row, state=rows.SKIPPED, reason=reason, finished=finished
        )

    def _finish(self, row: Row, outcome: Outcome) -> Row:
        """Writes down how a run ended, after what is old was deleted; tells of it."""
        try:
            self._with.tidy(row)
        except Exception:  # a run that has ended does not fail by what is left over
            _LOGGER.exception("what is old could not be deleted")
        finished = in_words(self._with.clock.now())
        ended = self._ledger.update(
            row, **dataclasses.asdict(outcome), finished=finished
        )
        self._with.runner.forget(row)
        told = self._with.hooks.tell(ended)
        for notice in told:
            if notice["error"]:
                _LOGGER.warning("%(target)s was not told: %(error)s", notice)
        if told:
            notices = [{**notice, "time": finished} for notice in told]
            self._ledger.write(
                "UPDATE slots SET notices = ? WHERE id = ?",
                (json.dumps([*json.loads(row.notices), *notices]), row.id),
            )
        return ended

    def _nothing_new(self, found: Data) -> str:
        """Why a run would come to what is known already, or ''."""
        # One query a state, each by the index: a look must not take longer every year.
        newest = "pipeline = ? AND state = ? ORDER BY finished DESC, id DESC LIMIT 1"
        settled = [
            row
            for state in (rows.DONE, rows.REFUSED)
            for row in self._ledger.rows(newest, self._schedule.pipeline, state)
        ]
        last = max(settled, key=lambda row: (row.finished, row.id), default=None)
        keys = (found.key, self._schedule.settings_key)
        if last is None or (last.data_key, last.settings_key) != keys:
            return ""
        run = f" by {last.run}" if last.run else ""
        if last.state == rows.REFUSED:
            return f"nothing new: {found.name} was refused{run}: {last.reason}"
        return f"nothing new: {found.name} was trained on{run}"


def serve(
    make_controller: Callable[[], Controller],
    clock: Clock,
    *,
    every_seconds: float,
    listener: Callable[[Look, datetime.datetime], None],
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Looks at a schedule until it is over, which by itself it never is.

    Args:
      make_controller: called for each look: settings are read anew.
      clock: the time.
      every_seconds: between two looks for a new span.
      listener: takes what a look came to, and when the next one is.
      is_over: asked before each look.
    """
    while not is_over():
        try:
            controller = make_controller()
            look = controller.tick()
            moment = controller.next_look(look, every_seconds)
        except ConfigError as error:
            # A ledger that is locked, a file of settings that is being edited.
            _LOGGER.error("%s", error)
            look = Look(waits_for=error.message, is_soon=True)
            moment = clock.now() + datetime.timedelta(seconds=AGAIN_SECONDS)
        listener(look, moment)
        while not is_over() and (left := (moment - clock.now()).total_seconds()) > 0:
            clock.sleep(min(left, NAP_SECONDS))


def _in_short(error: ConfigError | DataError) -> str:
    """Cause and finding in one line."""
    return f"{error.message}: {error.found}" if error.found else error.message
