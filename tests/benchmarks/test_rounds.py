"""Turns and statistics, on workers that answer what their task says."""

import contextlib
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import rounds

FAKE = pathlib.Path(__file__).parent / "fake_worker.py"


def contender(name: str, **task: Any) -> rounds.Contender:
    return rounds.Contender(
        name, [sys.executable, str(FAKE)], {"seconds": [], "loss": 1.0} | task
    )


def compete(*contenders: rounds.Contender, **options: Any) -> dict[str, dict[str, Any]]:
    return rounds.compete(
        contenders, rounds=3, batch_size=10, settle_seconds=0, **options
    )


def test_speed_is_the_median_of_the_rounds() -> None:
    summaries = compete(contender("ours", seconds=[4.0, 1.0, 2.0]), steps=4)
    assert summaries["ours"]["images_per_second"] == 20
    assert summaries["ours"]["lowest"] == 10
    assert summaries["ours"]["highest"] == 40
    assert summaries["ours"]["round_seconds"] == [4, 1, 2]
    assert summaries["ours"]["versions"] == {"fake": "1"}


def test_contenders_take_turns(capsys: pytest.CaptureFixture[str]) -> None:
    compete(contender("ours", seconds=[1.0] * 3), contender("them", seconds=[2.0] * 3))
    turns = [
        line.split(":")[0].strip()
        for line in capsys.readouterr().out.splitlines()
        if "round" in line and "images/s" in line
    ]
    assert turns == [
        f"round {number}, {name}" for number in (1, 2, 3) for name in ("ours", "them")
    ]


@pytest.mark.parametrize(
    ("step_seconds", "multiple_of", "steps"),
    [(0.5, 1, 12), (0.5, 10, 20), (100.0, 1, 2), (100.0, 20, 20)],
)
def test_steps_of_a_round(step_seconds: float, multiple_of: int, steps: int) -> None:
    assert rounds.steps_of_round(step_seconds, multiple_of) == steps


def test_a_round_is_of_whole_epochs() -> None:
    summaries = compete(contender("ours", seconds=[1.0] * 3), whole_epochs=True)
    assert summaries["ours"]["steps"] == 20


def test_ratio_is_to_the_best_mode() -> None:
    speeds = {"ours": 30.0, "torch:eager": 10.0, "torch:compiled": 20.0, "keras": 15.0}
    summaries = {name: {"images_per_second": speed} for name, speed in speeds.items()}
    ratios = rounds.ratios(summaries, "ours")
    assert ratios["keras"] == {"ratio": 2.0, "best": "", "by_mode": {"": 2.0}}
    assert ratios["torch"]["best"] == "compiled"
    assert ratios["torch"]["ratio"] == 1.5
    assert ratios["torch"]["by_mode"] == {"eager": 3.0, "compiled": 1.5}


def test_a_worker_that_fails_is_named_with_its_last_words() -> None:
    with pytest.raises(
        rounds.BenchmarkError, match=r"worker of them ended too soon:\nno memory"
    ):
        compete(contender("them", failure="no memory"))


def test_a_loss_that_is_not_finite_stops() -> None:
    with pytest.raises(rounds.BenchmarkError, match="them: the loss is nan"):
        compete(contender("them", seconds=[1.0], loss=float("nan")))


def test_workers_end_with_a_benchmark_that_is_killed(tmp_path: pathlib.Path) -> None:
    script = tmp_path / "stuck_worker.py"
    script.write_text(
        "import os, pathlib, sys, time\n"
        f"sys.path.append({str(pathlib.Path(rounds.__file__).parent)!r})\n"
        "import worker_protocol\n"
        "def make(task):\n"
        f"    pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n"
        "    time.sleep(300)\n"
        "worker_protocol.serve(make)\n"
    )
    benchmark = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import rounds, sys\n"
            f"rounds.Worker(rounds.Contender('stuck', [sys.executable, {str(script)!r}], {{}}))",
        ],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    pid = _wait_for(lambda: (tmp_path / "pid").read_text())
    benchmark.kill()
    benchmark.wait()
    _wait_for(lambda: not pathlib.Path(f"/proc/{pid}").exists())


def _wait_for(look: Callable[[], Any]) -> Any:
    for _ in range(600):
        with contextlib.suppress(FileNotFoundError):
            if found := look():
                return found
        time.sleep(0.1)
    raise AssertionError("it never came")
