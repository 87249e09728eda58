"""The ledger: one row for each slot of a schedule, in SQLite.

A slot is planned once, by whoever comes first, and worked on by whoever holds the lock of
its schedule: two schedulers on one machine or volume do no slot twice. The kernel drops the
lock with its process, in whatever container and under whatever process number, and on a
network file system on whatever machine. The journal is a file of its own that is gone after
each transaction: what is there can be copied at any time between two of them. No WAL, which
needs shared memory and so a single machine.
"""

import contextlib
import dataclasses
import datetime
import fcntl
import pathlib
import sqlite3
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

from common.errors import ConfigError
from pipeline.slots.clock import in_words
from pipeline.slots.rows import CRON, FAILED, PLANNED, RUNNING, SPAN, Row

FILE = "schedule.sqlite"  # in the root of the runs
FOLDER = ".schedule"  # beside it: a lock for each schedule
VERSION = 3
WAIT_SECONDS = 30.0
# A failed run of a new span is tried so often; a slot of a cron expression has the next.
MAX_TRIES = 3

_NAMES = [field.name for field in dataclasses.fields(Row) if field.name != "id"]
_COLUMNS = ", ".join(_NAMES)
# Before version 3 an owner was JSON.
_OWNERS_BY_NAME = (
    "UPDATE slots SET owner = coalesce(owner ->> 'name', 'process ' || (owner ->> 'pid')"
    " || ' on ' || (owner ->> 'host')) WHERE json_valid(owner)"
)
# Version before -> what brings it up to date.
_UPGRADES = {
    0: (
        f"CREATE TABLE slots (id INTEGER PRIMARY KEY, {_COLUMNS},"
        " UNIQUE (pipeline, slot))",
        "CREATE INDEX slots_by_state ON slots (pipeline, state, finished)",
        "CREATE INDEX slots_by_kind ON slots (pipeline, kind, slot)",
        "CREATE INDEX slots_with_artifacts ON slots (pipeline)"
        " WHERE runs != '' AND is_pruned = 0",
        "CREATE TABLE schedules (pipeline PRIMARY KEY, since, cron, timezone)",
    ),
    1: (
        "ALTER TABLE slots ADD COLUMN notices NOT NULL DEFAULT '[]'",
        _OWNERS_BY_NAME,
    ),
    2: (_OWNERS_BY_NAME,),
}
# Conditions of rows, on the schedule.
IS_OPEN = f"pipeline = ? AND state IN ('{PLANNED}', '{RUNNING}')"
IS_ENDED = f"pipeline = ? AND state NOT IN ('{PLANNED}', '{RUNNING}')"


