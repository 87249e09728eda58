"""The ledger: one row for each slot of a schedule, in SQLite.

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
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.scheduling import owner
from pipeline.scheduling.clock import in_words
from pipeline.scheduling.rows import CRON, FAILED, PLANNED, RUNNING, SPAN, Row
from schema.errors import ConfigError

FILE = "schedule.sqlite"  # in the root of the runs
FOLDER = ".schedule"  # beside it: locks, and what runs under way print
VERSION = 2
WAIT_SECONDS = 30.0
# A failed run of a new span is tried so often; a slot of a cron expression has the next.
MAX_TRIES = 3

_NAMES = [field.name for field in dataclasses.fields(Row) if field.name != "id"]
_COLUMNS = ", ".join(_NAMES)
_TABLES = (
    f"CREATE TABLE slots (id INTEGER PRIMARY KEY, {_COLUMNS}, UNIQUE (pipeline, slot))",
    "CREATE INDEX slots_by_state ON slots (pipeline, state, finished)",
    "CREATE INDEX slots_by_kind ON slots (pipeline, kind, slot)",
    "CREATE INDEX slots_with_artifacts ON slots (pipeline)"
    " WHERE runs != '' AND is_pruned = 0",
    "CREATE TABLE schedules (pipeline PRIMARY KEY, since, cron, timezone)",
)
_FROM_VERSION_1 = ("ALTER TABLE slots ADD COLUMN notices NOT NULL DEFAULT '[]'",)


class LostClaim(Exception):
    """Somebody else has taken the row over: its owner was taken for dead."""


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
          ConfigError: the file is no ledger, or one of a newer version.
        """
        self._path = path
        self._locks: dict[str, owner.Lock] = {}
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
            if (found := self._version()) != VERSION:
                raise ConfigError(
                    f"the ledger {path} has version {found}",
                    expected=f"version {VERSION}",
                    tip="it was written by another version of slimline; schedule run and"
                    " tick bring an older one up to date",
                )

    def close(self) -> None:
        """Closes the file, and lets go of all slots."""
        for lock in self._locks.values():
            lock.drop()
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

    def history(self, pipeline: str | None = None, limit: int = -1) -> list[Row]:
        """Rows of one schedule or all, the newest last; -1 is no limit."""
        condition = "? IS NULL OR pipeline = ? ORDER BY planned DESC, id DESC LIMIT ?"
        return self.rows(condition, pipeline, pipeline, limit)[::-1]

    def find(self, pipeline: str, slot: str) -> Row | None:
        """The row of a slot."""
        return next(iter(self.rows("pipeline = ? AND slot = ?", pipeline, slot)), None)

    def newest_slot(self, pipeline: str) -> datetime.datetime | None:
        """The last moment of a cron expression that was written down."""
        condition = "pipeline = ? AND kind = ? ORDER BY slot DESC LIMIT 1"
        found = self.rows(condition, pipeline, CRON)
        return datetime.datetime.fromisoformat(found[0].slot) if found else None

    def write(self, statement: str, *rows: Sequence[Any]) -> int:
        """Executes a statement for each of some rows of values; gives how many changed."""
        if not rows:
            return 0
        with self._transaction():
            return self._database.executemany(statement, rows).rowcount

    def plan(self, rows: Sequence[Row], now: datetime.datetime) -> int:
        """Writes down slots that are not there yet, and plans failed spans again."""
        moment = in_words(now)
        return self.write(
            f"INSERT INTO slots ({_COLUMNS}) VALUES ({', '.join('?' * len(_NAMES))})"
            " ON CONFLICT (pipeline, slot) DO UPDATE SET state = excluded.state,"
            " reason = 'again after: ' || reason"
            f" WHERE kind = '{SPAN}' AND state = '{FAILED}' AND attempts < {MAX_TRIES}",
            *(
                _values(
                    dataclasses.replace(
                        row,
                        planned=moment,
                        finished=moment
                        if row.state not in (PLANNED, RUNNING)
                        else None,
                    )
                )
                for row in rows
            ),
        )

    def claim(
        self, pipeline: str, now: datetime.datetime
    ) -> tuple[Row | None, Row | None]:
        """Takes the oldest planned row, if nobody works on this schedule.

        Rows whose owner has died are planned again.

        Returns:
          The row that is now running, or None; and the row that keeps it from being
          taken, or None.
        """
        is_open = "pipeline = ? AND state IN (?, ?) ORDER BY state DESC, planned, slot"
        # Most looks find nothing to do; they write nothing and wait for nobody.
        if not self.rows(f"{is_open} LIMIT 1", pipeline, PLANNED, RUNNING):
            return None, None
        name = urllib.parse.quote(pipeline, safe="")
        lock = self._locks.setdefault(
            pipeline, owner.Lock(self._path.parent / FOLDER / f"{name}.lock")
        )
        try:
            if not lock.take():
                found = self.rows(f"{is_open} LIMIT 1", pipeline, PLANNED, RUNNING)
                return None, next(iter(found), None)
            with self._transaction():
                row, busy = self._take(
                    self.rows(is_open, pipeline, PLANNED, RUNNING), lock.place, now
                )
        except OSError as error:
            raise ConfigError(
                f"cannot lock slots beside {self._path}: {error}"
            ) from error
        if row is None:
            lock.drop()
        return row, busy

    def update(self, row: Row, **values: Any) -> Row:
        """Changes a running row by column; whoever ends it lets go of it.

        Raises:
          LostClaim: its owner was taken for dead.
        """
        names = ", ".join(f"{name} = ?" for name in values)
        try:
            changed = self.write(
                f"UPDATE slots SET {names} WHERE id = ? AND state = ? AND owner = ?"
                " AND attempts = ?",
                (*values.values(), row.id, RUNNING, row.owner, row.attempts),
            )
        finally:
            if values.get("state", RUNNING) != RUNNING and row.pipeline in self._locks:
                self._locks[row.pipeline].drop()
        if not changed:
            raise LostClaim(f"slot {row.slot} of '{row.pipeline}'")
        return dataclasses.replace(row, **values)

    def _take(
        self, found: Sequence[Row], place: str, now: datetime.datetime
    ) -> tuple[Row | None, Row | None]:
        """Of open rows those that run first: ours is the first that nobody works on."""
        reasons = {}
        for row in found:
            if row.state != RUNNING:
                continue
            heartbeat = datetime.datetime.fromisoformat(str(row.heartbeat))
            if owner.lives(str(row.owner), heartbeat, place, now):
                return None, row
            reasons[row.id] = f"{owner.name_of(str(row.owner))} died at it, it resumes"
        oldest = min(found, key=lambda row: (row.planned, row.slot), default=None)
        if oldest is None:
            return None, None
        values: dict[str, Any] = {
            "state": RUNNING,
            "reason": reasons.get(oldest.id, oldest.reason),
            "attempts": oldest.attempts + 1,
            "started": in_words(now),
            "finished": None,
            "owner": owner.this(place),
            "heartbeat": in_words(now),
        }
        for number, reason in reasons.items():
            self._database.execute(
                "UPDATE slots SET state = ?, reason = ? WHERE id = ?",
                (PLANNED, reason, number),
            )
        names = ", ".join(f"{name} = ?" for name in values)
        self._database.execute(
            f"UPDATE slots SET {names} WHERE id = ?", (*values.values(), oldest.id)
        )
        return dataclasses.replace(oldest, **values), None

    def _version(self) -> int:
        (found,) = self._database.execute("PRAGMA user_version")
        return found[0]

    def _make_tables(self) -> None:
        steps = {0: _TABLES, 1: _FROM_VERSION_1}.get(self._version())
        if steps is None:
            return
        for statement in steps:
            self._database.execute(statement)
        self._database.execute(f"PRAGMA user_version = {VERSION}")

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


def _values(row: Row) -> list[Any]:
    return [getattr(row, name) for name in _NAMES]
