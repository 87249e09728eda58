"""The worker's side of a benchmark: builds once, then one round for each line of stdin.

A worker gets its task as JSON in its first argument and answers in JSON lines: first what
it built and how long a step takes, then a line a round. It does nothing between rounds.
"""

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

# Runs so many training steps and returns the last loss.
RunSteps = Callable[[int], float]
# Makes, of the task, what to report (versions, parameters) and the function that trains.
Make = Callable[[dict[str, Any]], tuple[dict[str, Any], RunSteps]]

# The first step compiles; the second may still allocate.
WARM_UP_STEPS = 2
CALIBRATION_SECONDS = 1.5
# Environment variable with the process id of the benchmark.
PARENT = "SLIMLINE_BENCHMARK_PID"
_SET_PARENT_DEATH_SIGNAL = 1  # prctl(2)


def serve(make: Make) -> None:
    """Answers until stdin ends, or whoever asks is killed."""
    _end_with_parent()
    # What libraries print must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(content: dict[str, Any]) -> None:
        print(json.dumps(content), file=answers, flush=True)

    start = time.perf_counter()
    facts, run_steps = make(json.loads(sys.argv[1]))
    run_steps(WARM_UP_STEPS)
    build_seconds = time.perf_counter() - start
    answer(
        facts
        | {"build_seconds": build_seconds, "step_seconds": _step_seconds(run_steps)}
    )
    for line in sys.stdin:
        request = json.loads(line)
        # Untimed: caches and prefetched batches are as in the midst of a training.
        run_steps(request["lead_steps"])
        start, cpu_start = time.perf_counter(), time.process_time()
        loss = run_steps(request["steps"])
        seconds = time.perf_counter() - start
        cpu_seconds = time.process_time() - cpu_start
        answer({"seconds": seconds, "cpu_seconds": cpu_seconds, "loss": loss})


def _end_with_parent() -> None:
    """In the worker: in the parent, between fork and exec, threads of gRPC are in the way."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != int(os.environ.get(PARENT, os.getppid())):
        sys.exit("the benchmark has ended")


def _step_seconds(run_steps: RunSteps) -> float:
    """Seconds of a step, roughly; to choose the length of a round by."""
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < CALIBRATION_SECONDS:
        run_steps(1)
        steps += 1
    return (time.perf_counter() - start) / steps
