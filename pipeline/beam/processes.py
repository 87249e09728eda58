"""Processes for the Beam jobs of a run: a pool of workers, and a job service.

Both watch a pipe to the process that started them, and end with it however it ends. Beam's
runners and workers find them by environment variables, so that the arguments of a job are
the same in every run.
"""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

POOL_VARIABLE = "SLIMLINE_WORKER_POOL"
SERVICE_VARIABLE = "SLIMLINE_JOB_SERVICE"
END_SECONDS = 10.0


@contextlib.contextmanager
def worker_pool() -> Iterator[None]:
    """Runs a pool of workers during the block, unless this process has one."""
    if POOL_VARIABLE in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="slimline-") as folder:
        path = str(pathlib.Path(folder) / "pool")
        with _running("pipeline.beam.worker_pool", "serve", path) as process:
            _first_line(process)
            with _variable(POOL_VARIABLE, path):
                yield


@contextlib.contextmanager
def job_service() -> Iterator[None]:
    """Runs Beam's job service during the block, with workers from the pool."""
    if SERVICE_VARIABLE in os.environ:
        yield
        return
    with (
        _running("pipeline.beam.job_service") as process,
        _variable(SERVICE_VARIABLE, _first_line(process)),
    ):
        yield


def worker_command() -> str:
    """Shell command of a worker, as a runner starts it."""
    return f"{sys.executable} -P -m pipeline.beam.worker_pool work"


@contextlib.contextmanager
def _running(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = _start(module, arguments)
    try:
        yield process
    finally:
        if process.stdin:
            process.stdin.close()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with those that it started
            process.wait()
        if process.stdout:
            process.stdout.close()


def _start(module: str, arguments: Sequence[str]) -> subprocess.Popen[str]:
    # -P: a folder of the same name in the working directory must not hide our package. In
    # a session of its own Ctrl-C reaches only the run, which then ends the process.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _first_line(process: subprocess.Popen[str]) -> str:
    """The line that the process prints when it is ready.

    Raises:
      RuntimeError: it has ended.
    """
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise RuntimeError(
            f"{' '.join(map(str, process.args[3:]))} ended with code {process.wait()}"  # type: ignore[index]
        )
    return line.strip()


@contextlib.contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