class Ledger:
    """The rows of all schedules under a root.

    Every method is a transaction of its own. One that finds the file locked waits up to
    WAIT_SECONDS.
    """

    def __init__(self, path: pathlib.Path, *, is_read_only: bool = False):
        """Opens the ledger, made where missing.

        Args:
          path: its file.
          is_read_only: nothing is made or written.

        Raises:
          ConfigError: the file is no ledger, or one of a newer version; or nothing is there
            to read.
        """
        self._path = path
        if is_read_only and not path.is_file():
            raise ConfigError(
                f"no schedule in {path.parent}",
                expected=f"{FILE}, as slimline schedule run and tick write it",
                tip="--root DIR looks elsewhere",
            )
        with self._in_words():
            if is_read_only:
                uri = f"{path.resolve().as_uri()}?mode=ro"
                self._database = sqlite3.connect(uri, uri=True, timeout=WAIT_SECONDS)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._database = sqlite3.connect(path, timeout=WAIT_SECONDS)
            self._database.isolation_level = None
            self._database.row_factory = sqlite3.Row
            self._database.execute("PRAGMA synchronous=FULL")
            if not is_read_only:
                self._database.execute("PRAGMA journal_mode=DELETE")
                with self._transaction():
                    for statement in _UPGRADES.get(self._version(), ()):
                        self._database.execute(statement)
                        self._database.execute(f"PRAGMA user_version = {VERSION}")
            if (found := self._version()) != VERSION:
                raise ConfigError(
                    f"the ledger {path} has version {found}",
                    expected=f"version {VERSION}",
                    tip="it was written by another version of slimline; schedule run and"
                    " tick bring an older one up to date",
                )

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def register(
        self,
        pipeline: str,
        since: datetime.datetime,
        cron: str = "",
        timezone: str = "",
    ) -> None:
        """Writes down what a schedule is; slots before the first `since` are none."""
        known = self.schedules().get(pipeline)
        if known is not None and (known["cron"], known["timezone"]) == (cron, timezone):
            return
        self.write(
            "INSERT INTO schedules VALUES (?, ?, ?, ?) ON CONFLICT (pipeline) DO"
            " UPDATE SET cron = excluded.cron, timezone = excluded.timezone",
            (pipeline, in_words(since), cron, timezone),
        )

    def schedules(self) -> dict[str, dict[str, str]]:
        """Schedule -> pipeline, since, cron ('' for one by spans) and timezone."""
        with self._in_words():
            found = self._database.execute("SELECT * FROM schedules ORDER BY pipeline")
            return {row["pipeline"]: dict(row) for row in found}

    def rows(self, condition: str = "1", *values: Any) -> list[Row]:
        """The rows that fit an SQL condition."""
        with self._in_words():
            found = self._database.execute(
                f"SELECT {_COLUMNS}, id FROM slots WHERE {condition}", values
            )
            return [
                Row(**{**dict(row), "is_pruned": bool(row["is_pruned"])})
                for row in found
            ]

    def first(self, condition: str, *values: Any) -> Row | None:
        """The first of the rows that fit an SQL condition."""
        return next(iter(self.rows(f"{condition} LIMIT 1", *values)), None)

    def history(self, pipeline: str | None = None, limit: int = -1) -> list[Row]:
        """Rows of one schedule or all, the newest last; -1 is no limit."""
        condition = "? IS NULL OR pipeline = ? ORDER BY planned DESC, id DESC LIMIT ?"
        return self.rows(condition, pipeline, pipeline, limit)[::-1]

    def find(self, pipeline: str, slot: str) -> Row | None:
        """The row of a slot."""
        return self.first("pipeline = ? AND slot = ?", pipeline, slot)

    def newest_slot(self, pipeline: str) -> datetime.datetime | None:
        """The last moment of a cron expression that was written down."""
        condition = "pipeline = ? AND kind = ? ORDER BY slot DESC"
        found = self.first(condition, pipeline, CRON)
        return datetime.datetime.fromisoformat(found.slot) if found else None

    def write(self, statement: str, *rows: Sequence[Any]) -> int:
        """Executes a statement for each of some rows of values; gives how many changed."""
        if not rows:
            return 0
        with self._transaction():
            return self._database.executemany(statement, rows).rowcount

    def plan(self, rows: Sequence[Row], now: datetime.datetime) -> int:
        """Writes down slots that are not there yet, and plans failed spans again."""
        planned = [dataclasses.replace(row, planned=in_words(now)) for row in rows]
        return self.write(
            f"INSERT INTO slots ({_COLUMNS}) VALUES ({', '.join('?' * len(_NAMES))})"
            " ON CONFLICT (pipeline, slot) DO UPDATE SET state = excluded.state,"
            " reason = 'again after: ' || reason"
            f" WHERE kind = '{SPAN}' AND state = '{FAILED}' AND attempts < {MAX_TRIES}",
            *([getattr(row, name) for name in _NAMES] for row in planned),
        )

    def update(self, row: Row, **values: Any) -> Row:
        """Changes a row by column and gives it."""
        names = ", ".join(f"{name} = ?" for name in values)
        self.write(f"UPDATE slots SET {names} WHERE id = ?", (*values.values(), row.id))
        (found,) = self.rows("id = ?", row.id)
        return found

    @contextlib.contextmanager
    def locked(self, pipeline: str) -> Iterator[bool]:
        """Keeps others from working on a schedule; gives False where another one does."""
        path = self._path.parent / FOLDER / f"{urllib.parse.quote(pipeline, '')}.lock"
        with contextlib.ExitStack() as stack:
            with self._in_words():
                path.parent.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(path.open("w"))
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    is_ours = True
                except BlockingIOError:
                    is_ours = False
            yield is_ours

    def _version(self) -> int:
        (found,) = self._database.execute("PRAGMA user_version")
        return found[0]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, and nobody else in between."""
        with self._in_words(), self._database:  # which commits, or rolls back
            self._database.execute("BEGIN IMMEDIATE")
            yield

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        """Turns what SQLite and the file system object to into a sentence."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            tip = ""
            if "locked" in str(error):
                tip = f"another program has held it for {WAIT_SECONDS:.0f} s"
            elif "not a database" in str(error) or "malformed" in str(error):
                tip = "put it aside: slots that it names would be taken for new"
            raise ConfigError(
                f"cannot use the ledger {self._path}: {error}", tip=tip
            ) from error
