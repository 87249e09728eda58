"""Contenders in worker processes that take turns, and the statistics of their rounds."""

import dataclasses
import json
import math
import os
import pathlib
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import worker_protocol

ROOT = pathlib.Path(__file__).parents[1]
ROUND_SECONDS = 6.0
# Between two rounds: what the last one left to finish (threads, prefetching) does so.
SETTLE_SECONDS = 0.5
# A worker that has nothing more to do may take so long to end.
END_SECONDS = 10.0
STDERR_LINES = 15


class BenchmarkError(Exception):
    """Why a benchmark cannot go on, in a sentence."""


@dataclasses.dataclass(frozen=True)
class Contender:
    """Who competes.

    Attributes:
      name: as in 'torch:compiled'; what stands before the colon is the peer.
      command: starts the worker; its task is added as JSON.
      task: what the worker builds.
      environment: variables set for the worker.
    """

    name: str
    command: Sequence[str]
    task: Mapping[str, Any]
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Worker:
    """A running contender: built and warm, idle unless asked for a round."""

    def __init__(self, contender: Contender) -> None:
        """Starts it and waits until it is warm.

        Raises:
          BenchmarkError: it ended before.
        """
        self.name = contender.name
        # Open as long as the process: SIM115 has no eye for that.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [*contender.command, json.dumps(dict(contender.task))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ
            | {
                "PYTHONPATH": str(ROOT),
                "TF_CPP_MIN_LOG_LEVEL": "2",
                worker_protocol.PARENT: str(os.getpid()),
            }
            | dict(contender.environment),
        )
        self.facts = self._answer()
        self.steps = 0
        self.rounds: list[dict[str, Any]] = []
        self.idle_cpu_seconds = 0.0

    def run(self, lead_steps: int) -> None:
        """One round of `self.steps` steps, after untimed ones.

        Raises:
          BenchmarkError: the worker ended, or its loss is not finite.
        """
        request = {"steps": self.steps, "lead_steps": lead_steps}
        if self._process.stdin:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        answer = self._answer()
        if not math.isfinite(answer["loss"]):
            raise BenchmarkError(f"{self.name}: the loss is {answer['loss']}")
        self.rounds.append(answer)

    def cpu_seconds(self) -> float:
        """Processor time it has used so far; 0 where the system does not tell."""
        try:
            text = pathlib.Path(f"/proc/{self._process.pid}/stat").read_text()
        except OSError:
            return 0.0
        # The name in brackets may hold spaces; user and system time are fields 14, 15.
        fields = text.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """Ends the process: by itself, else by force."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._errors.close()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            self._process.wait()
            self._errors.seek(0)
            tail = "".join(self._errors.readlines()[-STDERR_LINES:])
            raise BenchmarkError(f"the worker of {self.name} ended too soon:\n{tail}")
        return json.loads(line)


def compete(
    contenders: Sequence[Contender],
    *,
    rounds: int,
    batch_size: int,
    steps: int = 0,
    whole_epochs: bool = False,
    lead_steps: int = 1,
    settle_seconds: float = SETTLE_SECONDS,
) -> dict[str, dict[str, Any]]:
    """Builds all contenders, then lets them run their rounds in turn.

    Args:
      contenders: in the order of their turns.
      rounds: of each contender.
      batch_size: images a step.
      steps: of a round; 0 takes so many that a contender's round lasts about
        `ROUND_SECONDS`.
      whole_epochs: a round whose steps are not set is as many epochs, of which each
        worker's facts give the `steps_per_epoch`.
      lead_steps: run before each round without being timed.
      settle_seconds: pause before each round.

    Returns:
      Name -> summary (`summarise`), with what the worker says of itself.

    Raises:
      BenchmarkError: a worker failed.
    """
    workers: list[Worker] = []
    try:
        for contender in contenders:
            worker = Worker(contender)
            workers.append(worker)
            worker.steps = steps or steps_of_round(
                worker.facts["step_seconds"],
                worker.facts["steps_per_epoch"] if whole_epochs else 1,
            )
            print(
                f"  {worker.name}: built and warm after"
                f" {worker.facts['build_seconds']:.0f} s, rounds of {worker.steps} steps",
                flush=True,
            )
        busy_seconds = dict.fromkeys((worker.name for worker in workers), 0.0)
        for number in range(1, rounds + 1):
            for worker in workers:
                others = [other for other in workers if other is not worker]
                time.sleep(settle_seconds)
                before = [other.cpu_seconds() for other in others]
                start = time.perf_counter()
                worker.run(lead_steps)
                seconds = time.perf_counter() - start
                for other, then in zip(others, before, strict=True):
                    other.idle_cpu_seconds += other.cpu_seconds() - then
                    busy_seconds[other.name] += seconds
                speed = worker.steps * batch_size / worker.rounds[-1]["seconds"]
                print(
                    f"  round {number}, {worker.name}: {speed:.1f} images/s", flush=True
                )
        return {
            worker.name: worker.facts
            | summarise(worker.rounds, worker.steps, batch_size)
            | {
                # Of one core, while others had their turn.
                "idle_cpu_share": worker.idle_cpu_seconds
                / max(busy_seconds[worker.name], 1e-9)
            }
            for worker in workers
        }
    finally:
        for worker in workers:
            worker.close()


def steps_of_round(step_seconds: float, multiple_of: int = 1) -> int:
    """Steps that last about `ROUND_SECONDS`, at least 2, rounded up to `multiple_of`."""
    steps = max(2, round(ROUND_SECONDS / step_seconds))
    return -(-steps // multiple_of) * multiple_of


def summarise(
    rounds: Sequence[Mapping[str, float]], steps: int, batch_size: int
) -> dict[str, Any]:
    """Median speed of `rounds`, with every round beside it."""
    speeds = [steps * batch_size / each["seconds"] for each in rounds]
    return {
        "steps": steps,
        "images_per_second": statistics.median(speeds),
        "lowest": min(speeds),
        "highest": max(speeds),
        "round_seconds": [each["seconds"] for each in rounds],
        "round_cpu_seconds": [each["cpu_seconds"] for each in rounds],
        "last_loss": rounds[-1]["loss"],
    }


def ratios(
    summaries: Mapping[str, Mapping[str, Any]], of: str
) -> dict[str, dict[str, Any]]:
    """How many times faster `of` is than each peer, by the peer's best mode.

    Args:
      summaries: name -> summary; names are 'peer' or 'peer:mode'.
      of: name of the contender to compare with the others.

    Returns:
      Peer -> `ratio` (median of `of` over the median of the best mode), `best` (that mode,
      '' where there is one only) and `by_mode`.
    """
    own = summaries[of]["images_per_second"]
    by_peer: dict[str, dict[str, float]] = {}
    for name, summary in summaries.items():
        if name != of:
            peer, _, mode = name.partition(":")
            by_peer.setdefault(peer, {})[mode] = own / summary["images_per_second"]
    found = {}
    for peer, by_mode in by_peer.items():
        best = min(by_mode, key=lambda mode: by_mode[mode])
        found[peer] = {"ratio": by_mode[best], "best": best, "by_mode": by_mode}
    return found
