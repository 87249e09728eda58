"""One row a slot, one owner at a time, and nothing lost in a crash."""

import dataclasses
import datetime
import errno
import json
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys

import pytest

from common.errors import ConfigError
from pipeline.slots import ledger as ledger_module
from pipeline.slots import rows
from pipeline.slots.ledger import FILE, IS_OPEN, MAX_TRIES, Ledger
from pipeline.slots.rows import Row

NOW = datetime.datetime(2026, 11, 26, 3, tzinfo=datetime.UTC)
LATER = NOW + datetime.timedelta(hours=1)
SLOT = Row("cats", "2026-11-26T03:00:00+00:00", rows.CRON)


@pytest.fixture
def ledger(tmp_path: pathlib.Path):
    opened = Ledger(tmp_path / FILE)
    yield opened
    opened.close()


@pytest.fixture
def other(tmp_path: pathlib.Path):
    """The same ledger, as another process opens it."""
    opened = Ledger(tmp_path / FILE)
    yield opened
    opened.close()


def test_a_slot_is_planned_once(ledger: Ledger) -> None:
    assert ledger.plan([SLOT], NOW) == 1
    assert ledger.plan([SLOT], LATER) == 0
    assert ledger.plan([dataclasses.replace(SLOT, pipeline="dogs")], LATER) == 1
    assert ledger.plan([], NOW) == 0
    assert len(ledger.history("cats")) == 1
    assert ledger.newest_slot("cats") == NOW
    assert ledger.newest_slot("mice") is None


def test_a_row_is_changed_by_column(ledger: Ledger, other: Ledger) -> None:
    ledger.plan([SLOT], NOW)
    (row,) = ledger.history()
    started, finished = NOW.isoformat(), LATER.isoformat()
    row = ledger.update(row, state=rows.RUNNING, started=started, runs="run-a")
    ledger.update(row, data="span 7", span=7)
    row = other.update(row, state=rows.DONE, finished=finished, pushed_version="3")
    assert (row.state, row.run, row.span, row.pushed_version) == (
        rows.DONE,
        "run-a",
        7,
        "3",
    )
    assert row.seconds == 3600
    assert ledger.history() == [row]


def test_one_works_on_a_schedule(ledger: Ledger, other: Ledger) -> None:
    with ledger.locked("cats") as is_ours, other.locked("cats") as is_theirs:
        assert is_ours and not is_theirs
        with other.locked("cats/a b") as is_another:
            assert is_another
    with other.locked("cats") as is_theirs:
        assert is_theirs


def test_a_file_system_without_locks_is_told(ledger: Ledger, monkeypatch) -> None:
    def refuse(*values):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(ledger_module.fcntl, "flock", refuse)
    with (
        pytest.raises(ConfigError, match=r"cannot use the ledger .* not supported"),
        ledger.locked("cats"),
    ):
        pass


def test_a_span_that_failed_is_planned_again_so_often(ledger: Ledger) -> None:
    span = Row("cats", "span 1", rows.SPAN)
    for attempt in range(1, MAX_TRIES + 1):
        assert ledger.plan([span], NOW) == 1
        (row,) = ledger.history()
        assert row.state == rows.PLANNED
        ledger.update(row, state=rows.FAILED, attempts=attempt)
    assert ledger.plan([span], NOW) == 0
    (found,) = ledger.history()
    assert found.state == rows.FAILED


def claim_slots(path: str, count: int) -> list[str]:
    """In a process of its own: takes what it can get, until nothing is left."""
    ledger = Ledger(pathlib.Path(path))
    slots = [Row("cats", f"{slot:04}", rows.CRON) for slot in range(count)]
    taken = []
    while True:
        ledger.plan(slots, NOW)
        with ledger.locked("cats") as is_ours:
            row = ledger.first(IS_OPEN, "cats")
            if row is None:
                return taken
            if is_ours:
                taken.append(row.slot)
                ledger.update(row, state=rows.DONE)


