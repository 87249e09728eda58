"""One row a slot, one owner at a time, and nothing lost in a crash."""

import datetime
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from pipeline.scheduling import owner, rows
from pipeline.scheduling.ledger import FILE, MAX_ATTEMPTS, Ledger, LostClaim
from pipeline.scheduling.owner import Owner
from pipeline.scheduling.rows import New
from schema.errors import ConfigError

NOW = datetime.datetime(2026, 11, 26, 3, tzinfo=datetime.UTC)
LATER = NOW + datetime.timedelta(hours=1)
ME = Owner("here", "boot", "space", 1, "0")
OTHER = Owner("here", "boot", "space", 2, "0")
SLOT = New("2026-11-26T03:00:00+00:00", rows.CRON)


@pytest.fixture
def ledger(tmp_path: pathlib.Path):
    opened = Ledger(tmp_path / FILE, lives=lambda by, heartbeat, now: True)
    yield opened
    opened.close()


def test_a_slot_is_planned_once(ledger: Ledger) -> None:
    assert ledger.plan("cats", [SLOT], NOW) == 1
    assert ledger.plan("cats", [SLOT], LATER) == 0
    assert ledger.plan("dogs", [SLOT], LATER) == 1
    assert len(ledger.history("cats")) == 1
    assert ledger.newest_slot("cats") == NOW
    assert ledger.newest_slot("mice") is None


def test_a_row_goes_to_one_owner(ledger: Ledger) -> None:
    ledger.plan("cats", [SLOT], NOW)
    row, busy = ledger.claim("cats", ME, NOW)
    assert row is not None and busy is None
    assert (row.state, row.attempts, row.started) == (rows.RUNNING, 1, NOW.isoformat())
    nothing, busy = ledger.claim("cats", OTHER, NOW)
    assert nothing is None and busy is not None and busy.id == row.id
    row = ledger.beat(row, "run-a", LATER)
    row = ledger.note(row, data="span 7", span=7)
    ledger.finish(row, rows.DONE, "blessed", LATER, pushed_version="3", exit_code=0)
    (found,) = ledger.history()
    assert (found.state, found.run, found.span, found.pushed_version) == (
        rows.DONE,
        "run-a",
        7,
        "3",
    )
    assert found.seconds == 3600
    assert ledger.claim("cats", OTHER, LATER) == (None, None)


def test_the_oldest_slot_goes_first(ledger: Ledger) -> None:
    slots = [New(f"2026-11-26T0{hour}:00:00+00:00", rows.CRON) for hour in (2, 1, 3)]
    ledger.plan("cats", slots, NOW)
    row, _ = ledger.claim("cats", ME, NOW)
    assert row is not None and row.slot == slots[1].slot


def test_what_a_dead_owner_leaves_goes_on(tmp_path: pathlib.Path) -> None:
    ledger = Ledger(tmp_path / FILE, lives=lambda by, heartbeat, now: by != ME)
    ledger.plan("cats", [SLOT], NOW)
    mine, _ = ledger.claim("cats", ME, NOW)
    assert mine is not None
    ledger.beat(mine, "run-a", NOW)
    row, _ = ledger.claim("cats", OTHER, LATER)
    assert row is not None and row.attempts == 2 and row.run == "run-a"
    assert row.reason == "process 1 on here died at it, it goes on"
    # Should the first one live after all, it learns that the row is not its own.
    with pytest.raises(LostClaim):
        ledger.beat(mine, "run-a", LATER)
    with pytest.raises(LostClaim):
        ledger.finish(mine, rows.DONE, "", LATER)
    ledger.beat(row, "run-b", LATER)
    (found,) = ledger.history()
    assert found.runs == "run-a run-b"


def test_a_row_that_kills_its_owners_is_given_up(tmp_path: pathlib.Path) -> None:
    ledger = Ledger(tmp_path / FILE, lives=lambda by, heartbeat, now: False)
    ledger.plan("cats", [SLOT], NOW)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        row, _ = ledger.claim("cats", ME if attempt % 2 else OTHER, NOW)
        assert row is not None and row.attempts == attempt
    assert ledger.claim("cats", OTHER, LATER) == (None, None)
    (found,) = ledger.history()
    assert found.state == rows.FAILED
    assert found.reason == (
        "given up after 5 attempts: each time its scheduler died, the last was process 1"
        " on here"
    )


def test_an_owner_takes_up_what_it_left_by_an_error(ledger: Ledger) -> None:
    ledger.plan("cats", [SLOT], NOW)
    ledger.claim("cats", ME, NOW)
    row, busy = ledger.claim("cats", ME, NOW)
    assert row is not None and busy is None and row.attempts == 2


