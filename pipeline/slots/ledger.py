"""The ledger: one row for each slot of a schedule, in SQLite.

The first scheduler to look plans a slot, and only the holder of the schedule's lock runs
it, so that two schedulers on one machine or volume run no slot twice. The kernel releases
the lock when the process ends, also across containers and on network file systems. The
journal mode is DELETE, so that the file can be copied between transactions; WAL needs
shared memory, and with it a single machine.
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
# Attempts at a failed run of a new span; after a failed slot of cron comes the next slot.
MAX_TRIES = 3

_NAMES = [field.name for field in dataclasses.fields(Row) if field.name != "id"]
_COLUMNS = ", ".join(_NAMES)
# Before version 3 an owner was JSON.
_OWNERS_BY_NAME = (
    "UPDATE slots SET owner = coalesce(owner ->> 'name', 'process ' || (owner ->> 'pid')"
    " || ' on ' || (owner ->> 'host')) WHERE json_valid(owner)"
)
# Version before -> statements that upgrade it.
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
# Conditions on rows; their value is the schedule.
IS_OPEN = f"pipeline = ? AND state IN ('{PLANNED}', '{RUNNING}')"
IS_ENDED = f"pipeline = ? AND state NOT IN ('{PLANNED}', '{RUNNING}')"


class Ledger:
    """The rows of all schedules under a root.

    Every method is a transaction, and waits up to WAIT_SECONDS for a locked file.
    """

    def __init__(self, path: pathlib.Path, *, is_read_only: bool = False):
        """Opens the ledger, created where missing.

        Args:
          path: its file.
          is_read_only: creates and writes nothing.

        Raises:
          ConfigError: the file is not a ledger, has a newer version, or is missing where
            `is_read_only`.
        """
        self._path = path
        if is_read_only and not path.is_file():
            raise ConfigError(
                f"no schedule in {path.parent}",
                expected=f"{FILE}, which slimline schedule run and tick write",
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
                    tip="another version of slimline wrote it; schedule run and tick"
                    " upgrade an older one",
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
        """Records a schedule, whose slots begin at the first `since`."""
        known = self.schedules().get(pipeline)
        if known is not None and (known["cron"], known["timezone"]) == (cron, timezone):
            return
        self.write(
            "INSERT INTO schedules VALUES (?, ?, ?, ?) ON CONFLICT (pipeline) DO"
            " UPDATE SET cron = excluded.cron, timezone = excluded.timezone",
            (pipeline, in_words(since), cron, timezone),
        )

    def schedules(self) -> dict[str, dict[str, str]]:
        """Schedule -> pipeline, since, cron ('' for a schedule by spans) and timezone."""
        with self._in_words():
            found = self._database.execute("SELECT * FROM schedules ORDER BY pipeline")
            return {row["pipeline"]: dict(row) for row in found}

    def rows(self, condition: str = "1", *values: Any) -> list[Row]:
        """The rows that meet an SQL condition."""
        with self._in_words():
            found = self._database.execute(
                f"SELECT {_COLUMNS}, id FROM slots WHERE {condition}", values
            )
            return [
                Row(**row | {"is_pruned": bool(row["is_pruned"])})
                for row in map(dict, found)
            ]

    def first(self, condition: str, *values: Any) -> Row | None:
        """The first row that meets an SQL condition."""
        return next(iter(self.rows(f"{condition} LIMIT 1", *values)), None)

    def history(self, pipeline: str | None = None, limit: int = -1) -> list[Row]:
        """Rows of one schedule or all, the newest last; -1 is no limit."""
        condition = "? IS NULL OR pipeline = ? ORDER BY planned DESC, id DESC LIMIT ?"
        return self.rows(condition, pipeline, pipeline, limit)[::-1]

    def find(self, pipeline: str, slot: str) -> Row | None:
        """The row of a slot."""
        return self.first("pipeline = ? AND slot = ?", pipeline, slot)

    def newest_slot(self, pipeline: str) -> datetime.datetime | None:
        """The last planned slot of a cron expression."""
        condition = "pipeline = ? AND kind = ? ORDER BY slot DESC"
        found = self.first(condition, pipeline, CRON)
        return datetime.datetime.fromisoformat(found.slot) if found else None

    def write(self, statement: str, *rows: Sequence[Any]) -> int:
        """Executes a statement for each row of values; returns how many rows changed."""
        if not rows:
            return 0
        with self._transaction():
            return self._database.executemany(statement, rows).rowcount

    def plan(self, rows: Sequence[Row], now: datetime.datetime) -> int:
        """Adds new slots, and plans failed spans again; returns how many."""
        planned = [dataclasses.replace(row, planned=in_words(now)) for row in rows]
        return self.write(
            f"INSERT INTO slots ({_COLUMNS}) VALUES ({', '.join('?' * len(_NAMES))})"
            " ON CONFLICT (pipeline, slot) DO UPDATE SET state = excluded.state,"
            " reason = 'again after: ' || reason"
            f" WHERE kind = '{SPAN}' AND state = '{FAILED}' AND attempts < {MAX_TRIES}",
            *([getattr(row, name) for name in _NAMES] for row in planned),
        )

    def update(self, row: Row, **values: Any) -> Row:
        """Changes columns of a row; returns the new row."""
        names = ", ".join(f"{name} = ?" for name in values)
        self.write(f"UPDATE slots SET {names} WHERE id = ?", (*values.values(), row.id))
        (found,) = self.rows("id = ?", row.id)
        return found

    @contextlib.contextmanager
    def locked(self, pipeline: str) -> Iterator[bool]:
        """Takes the lock of a schedule; yields False where another process holds it."""
        path = self._path.parent / FOLDER / f"{urllib.parse.quote(pipeline, '')}.lock"
        with contextlib.ExitStack() as stack:
            with self._in_words():
                path.parent.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(path.open("w"))
                is_ours = False
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    is_ours = True
            yield is_ours

    def _version(self) -> int:
        (found,) = self._database.execute("PRAGMA user_version")
        return found[0]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """One write transaction."""
        with self._in_words(), self._database:  # which commits, or rolls back
            self._database.execute("BEGIN IMMEDIATE")
            yield

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        """Turns errors of SQLite and the file system into ConfigError."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            tip = ""
            if "locked" in str(error):
                tip = f"another program has held it for {WAIT_SECONDS:.0f} s"
            elif "not a database" in str(error) or "malformed" in str(error):
                tip = "move it aside; a new ledger plans its slots again"
            raise ConfigError(
                f"cannot use the ledger {self._path}: {error}", tip=tip
            ) from error