# Tests are no package that another process could import.
CLAIM_SLOTS = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("ledger_test", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(json.dumps(module.claim_slots(sys.argv[2], 30)))
"""


def test_processes_share_the_slots(tmp_path: pathlib.Path) -> None:
    command = [sys.executable, "-c", CLAIM_SLOTS, __file__, str(tmp_path / FILE)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE) for number in range(3)
    ]
    answers = [process.communicate(timeout=120)[0] for process in processes]
    taken = [slot for answer in answers for slot in json.loads(answer)]
    assert sorted(taken) == [f"{slot:04}" for slot in range(30)]


KILLED_IN_A_TRANSACTION = """
import datetime, os, pathlib, signal, sys
from pipeline.slots import ledger, rows
opened = ledger.Ledger(pathlib.Path(sys.argv[1]))
now = datetime.datetime.now(datetime.UTC)
opened.plan([rows.Row("cats", "1", rows.CRON)], now)
with opened._transaction():
    opened._database.execute("UPDATE slots SET state = 'done'")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_in_a_transaction_leaves_what_was_before(
    tmp_path: pathlib.Path,
) -> None:
    path = tmp_path / FILE
    ended = subprocess.run(
        [sys.executable, "-c", KILLED_IN_A_TRANSACTION, str(path)], check=False
    )
    assert ended.returncode == -signal.SIGKILL
    ledger = Ledger(path)
    (found,) = ledger.history()
    assert found.state == rows.PLANNED


def test_the_file_can_be_copied_between_transactions(
    ledger: Ledger, tmp_path: pathlib.Path
) -> None:
    ledger.plan([SLOT], NOW)
    copy = shutil.copy(tmp_path / FILE, tmp_path / "copy.sqlite")
    assert {path.name for path in tmp_path.iterdir()} == {FILE, "copy.sqlite"}
    assert len(Ledger(pathlib.Path(copy), is_read_only=True).history()) == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"no database, but long enough to look like one" * 40, "not a database"),
        (None, "has version 99"),
    ],
)
def test_a_file_that_is_no_ledger(
    tmp_path: pathlib.Path, content: bytes | None, sentence: str
) -> None:
    path = tmp_path / FILE
    if content is not None:
        path.write_bytes(content)
    else:
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA user_version = 99")
    with pytest.raises(ConfigError, match=sentence):
        Ledger(path)


def test_a_ledger_that_is_locked_is_told(
    ledger: Ledger, tmp_path: pathlib.Path
) -> None:
    ledger._database.execute("PRAGMA busy_timeout = 50")
    holder = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ConfigError, match="locked") as caught:
        ledger.plan([SLOT], NOW)
    assert "another program" in caught.value.tip
    holder.execute("ROLLBACK")
    assert ledger.plan([SLOT], NOW) == 1


VERSION_1 = """
CREATE TABLE slots (
  id INTEGER PRIMARY KEY, pipeline TEXT NOT NULL, slot TEXT NOT NULL, kind TEXT NOT NULL,
  state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', attempts INTEGER NOT NULL DEFAULT 0,
  data TEXT NOT NULL DEFAULT '', data_key TEXT NOT NULL DEFAULT '',
  settings_key TEXT NOT NULL DEFAULT '', span INTEGER, version INTEGER,
  runs TEXT NOT NULL DEFAULT '', pushed_version TEXT, exit_code INTEGER,
  is_pruned INTEGER NOT NULL DEFAULT 0, planned TEXT NOT NULL, started TEXT,
  finished TEXT, owner TEXT, heartbeat TEXT, UNIQUE (pipeline, slot));
CREATE TABLE schedules (
  pipeline TEXT PRIMARY KEY, since TEXT NOT NULL, cron TEXT NOT NULL,
  timezone TEXT NOT NULL);
INSERT INTO slots (pipeline, slot, kind, state, planned, owner, heartbeat, attempts)
  VALUES ('cats', '2026-11-26T03:00:00+00:00', 'cron', 'running', 'x',
  '{"boot": "b", "host": "h", "pid": 7, "space": "s", "started": "1"}',
  '2026-11-26T03:00:00+00:00', 1),
  ('kubeflow/cats', '1', 'kubeflow', 'running', 'y', 'run-1', NULL, 1);
PRAGMA user_version = 1;
"""
VERSION_2 = """
ALTER TABLE slots ADD COLUMN notices NOT NULL DEFAULT '[]';
UPDATE slots SET owner = '{"name": "process 7 on h", "place": "k 1", "token": "t"}'
  WHERE pipeline = 'cats';
PRAGMA user_version = 2;
"""


@pytest.mark.parametrize("script", [VERSION_1, VERSION_1 + VERSION_2])
def test_a_ledger_of_a_version_before_is_taken_over(tmp_path, script: str) -> None:
    with sqlite3.connect(tmp_path / FILE) as database:
        database.executescript(script)
    with pytest.raises(ConfigError, match=r"has version [12]"):
        Ledger(tmp_path / FILE, is_read_only=True)
    ledger = Ledger(tmp_path / FILE)
    found, on_kubeflow = ledger.history()
    assert (found.slot, found.notices, found.is_pruned) == (SLOT.slot, "[]", False)
    assert on_kubeflow.owner == "run-1"
    assert found.owner == "process 7 on h"
    assert ledger.plan([SLOT], NOW) == 0
    assert len(Ledger(tmp_path / FILE, is_read_only=True).history()) == 2