def test_what_is_put_off_counts_as_not_begun(ledger: Ledger) -> None:
    ledger.plan("cats", [SLOT], NOW)
    row, _ = ledger.claim("cats", ME, NOW)
    assert row is not None
    ledger.put_off(row, "the span is being written")
    (found,) = ledger.history(states=(rows.PLANNED,))
    assert found.attempts == 0 and found.reason == "the span is being written"


def test_the_last_verdict(ledger: Ledger) -> None:
    assert ledger.last_settled("cats") is None
    for hour, state in enumerate((rows.DONE, rows.REFUSED, rows.FAILED, rows.SKIPPED)):
        ledger.plan("cats", [New(f"{hour}", rows.CRON)], NOW)
        row, _ = ledger.claim("cats", ME, NOW)
        assert row is not None
        moment = NOW + datetime.timedelta(hours=hour)
        ledger.finish(row, state, "", moment, data_key=f"{hour}")
    last = ledger.last_settled("cats")
    assert last is not None and last.data_key == "1"


def claim_slots(path: str, number: int, count: int) -> list[str]:
    """In a process of its own: takes what it can get, until nothing is left."""
    ledger = Ledger(pathlib.Path(path), lives=lambda by, heartbeat, now: True)
    me = Owner("here", "boot", "space", number, "0")
    slots = [New(f"{slot:04}", rows.CRON) for slot in range(count)]
    taken = []
    while True:
        ledger.plan("cats", slots, NOW)
        row, busy = ledger.claim("cats", me, NOW)
        if row is not None:
            taken.append(row.slot)
            ledger.finish(row, rows.DONE, "", NOW)
        elif busy is None:
            return taken


# Tests are no package that another process could import.
CLAIM_SLOTS = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("ledger_test", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(json.dumps(module.claim_slots(sys.argv[2], int(sys.argv[3]), 30)))
"""


def test_processes_share_the_slots(tmp_path: pathlib.Path) -> None:
    command = [sys.executable, "-c", CLAIM_SLOTS, __file__, str(tmp_path / FILE)]
    processes = [
        subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE)
        for number in range(3)
    ]
    answers = [process.communicate(timeout=120)[0] for process in processes]
    taken = [slot for answer in answers for slot in json.loads(answer)]
    assert sorted(taken) == [f"{slot:04}" for slot in range(30)]


KILLED_IN_A_TRANSACTION = """
import os, pathlib, signal, sys
from pipeline.scheduling import ledger, rows
class Killed(ledger.Ledger):
    def _update(self, row, **values):
        with self._transaction():
            self._database.execute("UPDATE slots SET state = 'done'")
            os.kill(os.getpid(), signal.SIGKILL)
opened = Killed(pathlib.Path(sys.argv[1]))
import datetime
now = datetime.datetime.now(datetime.UTC)
from pipeline.scheduling import owner
opened.plan("cats", [rows.New("1", rows.CRON)], now)
row, _ = opened.claim("cats", owner.this(), now)
opened.finish(row, rows.DONE, "", now)
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
    assert found.state == rows.RUNNING
    row, _ = ledger.claim("cats", owner.this(), datetime.datetime.now(datetime.UTC))
    assert row is not None and row.attempts == 2


def test_the_file_can_be_copied_between_transactions(
    ledger: Ledger, tmp_path: pathlib.Path
) -> None:
    ledger.plan("cats", [SLOT], NOW)
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
        ledger.plan("cats", [SLOT], NOW)
    assert "another program" in caught.value.tip
    holder.execute("ROLLBACK")
    assert ledger.plan("cats", [SLOT], NOW) == 1


def test_this_process_lives_and_one_that_is_gone_does_not() -> None:
    me = owner.this()
    assert me.pid == os.getpid() and Owner.from_text(me.as_text()) == me
    long_ago = NOW - datetime.timedelta(days=1)
    assert owner.lives(me, long_ago, NOW)
    process = subprocess.Popen(["sleep", "60"])
    other = Owner(
        me.host, me.boot, me.space, process.pid, owner._started(process.pid) or ""
    )
    assert owner.lives(other, NOW, NOW)
    # Another process that has taken its number is another one.
    assert not owner.lives(
        Owner(me.host, me.boot, me.space, process.pid, "1"), NOW, NOW
    )
    process.kill()
    time.sleep(0.1)  # a zombie now
    assert not owner.lives(other, NOW, NOW)
    process.wait()
    assert not owner.lives(other, NOW, NOW)


def test_elsewhere_a_heartbeat_is_what_counts() -> None:
    me = owner.this()
    pod = Owner("pod-7", me.boot, "another space", 1, "5")
    assert owner.lives(pod, NOW, NOW + datetime.timedelta(minutes=9))
    assert not owner.lives(pod, NOW, NOW + datetime.timedelta(minutes=11))
    assert not owner.lives(pod, NOW + datetime.timedelta(days=1), NOW)
    before_the_boot = Owner(me.host, "another boot", me.space, me.pid, me.started)
    assert not owner.lives(before_the_boot, NOW, NOW)
