"""The ledger: one row for each slot of a pipeline, in SQLite.

A slot is planned once, by whoever comes first, and worked on by one owner at a time; both
are single transactions, so two schedulers on one machine or volume do no slot twice. The
journal is a file of its own that is gone after each transaction: what is there can be
copied at any time between two of them. No WAL, which needs shared memory and so a single
machine.
"""

import contextlib
import dataclasses
import datetime
import pathlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pipeline.scheduling import clock, owner
from pipeline.scheduling.owner import Owner
from pipeline.scheduling.rows import (
    CRON,
    FAILED,
    KUBEFLOW,
    PLANNED,
    RUNNING,
    SETTLED,
    STATES,
    New,
    Notice,
    Registered,
    Row,
)
from schema.errors import ConfigError

FILE = "schedule.sqlite"  # in the root of the runs
VERSION = 1
WAIT_SECONDS = 30.0

# A row whose owner died so often is given up: it may be what kills them.
MAX_ATTEMPTS = 5

_TABLES = """
CREATE TABLE slots (
  id INTEGER PRIMARY KEY,
  pipeline TEXT NOT NULL,
  slot TEXT NOT NULL,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL DEFAULT '',
  attempts INTEGER NOT NULL DEFAULT 0,
  data TEXT NOT NULL DEFAULT '',
  data_key TEXT NOT NULL DEFAULT '',
  settings_key TEXT NOT NULL DEFAULT '',
  span INTEGER,
  version INTEGER,
  runs TEXT NOT NULL DEFAULT '',
  pushed_version TEXT,
  exit_code INTEGER,
  is_pruned INTEGER NOT NULL DEFAULT 0,
  planned TEXT NOT NULL,
  started TEXT,
  finished TEXT,
  owner TEXT,
  heartbeat TEXT,
  UNIQUE (pipeline, slot)
);
CREATE INDEX slots_by_state ON slots (pipeline, state, finished);
CREATE INDEX slots_by_kind ON slots (pipeline, kind, slot);
CREATE INDEX slots_with_artifacts ON slots (pipeline) WHERE runs != '' AND is_pruned = 0;
CREATE TABLE schedules (
  pipeline TEXT PRIMARY KEY,
  since TEXT NOT NULL,
  cron TEXT NOT NULL,
  timezone TEXT NOT NULL
);
CREATE TABLE notices (
  id INTEGER PRIMARY KEY,
  pipeline TEXT NOT NULL,
  slot TEXT NOT NULL,
  event TEXT NOT NULL,
  target TEXT NOT NULL,
  time TEXT NOT NULL,
  error TEXT NOT NULL
);
"""

Lives = Callable[[Owner, datetime.datetime, datetime.datetime], bool]


_COLUMNS = ", ".join(field.name for field in dataclasses.fields(Row))


class LostClaim(Exception):
    """Somebody else has taken the row over: its owner was taken for dead."""


