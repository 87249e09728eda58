"""`slimline serve` in a process of its own, for measurements of it from outside."""

import json
import os
import pathlib
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import rounds

BENCHMARKS = pathlib.Path(__file__).parent
WAIT_SECONDS = 180


class Server:
    """`slimline serve` in a process of its own."""

    def __init__(self, root: pathlib.Path):
        """Starts it and waits until it answers."""
        program = "import sys; from slimline.cli.main import main; sys.exit(main())"
        command = [
            sys.executable,
            "-c",
            program,
            "serve",
            "--json",
            "--root",
            str(root),
        ]
        self._log = (root / "server.log").open("w+")
        self._process = subprocess.Popen(
            [*command, "--rest-port", "0", "--grpc-port", "0"],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.rest, self.grpc = self._wait()

    def stop(self) -> int:
        """Its exit code."""
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(WAIT_SECONDS)
        self._log.close()
        return code

    def _wait(self) -> tuple[str, str]:
        for line in self._process.stdout:
            event = json.loads(line)
            if event["event"] == "started":
                return event["rest"], event["grpc"]
        self._log.seek(0)
        raise rounds.BenchmarkError(f"the server ended:\n{self._log.read()[-2000:]}")


def environment() -> dict[str, str]:
    """For processes that import the project."""
    return os.environ | {"PYTHONPATH": str(BENCHMARKS.parent)}


def call_script(script: str, task: dict[str, Any]) -> None:
    """Runs a script of this folder on one JSON argument.

    Raises:
      BenchmarkError: with the end of what it said.
    """
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), json.dumps(task)],
        env=environment(),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-rounds.STDERR_LINES :])
        raise rounds.BenchmarkError(f"{script} ended badly:\n{tail}")


def percentiles(latencies_ms: np.ndarray) -> dict[str, float]:
    """p50 and p99 of float [answers]; empty where nothing was answered."""
    if not len(latencies_ms):
        return {}
    p50, p99 = np.percentile(latencies_ms, (50, 99))
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2)}
