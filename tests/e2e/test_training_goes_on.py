"""A run that is steered, killed and given again, as a user does it."""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

pytestmark = pytest.mark.e2e

BIN = pathlib.Path(sys.executable).parent
RUN = [
    *("run", "--plain", "--set", "train.steps=100000"),
    *("--set", "train.eval_every_epochs=1", "--set", "evaluation.min_top_1=0"),
    *("--set", "evaluation.beats_guessing=false"),
]


def slimline(folder: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(BIN / "slimline"), *arguments],
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen]]:
    """Processes that must not outlive the test, however it ends."""
    processes: list[subprocess.Popen] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def start(folder: pathlib.Path, started: list[subprocess.Popen]) -> subprocess.Popen:
    """A long run, when its training goes on and has measured twice.

    A run that was killed before leaves its measurements, but the note of the new run says
    that it trains itself.
    """
    before = set(folder.glob("runs/*/training_folder"))
    process = subprocess.Popen(
        [str(BIN / "slimline"), *RUN],
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    started.append(process)
    for _ in range(1200):
        histories = list(folder.glob("runs/*/train/unfinished/*/history.csv"))
        trains = set(folder.glob("runs/*/training_folder")) - before
        if trains and histories and len(histories[0].read_text().splitlines()) > 2:
            return process
        assert process.poll() is None
        time.sleep(0.1)
    raise AssertionError("no training within two minutes")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143)]
)
def test_steered_ended_and_given_again(
    tmp_path: pathlib.Path, started, number: signal.Signals, code: int
) -> None:
    first = start(tmp_path, started)
    steered = slimline(tmp_path, "control", "--rate", "0.005", "--save")
    assert steered.stdout == "done: rate 0.005, save True\n", steered.stderr
    first.send_signal(number)
    first.communicate(timeout=60)
    assert first.returncode == code

    second = start(tmp_path, started)
    stopped = slimline(tmp_path, "control", "--stop")
    assert stopped.returncode == 0, stopped.stderr
    out, _ = second.communicate(timeout=300)
    assert second.returncode == 0, out

    (folder,) = [path.parent for path in tmp_path.glob("runs/*/summary.json")]
    log = (folder / "log.txt").read_text()
    assert "resuming from step" in log
    assert "resumed at" in log
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

    over = slimline(tmp_path, "control", "--save")
    assert over.returncode == 2
    assert "is over" in over.stderr
