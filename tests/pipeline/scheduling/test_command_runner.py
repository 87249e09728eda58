"""Runs as processes: what they come to, and that none outlives its scheduler."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import filelock
import pytest

from common.errors import ConfigError
from pipeline.scheduling import command_runner
from pipeline.scheduling.command_runner import CommandRunner, of_summary
from pipeline.slots import rows
from pipeline.slots.rows import SPAN, Row, TryAgain

ROW = Row("cats/a b", "span 3", SPAN, id=7)
# Plays `slimline run NAME --root ROOT ... --json`; the first --set says how.
PROGRAM = """
import json, os, pathlib, signal, sys, time
arguments = sys.argv[1:]
root = pathlib.Path(arguments[arguments.index("--root") + 1])
folder = root / "2026-11-26_0300_shy-cat"
folder.mkdir(exist_ok=True)
(folder / "config.json").write_text(
    json.dumps({"group": arguments[arguments.index("--group") + 1]})
)
(folder / "arguments").write_text(json.dumps(arguments))
how = arguments[arguments.index("--set") + 1].removeprefix("how=")
if how == "sleep":
    (root / "pid").write_text(str(os.getpid()))
    signal.signal(signal.SIGTERM, lambda *values: sys.exit(143))
    try:
        time.sleep(120)
    except KeyboardInterrupt:
        sys.exit(130)
if how == "crash":
    os.kill(os.getpid(), signal.SIGSEGV)
if how == "nothing":
    sys.exit(0)
error = {
    "drift": {"message": "the data have drifted", "found": "image/height", "exit_code": 4},
    "gate": {"message": "gate refused the model", "exit_code": 3},
    "wrong": {"message": "unknown setting", "exit_code": 2},
}.get(how)
document = {"schema_version": 1}
if how in ("done", "gate"):
    document["summary"] = {
        "run": folder.name,
        "passed": how == "done",
        "verdict": ["top-1 0.9 required"],
        "refusals": [] if how == "done" else ["top-1 0.9 required"],
        "infra_refusals": [],
        "pushed_version": "17" if how == "done" else None,
        "is_cached": False,
    }
    (folder / "summary.json").write_text(json.dumps(document["summary"]))
if error:
    document["error"] = error
