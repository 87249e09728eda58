"""A run that is steered, killed and given again, as a user does it."""

import csv
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

pytestmark = pytest.mark.e2e

RUN = [
    *("slimline", "run", "--plain", "--set", "train.steps=100000"),
    *("--set", "model.net=mlp_bn"),
    *("--set", "train.eval_every_epochs=1", "--set", "evaluation.min_top_1=0"),
    *("--set", "evaluation.beats_guessing=false"),
]


@pytest.fixture
def slimline(tmp_path: pathlib.Path, warm_forks):
    """Function (*arguments) that runs a command to its end."""
    environment = {**os.environ, "HOME": str(tmp_path)}
    return lambda *arguments: warm_forks.run(
        ["slimline", *arguments], tmp_path, environment
    )


@pytest.fixture
def start(tmp_path: pathlib.Path, warm_forks):
    """Function () -> a long run that has measured twice, and more often than one before it.

    A run that was killed leaves its measurements; the note of the new run says that it
    trains itself. None outlives the test, however it ends.
    """
    started = []

    def measured() -> int:
        histories = list(tmp_path.glob("runs/*/train/unfinished/*/history.csv"))
        return len(histories[0].read_text().splitlines()) if histories else 0

    def begin():
        before, fewest = set(tmp_path.glob("runs/*/training_folder")), measured()
        run = warm_forks.start(
            RUN,
            tmp_path,
            {**os.environ, "HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
        )
        started.append(run)
        for _ in range(1200):
            trains = set(tmp_path.glob("runs/*/training_folder")) - before
            if trains and measured() > max(2, fewest):
                return run
            assert run.poll() is None
            time.sleep(0.1)
        raise AssertionError("no training within two minutes")

    yield begin
    for run in started:
        run.kill()
        run.wait()


@pytest.mark.parametrize(
    "ends",
    [
        {signal.SIGTERM: 143},
        pytest.param(
            {signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL},
            marks=pytest.mark.nightly,
        ),
    ],
    ids=["ended", "ended and killed"],
)
def test_steered_ended_and_given_again(
    tmp_path: pathlib.Path, slimline, start, ends: dict[int, int]
) -> None:
    run = start()
    steered = slimline("control", "--rate", "0.005", "--save")
    assert steered.stdout == "done: rate 0.005, save True\n", steered.stderr
    for number, code in ends.items():
        run.send_signal(number)
        run.communicate(timeout=60)
        assert run.returncode == code
        run = start()

    stopped = slimline("control", "--stop")
    assert stopped.returncode == 0, stopped.stderr
    out, _ = run.communicate(timeout=300)
    assert run.returncode == 0, out

    (folder,) = [path.parent for path in tmp_path.glob("runs/*/summary.json")]
    log = (folder / "log.txt").read_text()
    assert "resuming from step" in log
    assert "resumed at" in log
    logs = [path.read_text() for path in tmp_path.glob("runs/20*/log.txt")]
    assert len(logs) == len(ends) + 1
    assert sum("resuming from step" in log for log in logs) == len(ends)
    summary = json.loads((folder / "summary.json").read_text())
    assert 0 < summary["steps"] < 100_000
    with (folder / "actions.csv").open() as file:
        actions = [(row["action"], row["value"]) for row in csv.DictReader(file)]
    assert ("rate", "0.005") in actions
    assert actions[-1] == ("stop", "True")
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    assert steps == sorted(set(steps))
    # The rate that was set by hand before the kill holds until the end.
    assert float(rows[-1]["learning_rate"]) == pytest.approx(0.005)
    assert list((tmp_path / "runs").glob("*/train/unfinished/*")) == []

    over = slimline("control", "--save")
    assert over.returncode == 2
    assert "is over" in over.stderr