class Ledger:
    """The rows of all pipelines under a root.

    Every method is a transaction of its own. One that finds the file locked waits up to
    WAIT_SECONDS.
    """

    def __init__(
        self,
        path: pathlib.Path,
        *,
        is_read_only: bool = False,
        lives: Lives = owner.lives,
    ):
        """Opens the ledger, made where missing.

        Args:
          path: its file.
          is_read_only: nothing is made or written.
          lives: tells whether an owner lives, from him, his heartbeat and the time.

        Raises:
          ConfigError: the file is no ledger, or one of a newer version.
        """
        self._path = path
        self._lives = lives
        try:
            if is_read_only:
                uri = f"{path.resolve().as_uri()}?mode=ro"
                self._database = sqlite3.connect(uri, uri=True, timeout=WAIT_SECONDS)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._database = sqlite3.connect(path, timeout=WAIT_SECONDS)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"cannot open the ledger {path}: {error}") from error
        self._database.isolation_level = None
        self._database.row_factory = sqlite3.Row
        with self._in_words():
            self._database.execute("PRAGMA synchronous=FULL")
            if not is_read_only:
                self._database.execute("PRAGMA journal_mode=DELETE")
                with self._transaction():
                    self._make_tables()
            self._check_version()

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def register(
        self,
        pipeline: str,
        since: datetime.datetime,
        *,
        cron: str = "",
        timezone: str = "",
    ) -> None:
        """Writes down what the schedule of a pipeline is.

        Args:
          pipeline: its name.
          since: slots before it are none; holds where there was no schedule before.
          cron: expression, '' for a schedule by spans.
          timezone: of the expression.
        """
        known = self.schedules().get(pipeline)
        if known is not None and (known.cron, known.timezone) == (cron, timezone):
            return
        with self._transaction():
            self._database.execute(
                "INSERT INTO schedules VALUES (?, ?, ?, ?) ON CONFLICT (pipeline) DO"
                " UPDATE SET cron = excluded.cron, timezone = excluded.timezone",
                (pipeline, clock.in_words(since), cron, timezone),
            )

    def schedules(self) -> dict[str, Registered]:
        """Pipeline -> its schedule."""
        with self._in_words():
            found = self._database.execute(
                "SELECT pipeline, since, cron, timezone FROM schedules ORDER BY pipeline"
            ).fetchall()
        return {
            name: Registered(datetime.datetime.fromisoformat(since), cron, timezone)
            for name, since, cron, timezone in found
        }

    def newest_slot(self, pipeline: str) -> datetime.datetime | None:
        """The last moment of a cron expression that was written down."""
        with self._in_words():
            (row,) = self._database.execute(
                "SELECT max(slot) AS slot FROM slots WHERE pipeline = ? AND kind = ?",
                (pipeline, CRON),
            )
        return datetime.datetime.fromisoformat(row["slot"]) if row["slot"] else None

    def plan(self, pipeline: str, slots: Sequence[New], now: datetime.datetime) -> int:
        """Writes down those slots that are not there yet; gives how many."""
        count = 0
        if not slots:
            return count
        with self._transaction():
            for new in slots:
                count += self._database.execute(
                    "INSERT INTO slots (pipeline, slot, kind, state, reason, data,"
                    " planned, finished) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT (pipeline, slot) DO NOTHING",
                    (
                        pipeline,
                        new.slot,
                        new.kind,
                        new.state,
                        new.reason,
                        new.data,
                        clock.in_words(now),
                        None if new.state == PLANNED else clock.in_words(now),
                    ),
                ).rowcount
        return count

    def plan_again(self, row: Row, reason: str) -> bool:
        """Plans a failed row anew; False where somebody else has done so."""
        with self._transaction():
            changed = self._database.execute(
                "UPDATE slots SET state = ?, reason = ? WHERE id = ? AND state = ?",
                (PLANNED, reason, row.id, FAILED),
            ).rowcount
        return bool(changed)

    def claim(
        self, pipeline: str, by: Owner, now: datetime.datetime
    ) -> tuple[Row | None, Row | None]:
        """Takes the oldest planned row, if nobody works on this pipeline.

        Rows whose owner has died are planned again, or given up after MAX_ATTEMPTS.

        Returns:
          The row that is now running, or None; and the row that keeps it from being
          taken, or None.
        """
        # Most looks find nothing to do; they write nothing and wait for nobody.
        is_open = "pipeline = ? AND state IN (?, ?) LIMIT 1"
        if not self._read(is_open, pipeline, PLANNED, RUNNING):
            return None, None
        with self._transaction():
            for row in self._select("pipeline = ? AND state = ?", pipeline, RUNNING):
                # One of our own was left behind by an error: we do one at a time.
                if row.owner != by.as_text() and self._is_worked_on(row, now):
                    return None, row
                self._give_back(row, now)
            planned = self._select(
                "pipeline = ? AND state = ? ORDER BY planned, slot LIMIT 1",
                pipeline,
                PLANNED,
            )
            if not planned:
                return None, None
            moment = clock.in_words(now)
            self._database.execute(
                "UPDATE slots SET state = ?, attempts = attempts + 1, started = ?,"
                " finished = NULL, owner = ?, heartbeat = ? WHERE id = ?",
                (RUNNING, moment, by.as_text(), moment, planned[0].id),
            )
            (row,) = self._select("id = ?", planned[0].id)
        return row, None

    def claim_for_run(
        self, pipeline: str, slot: str, run: str, reason: str, now: datetime.datetime
    ) -> Row:
        """Takes a slot for a run that a server of its own began, unless it is taken.

        Whether such a run lives cannot be told from here, so the slot stays its own.

        Returns:
          The running row, or that of the run which came first.
        """
        moment = clock.in_words(now)
        with self._transaction():
            self._database.execute(
                "INSERT INTO slots (pipeline, slot, kind, state, reason, attempts, runs,"
                " planned, started, owner) VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?)"
                " ON CONFLICT (pipeline, slot) DO NOTHING",
                (pipeline, slot, KUBEFLOW, RUNNING, reason, run, moment, moment, run),
            )
            (row,) = self._select("pipeline = ? AND slot = ?", pipeline, slot)
        return row

    def beat(self, row: Row, run: str, now: datetime.datetime) -> Row:
        """Shows that the owner of a row lives, and which run he waits for.

        Args:
          row: a running one.
          run: name of its folder, '' where it is not known yet.
          now: when.

        Raises:
          LostClaim: he was taken for dead.
        """
        runs = row.runs.split()
        if run and run not in runs:
            runs.append(run)
        return self.note(row, heartbeat=clock.in_words(now), runs=" ".join(runs))

    def note(self, row: Row, **values: Any) -> Row:
        """Writes down what is found out about a running row, by column.

        Raises:
          LostClaim: its owner was taken for dead.
        """
        self._update(row, **values)
        return dataclasses.replace(row, **values)

    def finish(
        self, row: Row, state: str, reason: str, now: datetime.datetime, **values: Any
    ) -> Row:
        """Ends a running row; `values` by column.

        Raises:
          LostClaim: its owner was taken for dead.
        """
        values |= {"state": state, "reason": reason, "finished": clock.in_words(now)}
        self._update(row, **values)
        return dataclasses.replace(row, **values)

    def put_off(self, row: Row, reason: str) -> Row:
        """Plans a running row anew, as if it had not been begun.

        Raises:
          LostClaim: its owner was taken for dead.
        """
        values: dict[str, Any] = {
            "state": PLANNED,
            "reason": reason,
            "attempts": row.attempts - 1,
        }
        self._update(row, **values)
        return dataclasses.replace(row, **values)

    def find(self, pipeline: str, slot: str) -> Row | None:
        """The row of a slot."""
        found = self._read("pipeline = ? AND slot = ?", pipeline, slot)
        return found[0] if found else None

    def last_settled(self, pipeline: str) -> Row | None:
        """The row whose run was the last to come to a verdict about its data."""
        # One query a state, each by the index: a look must not take longer every year.
        found = [
            row
            for state in SETTLED
            for row in self._read(
                "pipeline = ? AND state = ? ORDER BY finished DESC, id DESC LIMIT 1",
                pipeline,
                state,
            )
        ]
        return max(found, key=lambda row: (row.finished, row.id), default=None)

    def history(
        self,
        pipeline: str | None = None,
        limit: int = -1,
        states: Sequence[str] = STATES,
    ) -> list[Row]:
        """Rows, the newest last.

        Args:
          pipeline: of one pipeline only.
          limit: so many of the newest; -1 all.
          states: only those.
        """
        marks = ", ".join("?" * len(states))
        found = self._read(
            f"(? IS NULL OR pipeline = ?) AND state IN ({marks})"
            " ORDER BY planned DESC, id DESC LIMIT ?",
            pipeline,
            pipeline,
            *states,
            limit,
        )
        return found[::-1]

    def with_artifacts(self, pipeline: str) -> list[Row]:
        """Rows whose runs have artifacts that were not pruned, the newest last."""
        return self._read(
            "pipeline = ? AND runs != '' AND is_pruned = 0 AND state != ?"
            " ORDER BY started, id",
            pipeline,
            RUNNING,
        )

    def pruned_runs(self, pipeline: str) -> set[str]:
        """Names of the runs whose artifacts were pruned."""
        with self._in_words():
            found = self._database.execute(
                "SELECT runs FROM slots WHERE pipeline = ? AND is_pruned = 1",
                (pipeline,),
            ).fetchall()
        return {name for (names,) in found for name in names.split()}

    def note_pruned(self, rows: Sequence[Row]) -> None:
        """Writes down that the artifacts of their runs are gone."""
        with self._transaction():
            self._database.executemany(
                "UPDATE slots SET is_pruned = 1 WHERE id = ?",
                [(row.id,) for row in rows],
            )

    def add_notice(self, notice: Notice) -> None:
        """Writes down that somebody was told."""
        with self._transaction():
            self._database.execute(
                "INSERT INTO notices (pipeline, slot, event, target, time, error)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                dataclasses.astuple(notice),
            )

    def notices(self, pipeline: str | None = None, limit: int = -1) -> list[Notice]:
        """Who was told what, the newest last."""
        with self._in_words():
            rows = self._database.execute(
                "SELECT pipeline, slot, event, target, time, error FROM notices"
                " WHERE ? IS NULL OR pipeline = ? ORDER BY id DESC LIMIT ?",
                (pipeline, pipeline, limit),
            ).fetchall()
        return [Notice(*row) for row in rows][::-1]

    def _is_worked_on(self, row: Row, now: datetime.datetime) -> bool:
        heartbeat = datetime.datetime.fromisoformat(str(row.heartbeat))
        return self._lives(Owner.from_text(str(row.owner)), heartbeat, now)

    def _give_back(self, row: Row, now: datetime.datetime) -> None:
        """Plans a row again whose owner has died."""
        name = Owner.from_text(str(row.owner)).name
        if row.attempts >= MAX_ATTEMPTS:
            self._database.execute(
                "UPDATE slots SET state = ?, reason = ?, finished = ? WHERE id = ?",
                (
                    FAILED,
                    f"given up after {row.attempts} attempts: each time its scheduler"
                    f" died, the last was {name}",
                    clock.in_words(now),
                    row.id,
                ),
            )
            return
        self._database.execute(
            "UPDATE slots SET state = ?, reason = ? WHERE id = ?",
            (PLANNED, f"{name} died at it, it goes on", row.id),
        )

    def _update(self, row: Row, **values: Any) -> None:
        """Changes a row that is still its owner's."""
        names = ", ".join(f"{name} = ?" for name in values)
        with self._transaction():
            changed = self._database.execute(
                f"UPDATE slots SET {names} WHERE id = ? AND state = ? AND owner = ?"
                " AND attempts = ?",
                (*values.values(), row.id, RUNNING, row.owner, row.attempts),
            ).rowcount
        if not changed:
            raise LostClaim(f"slot {row.slot} of '{row.pipeline}'")

    def _read(self, condition: str, *values: Any) -> list[Row]:
        with self._in_words():
            return self._select(condition, *values)

    def _select(self, condition: str, *values: Any) -> list[Row]:
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM slots WHERE {condition}", values
        )
        return [
            Row(**{**dict(row), "is_pruned": bool(row["is_pruned"])}) for row in rows
        ]

    def _make_tables(self) -> None:
        (found,) = self._database.execute("PRAGMA user_version")
        if found[0]:
            return
        for statement in _TABLES.split(";\n"):
            if statement.strip():
                self._database.execute(statement)
        self._database.execute(f"PRAGMA user_version = {VERSION}")

    def _check_version(self) -> None:
        (found,) = self._database.execute("PRAGMA user_version")
        if found[0] != VERSION:
            raise ConfigError(
                f"the ledger {self._path} has version {found[0]}",
                expected=f"version {VERSION}",
                tip="it was written by another version of slimline",
            )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, and nobody else in between."""
        with self._in_words():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        """Turns what SQLite objects to into a sentence."""
        try:
            yield
        except sqlite3.Error as error:
            tip = ""
            if "locked" in str(error):
                tip = f"another program has held it for {WAIT_SECONDS:.0f} s"
            elif "not a database" in str(error) or "malformed" in str(error):
                tip = "put it aside: slots that it names would be taken for new"
            raise ConfigError(
                f"cannot use the ledger {self._path}: {error}", tip=tip
            ) from error