print(json.dumps(document))
sys.exit(error["exit_code"] if error else 0)
"""


@pytest.fixture
def program(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


@pytest.fixture
def run(tmp_path, program):
    """Function (how) that orders a run and gives its outcome and the names it was given."""
    root = tmp_path / "runs"
    root.mkdir()

    def order(how: str):
        runner = CommandRunner(
            [sys.executable, str(program)],
            "cats",
            ["--set", f"how={how}"],
            root,
            "cats-a",
        )
        names = []
        found = runner.run(ROW, {"data.span": "3"}, names.append)
        return found, names, runner

    return order


@pytest.mark.parametrize(
    ("how", "state", "reason", "code"),
    [
        ("done", rows.DONE, "top-1 0.9 required", 0),
        ("drift", rows.REFUSED, "the data have drifted: image/height", 4),
        ("gate", rows.REFUSED, "gate refused the model", 3),
        ("wrong", rows.FAILED, "unknown setting", 2),
        (
            "crash",
            rows.FAILED,
            "the run ended with signal SIGSEGV and no result",
            -signal.SIGSEGV,
        ),
        ("nothing", rows.FAILED, "the run ended with exit code 0 and no result", 0),
    ],
)
def test_what_a_run_comes_to(run, how, state, reason, code) -> None:
    found, names, _ = run(how)
    assert (found.state, found.reason, found.exit_code) == (state, reason, code)
    assert found.pushed_version == ("17" if how == "done" else None)
    assert names == ["2026-11-26_0300_shy-cat"]


def test_what_the_command_is_given(run, tmp_path) -> None:
    run("done")
    file = tmp_path / "runs" / "2026-11-26_0300_shy-cat" / "arguments"
    assert json.loads(file.read_text()) == [
        "run",
        "cats",
        "--root",
        str(tmp_path / "runs"),
        "--set",
        "how=done",
        "--set",
        "data.span=3",
        "--group",
        "cats/a b, slot span 3",
        "--plain",
        "--json",
    ]


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("done", "top-1 0.9 required"),
        ("gate", "gate refused the model: top-1 0.9 required"),
    ],
)
def test_the_outcome_outlives_who_ordered_it(run, how, reason) -> None:
    """The folder of the run tells it."""
    found, names, runner = run(how)
    outcome = runner.outcome(dataclasses.replace(ROW, runs=f"older {names[0]}"))
    assert outcome == dataclasses.replace(found, reason=reason)
    assert runner.outcome(ROW) is None


def test_a_run_by_hand_is_waited_for(run, tmp_path) -> None:
    with (
        filelock.FileLock(tmp_path / "runs" / ".cats-a.lock"),
        pytest.raises(TryAgain, match="another run of 'cats-a' is in progress"),
    ):
        run("done")
    assert run("done")[0].state == rows.DONE


def test_what_failed_has_no_outcome_in_its_folder(run) -> None:
    _, names, runner = run("drift")
    assert runner.outcome(dataclasses.replace(ROW, runs=names[0])) is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_is_no_failure(
    tmp_path, program, monkeypatch, number
) -> None:
    monkeypatch.setattr(command_runner, "LOOK_SECONDS", 0.1)
    root = tmp_path / "runs"
    root.mkdir()
    runner = CommandRunner(
        [sys.executable, str(program)], "cats", ["--set", "how=sleep"], root, "cats-a"
    )

    def interrupt(run: str) -> None:
        assert run == "2026-11-26_0300_shy-cat"
        wait_for(root / "pid")
        os.kill(int((root / "pid").read_text()), number)

    with pytest.raises(TryAgain):
        runner.run(ROW, {}, interrupt)


def wait_for(path: pathlib.Path) -> None:
    end = time.monotonic() + 60
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < end
        time.sleep(0.05)


SCHEDULER = """
import pathlib, sys
from pipeline.scheduling.command_runner import CommandRunner
from pipeline.slots.rows import Row
runner = CommandRunner([sys.executable, sys.argv[1]], "cats", ["--set", "how=sleep"],
                       pathlib.Path(sys.argv[2]), "cats-a")
runner.run(Row("cats", "span 3", "span", id=7), {}, lambda run: None)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_run_outlives_its_scheduler(tmp_path, program, number) -> None:
    root = tmp_path / "runs"
    root.mkdir()
    scheduler = subprocess.Popen(
        [sys.executable, "-c", SCHEDULER, str(program), str(root)],
        stderr=subprocess.DEVNULL,
    )
    wait_for(root / "pid")
    child = int((root / "pid").read_text())
    scheduler.send_signal(number)
    scheduler.wait(timeout=60)
    end = time.monotonic() + 60
    while is_there(child):
        assert time.monotonic() < end
        time.sleep(0.05)


def is_there(pid: int) -> bool:
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_a_program_that_is_not_there(tmp_path) -> None:
    runner = CommandRunner(["/no/such/program"], "cats", [], tmp_path, "cats-a")
    with pytest.raises(ConfigError, match="cannot start /no/such/program"):
        runner.run(ROW, {}, lambda run: None)


PASSED = {
    "passed": True,
    "verdict": ["fine"],
    "is_cached": False,
    "pushed_version": "7",
}
REFUSED = {"passed": False, "refusals": [], "infra_refusals": ["latency 9 ms"]}


@pytest.mark.parametrize(
    ("summary", "state", "reason", "code"),
    [
        (PASSED, rows.DONE, "fine", 0),
        (PASSED | {"is_cached": True}, rows.DONE, "served from the cache: fine", 0),
        (REFUSED, rows.REFUSED, "the served model failed its check: latency 9 ms", 5),
        (
            REFUSED | {"refusals": ["top-1", "recall"]},
            rows.REFUSED,
            "gate refused the model: top-1; recall",
            3,
        ),
    ],
)
def test_what_a_summary_says(summary, state, reason, code) -> None:
    found = of_summary(summary)
    assert (found.state, found.reason, found.exit_code) == (state, reason, code)
    assert found.pushed_version == summary.get("pushed_version")
