"""One look at a schedule: plans the slots that are due, then runs them."""

import dataclasses
import datetime
import json
import logging
import os
import socket
from collections.abc import Callable, Collection, Mapping, Sequence

from common.errors import ConfigError, DataError
from components.image_example_gen import spans
from pipeline.scheduling import hooks
from pipeline.scheduling.command_runner import CommandRunner
from pipeline.scheduling.cron import Cron
from pipeline.scheduling.data import Data
from pipeline.slots import rows
from pipeline.slots.clock import Clock, in_words
from pipeline.slots.ledger import IS_ENDED, IS_OPEN, MAX_TRIES, Ledger
from pipeline.slots.rows import Outcome, Row, TryAgain

# Which missed slots run, where no scheduler was there or an earlier slot took too long.
SKIP = "skip"
ONCE = "once"
ALL = "all"
# Missed slots that get a row each; earlier ones share one.
MAX_MISSED = 1000
# A slot whose scheduler died this often is given up: it may be the cause.
MAX_ATTEMPTS = 5
# Until the next look at data that are still being written, or at a run in progress.
AGAIN = datetime.timedelta(minutes=1)
# First the slot whose owner died, then the oldest.
_IN_TURN = f"{IS_OPEN} ORDER BY state DESC, planned, slot"
# Exit codes of the command (docs/cli.md).
_FAILED = 1
_WRONG_SETTING = 2
_NO_DATA = 4
_LOGGER = logging.getLogger("slimline.schedule")


@dataclasses.dataclass(frozen=True)
class Look:
    """Result of one look.

    Attributes:
      rows: slots that have ended, in their order.
      planned: number of slots that were planned.
      waits_for: why a slot was not started, or ''.
      is_soon: whether to look again after AGAIN.
      fault: why the span data could not be read.
    """

    rows: tuple[Row, ...] = ()
    planned: int = 0
    waits_for: str = ""
    is_soon: bool = False
    fault: DataError | None = None


