"""The history survives kills, and tells what to go back to."""

import json
import re

import pytest

from pushed_models import version_history
from pushed_models.version_history import CANARY, PROMOTE, PRUNE, PUSH, ROLLBACK

LINE = (
    '{"time": "2026-11-26T04:45:00+00:00", "action": "push", "version": 7, "from": 6,'
    ' "who": "ada@lovelace", "reason": "", "by": "2026-11-26_0440_quick-heron"}'
)


def test_a_row_comes_back_as_it_was_written(tmp_path) -> None:
    row = version_history.now(ROLLBACK, 6, 7, reason='bad on\n"night" shots é', by="me")
    version_history.append(tmp_path, row)
    version_history.append(tmp_path, version_history.now(PUSH, 8, None))
    assert version_history.read(tmp_path)[0] == row
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", row.time)
    assert re.fullmatch(r"[^@]+@[^@]+", row.who)
    first, second = (tmp_path / "history.jsonl").read_text().splitlines()
    assert json.loads(first) == {
        "time": row.time,
        "action": "rollback",
        "version": 6,
        "from": 7,
        "who": row.who,
        "reason": 'bad on\n"night" shots é',
        "by": "me",
        "is_gate_open": False,
    }
    assert json.loads(second)["from"] is None


def test_nothing_yet(tmp_path) -> None:
    assert version_history.read(tmp_path / "none") == []


@pytest.mark.parametrize(
    "torn", [LINE[:40], "", "[]", "null", '{"version": 7}', "\x00\xff", "[" * 100_000]
)
def test_a_torn_line_hides_no_other(tmp_path, torn) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(f"{LINE}\n{torn}")
    (row,) = version_history.read(tmp_path)
    assert (row.action, row.version, row.former) == ("push", 7, 6)
    assert row.by == "2026-11-26_0440_quick-heron"
    version_history.append(tmp_path, version_history.now(PROMOTE, 8, 7))
    assert [row.version for row in version_history.read(tmp_path)] == [7, 8]


def test_a_user_without_a_name_has_a_number(monkeypatch) -> None:
    def fail():
        raise KeyError("getpwuid(): uid not found: 1000")

    monkeypatch.setattr(version_history.getpass, "getuser", fail)
    assert re.fullmatch(r"\d+@.+", version_history.now(PUSH, 1, None).who)


@pytest.mark.parametrize(
    ("rows", "live", "expected"),
    [
        # By the history.
        ([(PUSH, 1, None), (PUSH, 2, 1), (PUSH, 3, 2)], 3, 2),
        ([(PUSH, 1, None), (PUSH, 2, 1), (PROMOTE, 1, 2)], 1, 2),
        # Going back twice leads further back, not forth again.
        ([(PUSH, 2, 1), (PUSH, 3, 2), (ROLLBACK, 2, 3)], 2, 1),
        ([(PUSH, 2, 1), (PUSH, 3, 2), (ROLLBACK, 1, 3)], 1, None),
        ([(PUSH, 2, 1), (PUSH, 3, 2), (ROLLBACK, 2, 3), (PUSH, 4, 2)], 4, 2),
        ([(PUSH, 2, 1), (ROLLBACK, 1, 2), (PROMOTE, 2, 1)], 2, 1),
        # What it names and is gone, or was never live, is passed over.
        ([(PUSH, 9, None), (PUSH, 3, 9)], 3, 2),
        ([(PUSH, 2, 1), (PUSH, 4, 2), (CANARY, 3, None), (PRUNE, 1, None)], 4, 2),
        # Live without a row, as after a kill: what was live before is the last of them.
        ([(PUSH, 1, None), (PUSH, 2, 1)], 4, 2),
        # Without a history the next older one.
        ([], 3, 2),
        ([], 1, None),
        ([(ROLLBACK, 3, 4)], 3, 2),
        ([], None, None),
    ],
)
def test_what_a_rollback_goes_back_to(tmp_path, rows, live, expected) -> None:
    for row in rows:
        version_history.append(tmp_path, version_history.now(*row))
    assert version_history.previous(tmp_path, live, [1, 2, 3, 4]) == expected


def test_an_open_gate_is_remembered_of_the_newest_push_of_a_version(tmp_path) -> None:
    assert not version_history.had_open_gate(tmp_path, 7)
    push = version_history.now(PUSH, 7, None, is_gate_open=True)
    version_history.append(tmp_path, push)
    version_history.append(tmp_path, version_history.now(PROMOTE, 7, 6))
    assert version_history.read(tmp_path)[0] == push
    assert version_history.had_open_gate(tmp_path, 7)
    assert not version_history.had_open_gate(tmp_path, 6)
    version_history.append(tmp_path, version_history.now(PUSH, 7, None))
    assert not version_history.had_open_gate(tmp_path, 7)
