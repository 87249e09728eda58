"""slimline schedule: looks, tables, and two processes for one slot."""

import contextlib
import datetime
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from pipeline.slots.ledger import FILE, Ledger
from pipeline.slots.rows import CRON as CRON_SLOT
from pipeline.slots.rows import DONE, Row
from schema import contract
from slimline.cli import schedule

# Plays `slimline run`: keeps what it was asked, and ends as the file `how` says.
PROGRAM = """
import json, pathlib, sys, time
arguments = sys.argv[1:]
root = pathlib.Path(arguments[arguments.index("--root") + 1])
with (root / "asked").open("a") as file:
    file.write(json.dumps(arguments) + "\\n")
how = (root / "how").read_text() if (root / "how").exists() else "done"
if how.startswith("sleep"):
    time.sleep(float(how.split()[1]))
document = {"schema_version": 1}
passed = {"passed": True, "is_cached": False, "verdict": ["top-1 fine"]}
if how == "gate":
    document["error"] = {"message": "gate refused the model: top-1 0.4", "exit_code": 3}
else:
    document["summary"] = passed | {"pushed_version": "9"}
print(json.dumps(document))
sys.exit(3 if how == "gate" else 0)
"""
CRON = ("--cron", "* * * * *")


@pytest.fixture
def program(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


@pytest.fixture
def tick(call, tmp_path, program, monkeypatch):
    """Function (*options) that looks once, with spans in `<tmp_path>/digits/{SPAN}`."""
    monkeypatch.setattr(schedule, "_COMMAND", (sys.executable, str(program)))
    new_span(tmp_path, 1)

    def look(*options, command="tick"):
        return call(
            "schedule",
            command,
            "digits_resnet_20",
            "--data",
            f"{tmp_path}/digits/{{SPAN}}",
            "--settle",
            "0",
            *options,
        )

    return look


def new_span(folder: pathlib.Path, span: int) -> None:
    (folder / "digits" / str(span) / "0").mkdir(parents=True)


def asked(root: pathlib.Path) -> list[list[str]]:
    file = root / "asked"
    lines = file.read_text().splitlines() if file.exists() else []
    return [json.loads(line) for line in lines]


def test_a_new_span_is_trained_once(tick, tmp_path, call) -> None:
    code, out, _ = tick("--on-new-span", "--set", "train.epochs=3", "--tiny")
    assert code == 0
    assert out.strip() == ("slot span 1 (span 1) done, version 9 is live: top-1 fine")
    ((*arguments,),) = asked(tmp_path / "runs")
    assert arguments == [
        "run",
        "digits_resnet_20",
        "--root",
        str(tmp_path / "runs"),
        "--data",
        f"{tmp_path}/digits/{{SPAN}}",
        "--set",
        "train.epochs=3",
        "--tiny",
        "--set",
        "data.span=1",
        "--group",
        "digits_resnet_20/digits/digits-tiny, slot span 1",
        "--plain",
        "--json",
    ]
    code, out, _ = tick("--on-new-span", "--set", "train.epochs=3", "--tiny")
    assert (code, out.strip()) == (0, "nothing is due")
    assert len(asked(tmp_path / "runs")) == 1


def test_a_refusal_ends_with_its_code(tick, tmp_path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "how").write_text("gate")
    code, out, _ = tick("--on-new-span", "--json")
    assert code == 3
    (row,) = json.loads(out)["rows"]
    assert row["state"] == "refused" and row["exit_code"] == 3
    assert row["reason"] == "gate refused the model: top-1 0.4"
    assert not {"owner", "runs"} & row.keys()


def test_a_dry_run_writes_nothing(tick, tmp_path) -> None:
    code, out, _ = tick("--on-new-span", "--dry-run")
    assert code == 0
    assert "slot span 1: would run: slimline run digits_resnet_20 --data" in out
    assert out.endswith("nothing was run or written\n")
    assert not (tmp_path / "runs").exists()


def test_the_table_of_slots(tick, call, tmp_path) -> None:
    tick("--on-new-span", "--on-push", "false")
    new_span(tmp_path, 2)
    (tmp_path / "runs" / "how").write_text("gate")
    tick("--on-new-span")
    code, out, _ = call("schedule", "history")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == [
        *("slot", "experiment", "state", "data", "run", "version", "time", "reason")
    ]
    assert lines[1].split()[:4] == ["span", "1", "digits_resnet_20", "done"]
    assert lines[2].endswith("gate refused the model: top-1 0.4")
    assert lines[4] == "not notified of push in slot span 1: false: exit code 1"
    code, out, _ = call(
        "schedule", "history", "digits_resnet_20", "--limit", 1, "--json"
    )
    document = json.loads(out)
    assert [row["data"] for row in document["slots"]] == ["span 2"]
    assert document["notices"] == []
    _, out, _ = call("schedule", "history", "--json")
    (notice,) = json.loads(out)["notices"]
    assert (notice["slot"], notice["event"], notice["error"]) == (
        *("span 1", "push", "exit code 1"),
    )


def test_the_status_says_what_is_next(tick, call, tmp_path) -> None:
    tick("--cron", "0 3 * * *", "--timezone", "Europe/Berlin")
    code, out, _ = call("schedule", "status", "--json")
    assert code == 0
    (state,) = json.loads(out)["schedules"]
    assert state["schedule"] == "0 3 * * * (Europe/Berlin)"
    following = datetime.datetime.fromisoformat(state["next"])
    assert following > datetime.datetime.now(datetime.UTC)
    assert following.hour in (1, 2) and following.minute == 0
    assert state["running"] is None and state["planned"] == []
    code, out, _ = call("schedule", "status")
    assert out.splitlines()[:2] == [
        "digits_resnet_20",
        "  schedule  0 3 * * * (Europe/Berlin)",
    ]


def test_a_clock_that_was_wrong_is_told(tick, call, tmp_path) -> None:
    tick("--cron", "0 3 * * *")
    slot = Row("digits_resnet_20", "2099-01-01T03:00:00+00:00", CRON_SLOT, DONE)
    with contextlib.closing(Ledger(tmp_path / "runs" / FILE)) as ledger:
        ledger.plan([slot], datetime.datetime.now(datetime.UTC))
    _, out, _ = call("schedule", "status")
    assert "slot 2099-01-01T03:00:00+00:00 is in the future: the clock was wrong" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give --cron EXPRESSION or --on-new-span"),
        ([*CRON, "--on-new-span"], "give --cron EXPRESSION or --on-new-span"),
        (["--cron", "every night"], "cannot read the cron expression 'every night'"),
        ([*CRON, "--timezone", "Mars"], "unknown time zone 'Mars'"),
        ([*CRON, "--set", "data.span=3"], "chooses the newest span itself"),
        ([*CRON, "--on-push", " "], "a command or an address is empty"),
        (
            [*CRON, "--warm-start", "--set", "train.weights=blessed"],
            "--warm-start and the setting train.weights contradict each other",
        ),
        ([*CRON, "--set", "model.net=resnet_19"], "resnet_19"),
    ],
)
@pytest.mark.parametrize("command", ["tick", "run"])
def test_mistakes_show_before_anything_is_due(tick, options, message, command) -> None:
    code, out, error = tick(*options, command=command)
    assert (code, out) == (2, "")
    assert message in error and "Traceback" not in error