@dataclasses.dataclass(frozen=True)
class Controller:
    """Looks at one schedule; several, in any processes, may share a schedule.

    Attributes:
      pipeline: identity of the schedule (`data.identity`).
      settings_key: digest of the settings (`data.settings_key`).
      ledger, runner, clock: what it works with.
      newest: the data that a run would read, from a time and the newest span that counts
        (`data.newest`).
      cron: when; None trains on every new span.
      missed: which missed slots run: none (SKIP), the last (ONCE), or all, one after the
        other (ALL).
      grace_seconds: start slots up to this many seconds late.
      is_forced: whether to train now, without a slot that is due or anything new.
      looks_back: whether slots within `grace_seconds` before the very first look are due;
        a timer that starts the command needs it.
      starts_warm: whether the next run starts from the live model.
      keep_runs: runs whose artifacts stay; 0 keeps all.
      prune: deletes the artifacts of runs by name; returns the names of those whose
        artifacts are gone.
      targets: event -> commands and addresses to notify (`hooks.tell`).
    """

    pipeline: str
    settings_key: str
    ledger: Ledger
    runner: CommandRunner
    newest: Callable[[datetime.datetime, int], Data]
    clock: Clock = dataclasses.field(default_factory=Clock)
    cron: Cron | None = None
    missed: str = ONCE
    grace_seconds: float = 900.0
    is_forced: bool = False
    looks_back: bool = False
    starts_warm: Callable[[], bool] = lambda: False
    keep_runs: int = 0
    prune: Callable[[Collection[str]], Collection[str]] = lambda names: ()
    targets: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)

    def due(self) -> tuple[Row, ...]:
        """Slots that the next look would plan; writes nothing.

        Raises:
          ConfigError, DataError: the data of a schedule by spans cannot be read.
          TryAgain: they are still being written.
        """
        now = self.clock.now()
        if self.is_forced:
            return (Row(self.pipeline, f"{in_words(now)} forced", rows.FORCED),)
        if self.cron is None:
            return self._due_by_span(now)
        return self._due_by_cron(self.cron, now)

    def tick(self) -> Look:
        """Plans the slots that are due, and runs them.

        Raises:
          ConfigError: the ledger cannot be used, or the pattern of spans cannot be parsed.
          KeyboardInterrupt: a run was stopped; its slot stays planned.
        """
        now = self.clock.now()
        zone = (self.cron.expression, self.cron.timezone) if self.cron else ()
        self.ledger.register(self.pipeline, self._first_since(now), *zone)
        due: tuple[Row, ...] = ()
        look = Look()
        try:
            due = self.due()
        except DataError as error:
            # A scheduler that stays up waits: the first span may be yet to come.
            look = Look(waits_for=_in_short(error), fault=error)
        except TryAgain as error:
            look = Look(waits_for=str(error), is_soon=True)
        # Most looks find nothing to do: no write, no lock.
        if not due and not self.ledger.first(IS_OPEN, self.pipeline):
            return look
        done: list[Row] = []
        waits_for = ""
        with self.ledger.locked(self.pipeline) as is_ours:
            planned = self.ledger.plan(due, now)
            while not waits_for and (row := self.ledger.first(_IN_TURN, self.pipeline)):
                if not is_ours:
                    waits_for = f"slot {row.slot} is being worked on"
                    break
                ended = self._run_slot(row)
                if ended.state in rows.ENDED:
                    done.append(ended)
                else:
                    waits_for = ended.reason
        if waits_for:
            look = dataclasses.replace(look, waits_for=waits_for, is_soon=True)
        return dataclasses.replace(look, rows=tuple(done), planned=planned)

    def next_look(self, look: Look, every_seconds: float) -> datetime.datetime:
        """When to look again; `every_seconds` is the interval of looks for a new span."""
        now = self.clock.now()
        if self.cron is None:
            later = now + datetime.timedelta(seconds=every_seconds)
        else:
            # Not from `now`: a slot may have become due during the look.
            newest = self.ledger.newest_slot(self.pipeline)
            later = max(self.cron.next(newest or now), now)
        return min(now + AGAIN, later) if look.is_soon else later

    def _due_by_cron(self, cron: Cron, now: datetime.datetime) -> tuple[Row, ...]:
        after = self.ledger.newest_slot(self.pipeline)
        if after is None:
            known = self.ledger.schedules().get(self.pipeline)
            since = known and datetime.datetime.fromisoformat(known["since"])
            after = since or self._first_since(now)
        found, has_earlier = cron.newest(after, now, MAX_MISSED)
        grace = datetime.timedelta(seconds=self.grace_seconds)
        new = []
        for number, slot in enumerate(found):
            reason = ""
            if has_earlier and number == 0:
                reason = f"missed, as all slots since {in_words(after)}"
            elif self.missed == ONCE and slot != found[-1]:
                reason = f"missed; slot {in_words(found[-1])} runs instead"
            elif self.missed == SKIP and now - slot > grace:
                reason = f"missed: the next look was at {in_words(now)}"
            row = Row(self.pipeline, in_words(slot), rows.CRON, reason=reason)
            if reason:
                ended = in_words(now)
                row = dataclasses.replace(row, state=rows.MISSED, finished=ended)
            new.append(row)
        return tuple(new)

    def _first_since(self, now: datetime.datetime) -> datetime.datetime:
        """When the slots of a new schedule begin."""
        seconds = self.grace_seconds if self.looks_back else 0.0
        return now - datetime.timedelta(seconds=seconds)

    def _due_by_span(self, now: datetime.datetime) -> tuple[Row, ...]:
        found = self.newest(now, spans.NEWEST)
        if not found.arrival:
            raise ConfigError(
                f"no new span can come: {found.name} is not a pattern",
                expected="a path with {SPAN}, or {YYYY}, {MM} and {DD}",
                tip="--cron trains at given times",
            )
        row = self.ledger.find(self.pipeline, found.arrival)
        if row and (row.state != rows.FAILED or row.attempts >= MAX_TRIES):
            return ()
        return (Row(self.pipeline, found.arrival, rows.SPAN, data=found.name),)

    def _run_slot(self, row: Row) -> Row:
        """Runs a slot; one that cannot start yet is planned again."""
        reason = row.reason
        if row.state == rows.RUNNING:
            reason = f"{row.owner} died during the last attempt"
        row = self.ledger.update(
            row,
            state=rows.RUNNING,
            reason=reason,
            attempts=row.attempts + 1,
            started=in_words(self.clock.now()),
            finished=None,
            owner=f"process {os.getpid()} on {socket.gethostname()}",
        )
        try:
            outcome = self._known_outcome(row) or self._run(row)
        except TryAgain as error:
            return self._put_off(row, str(error))
        except (ConfigError, DataError) as error:
            code = _NO_DATA if isinstance(error, DataError) else _WRONG_SETTING
            outcome = Outcome(rows.FAILED, _in_short(error), code)
        except (KeyboardInterrupt, SystemExit):
            self._put_off(row, "stopped; the next look resumes it")
            raise
        return self._finish(row, outcome)

    def _known_outcome(self, row: Row) -> Outcome | None:
        """Outcome of a run whose owner died before writing it to the ledger."""
        found = self.runner.outcome(row) if row.run else None
        if found is None and row.attempts > MAX_ATTEMPTS:
            reason = f"given up after {MAX_ATTEMPTS} attempts: {row.reason}"
            return Outcome(rows.FAILED, reason, _FAILED)
        return found

    def _run(self, row: Row) -> Outcome:
        """Runs, unless there is nothing new."""
        # A run that was started resumes with its span, and its training from a checkpoint.
        last = row.span if row.run and row.span is not None else spans.NEWEST
        found = self.newest(self.clock.now(), last)
        if row.kind == rows.SPAN and found.arrival != row.slot:
            return Outcome(rows.SKIPPED, f"{found.name} came in the meantime")
        row = self.ledger.update(
            row,
            data=found.name,
            data_key=found.key,
            settings_key=self.settings_key,
            span=found.span,
            version=found.version,
        )
        if row.kind != rows.FORCED and (reason := self._nothing_new(row)):
            return Outcome(rows.SKIPPED, reason)
        settings = {}
        if found.span is not None:
            settings["data.span"] = str(found.span)
        if self.starts_warm():
            settings["train.weights"] = "blessed"
        return self.runner.run(
            row,
            settings,
            lambda run: self.ledger.update(row, runs=f"{row.runs} {run}".strip()),
        )

    def _put_off(self, row: Row, reason: str) -> Row:
        """Plans a running row again; the attempt does not count."""
        return self.ledger.update(
            row, state=rows.PLANNED, reason=reason, attempts=row.attempts - 1
        )

    def _finish(self, row: Row, outcome: Outcome) -> Row:
        """Deletes old artifacts, writes the outcome to the ledger, and notifies."""
        if outcome.state != rows.SKIPPED:
            self._tidy(row)
        finished = in_words(self.clock.now())
        ended = self.ledger.update(
            row, **dataclasses.asdict(outcome), finished=finished
        )
        notices = json.loads(row.notices)
        for notice in hooks.tell(ended, self.targets):
            notices.append({**notice, "time": finished})
            if notice["error"]:
                _LOGGER.warning("%(target)s was not notified: %(error)s", notice)
        if notices:
            self.ledger.write(
                "UPDATE slots SET notices = ? WHERE id = ?",
                (json.dumps(notices), row.id),
            )
        return ended

    def _tidy(self, row: Row) -> None:
        """Deletes the artifacts of the schedule's old runs."""
        old: list[Row] = []
        if self.keep_runs:
            old = self.ledger.rows(
                f"{IS_ENDED} AND runs != '' AND is_pruned = 0 ORDER BY started, id",
                row.pipeline,
            )
            # The run of `row` is one of those that stay.
            old = old[: max(0, len(old) + 1 - self.keep_runs)]
        names = {other.id: set(other.runs.split()) for other in old}
        try:
            pruned = set(self.prune(set().union(*names.values())))
        except Exception:  # must not fail a run that has ended
            _LOGGER.exception("old artifacts could not be deleted")
            return
        self.ledger.write(
            "UPDATE slots SET is_pruned = 1 WHERE id = ?",
            *((number,) for number, found in names.items() if found <= pruned),
        )

    def _nothing_new(self, row: Row) -> str:
        """Why a run would repeat the last result, or ''."""
        # One query a state, by the index: a look must not take longer every year.
        newest = "pipeline = ? AND state = ? ORDER BY finished DESC, id DESC"
        settled = [
            found
            for state in (rows.DONE, rows.REFUSED)
            if (found := self.ledger.first(newest, row.pipeline, state))
        ]
        last = max(settled, key=lambda row: (row.finished, row.id), default=row)
        keys = (row.data_key, row.settings_key)
        if last is row or (last.data_key, last.settings_key) != keys:
            return ""
        run = f" by {last.run}" if last.run else ""
        if last.state == rows.REFUSED:
            return f"nothing new: {row.data} was refused{run}: {last.reason}"
        return f"nothing new: {row.data} was trained on{run}"


def _in_short(error: ConfigError | DataError) -> str:
    """Message and finding in one line."""
    return f"{error.message}: {error.found}" if error.found else error.message
