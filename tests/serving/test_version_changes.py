"""Killed or made at once, a change of versions leaves what a server can serve."""

import json
import pathlib
import re

import pytest

SCRIPT = pathlib.Path(__file__).with_name("version_changes.py")
# Action -> fewest file events that it has to be killed at.
ACTIONS = {
    "push": 30,
    "push_unpinned": 30,
    "promote": 12,
    "canary": 12,
    "rollback": 12,
    "prune": 14,
}


@pytest.fixture
def call(warm_forks, tmp_path: pathlib.Path):
    """Function (*arguments) -> what the script printed."""

    def run(*arguments: object) -> list[dict]:
        words = ["python", str(SCRIPT), *map(str, arguments)]
        result = warm_forks.run(words, tmp_path)
        assert result.returncode == 0, result.stderr[-3000:]
        return [json.loads(line) for line in result.stdout.splitlines()]

    return run


@pytest.mark.slow
@pytest.mark.parametrize("action", ACTIONS)
def test_killed_at_every_file_event(call, tmp_path: pathlib.Path, action: str) -> None:
    *killed, unbroken = call("kill", tmp_path, action)
    assert len(killed) >= ACTIONS[action]
    assert not unbroken["was_killed"]
    for told in (*killed, unbroken):
        before, after, last = told["before"], told["after"], told["at_last"]
        point = told["point"]
        assert told["ended_well"], point
        # What a server may load is whole, and what it is told to load is there.
        for state in (after, last):
            assert state["broken"] == state["incomplete"] == [], point
            assert set(state["versions"]) <= set(state["there"]), point
            assert set(state["labels"].values()) <= set(state["there"]), point
        # All of the change or nothing, and no row of what was not done.
        assert after["live"] in (before["live"], unbroken_live(action, after)), point
        assert after["rows"][:2] == before["rows"], point
        for _, version, _ in after["rows"][2:]:
            assert action == "prune" or version in after["there"], point
        if action != "push_unpinned" and after["live"] == before["live"]:
            assert after["labels"]["stable"] == 2, point
        # The same once more goes on from there.
        assert told["is_mended"] == (action != "rollback" or after["live"] != 1), point
        assert last["live"] == unbroken_live(action, last), point
        if action == "prune":
            assert last["there"] == [1, 2, 3]
            assert last["hidden"] == []
    if action in ("push", "push_unpinned", "prune"):
        assert any(told["after"]["there"] != [1, 2, 3, 4] for told in killed)


def unbroken_live(action: str, state: dict) -> int:
    """Which version the action makes live."""
    if action.startswith("push"):
        return state["there"][-1]
    return {"promote": 4, "canary": 2, "rollback": 1, "prune": 2}[action]


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [8, pytest.param(20, marks=pytest.mark.nightly)])
def test_two_at_once_come_one_after_the_other(
    call, tmp_path: pathlib.Path, pairs: int
) -> None:
    told = call("interleave", tmp_path, *range(pairs))
    assert [row["seed"] for row in told] == list(range(pairs))
    for row in told:
        seed = row["seed"]
        assert row["ended_well"], seed
        first, second = row["rows"][2:]
        # The second saw what the first had done.
        assert first[2] == 2, seed
        assert second[2] == first[1], seed
        assert row["live"] == row["labels"]["stable"] == second[1], seed
        canary = [] if 3 in (first[1], second[1]) else [3]
        beside = [] if second[0] == "rollback" else [first[1]]
        assert row["versions"] == sorted({second[1], *canary, *beside}), seed
        assert row["labels"].get("canary") == (canary[0] if canary else None), seed
        assert row["broken"] == [], seed
        assert row["hidden"] == [], seed
    # They did come at once: one began before the other had ended.
    mixed = [row for row in told if re.search("01+0|10+1", row["turns"])]
    assert len(mixed) > pairs / 2