def test_new_spans_need_a_pattern(call, tmp_path) -> None:
    new_span(tmp_path, 1)
    code, _, error = call(
        *("schedule", "tick", "digits_resnet_20", "--on-new-span"),
        *("--data", tmp_path / "digits"),
    )
    assert code == 2 and "--on-new-span needs a pattern of spans" in error


def test_a_look_for_spans_that_are_not_there_ends_with_an_error(call, tmp_path) -> None:
    options = ("--on-new-span", "--data", f"{tmp_path}/digits/{{SPAN}}")
    code, out, error = call("schedule", "tick", "digits_resnet_20", *options)
    assert (code, out) == (4, "")
    assert f"error: no span matches {tmp_path}/digits/{{SPAN}}" in error
    code, out, _ = call("schedule", "tick", "digits_resnet_20", *options, "--json")
    assert code == 4
    assert json.loads(out)["error"]["message"].startswith("no span matches")


def test_two_data_sets_of_one_experiment_are_two_schedules(
    call, tmp_path, program, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(schedule, "_COMMAND", (sys.executable, str(program)))
    for name in ("cats", "dogs"):
        shutil.copytree(contract.ROOT / "digits", tmp_path / "schema" / name)
        (tmp_path / name / "1" / "0").mkdir(parents=True)
    for expected in ("done, version 9 is live", "nothing is due"):
        for name in ("cats", "dogs"):
            code, out, error = call(
                *("schedule", "tick", "folder", "--on-new-span", "--settle", "0"),
                *("--data", f"{tmp_path}/{name}/{{SPAN}}"),
            )
            assert code == 0 and expected in out, error
    assert len(asked(tmp_path / "runs")) == 2
    _, out, _ = call("schedule", "history", "--json")
    assert [row["pipeline"] for row in json.loads(out)["slots"]] == [
        *("folder/cats", "folder/dogs"),
    ]


def test_there_is_no_schedule_yet(call) -> None:
    for command in ("history", "status"):
        code, _, error = call("schedule", command)
        assert code == 2 and "no schedule in runs" in error


@pytest.fixture
def start(warm_forks, tmp_path: pathlib.Path, program: pathlib.Path):
    """Function (*options): `slimline schedule` in a process of its own.

    The program stands in the place of ours.
    """
    code = (
        "import sys; from slimline.cli import main, schedule;"
        f" schedule._COMMAND = (sys.executable, {str(program)!r});"
        " sys.exit(main.main())"
    )
    return lambda *options: warm_forks.start(
        ["python", "-c", code, "schedule", *options],
        tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.fixture
def start_tick(start, tmp_path):
    """Function that starts a look for a new span."""
    new_span(tmp_path, 1)
    (tmp_path / "runs").mkdir()

    def begin():
        return start(
            *("tick", "digits_resnet_20", "--on-new-span", "--settle", "0"),
            *("--data", f"{tmp_path}/digits/{{SPAN}}"),
        )

    return begin


def test_two_processes_and_one_slot(start_tick, tmp_path) -> None:
    (tmp_path / "runs" / "how").write_text("sleep 1")
    looks = [start_tick() for _ in range(3)]
    printed = [look.communicate(timeout=120)[0] for look in looks]
    assert sorted(look.returncode for look in looks)[0] == 0
    assert {look.returncode for look in looks} <= {0, 75}
    assert len(asked(tmp_path / "runs")) == 1
    assert sum("done, version 9 is live" in text for text in printed) == 1
    others = {
        (look.returncode, text.strip())
        for look, text in zip(looks, printed, strict=True)
        if "done" not in text
    }
    assert others <= {
        (75, "waits: slot span 1 is being worked on"),
        (0, "nothing is due"),
    }


def test_a_look_after_kill_9_goes_on(start_tick, tmp_path) -> None:
    (tmp_path / "runs" / "how").write_text("sleep 100")
    look = start_tick()
    end = time.monotonic() + 300
    while not asked(tmp_path / "runs"):
        assert time.monotonic() < end
        time.sleep(0.05)
    os.kill(look.pid, signal.SIGKILL)
    look.communicate(timeout=300)
    (tmp_path / "runs" / "how").write_text("done")
    again = start_tick()
    out, _ = again.communicate(timeout=300)
    assert again.returncode == 0 and "done, version 9 is live" in out
    assert len(asked(tmp_path / "runs")) == 2


@pytest.mark.nightly
@pytest.mark.slow
def test_one_real_minute(start, tmp_path) -> None:
    """A scheduler that stays: trains at the full minute, stops when it is told to."""
    new_span(tmp_path, 1)
    (tmp_path / "runs").mkdir()
    begun = datetime.datetime.now(datetime.UTC)
    scheduler = start(
        *("run", "digits_resnet_20", *CRON, "--settle", "0"),
        *("--data", f"{tmp_path}/digits/{{SPAN}}"),
    )
    first, second = (scheduler.stdout.readline() for _ in range(2))
    scheduler.send_signal(signal.SIGTERM)
    out, _ = scheduler.communicate(timeout=60)
    assert scheduler.returncode == 143, out
    following = first.split()[-1]
    minute = datetime.datetime.fromisoformat(following)
    assert begun <= minute and minute.second == 0
    assert f"slot {following} (span 1) done, version 9 is live" in second
    assert len(asked(tmp_path / "runs")) == 1
