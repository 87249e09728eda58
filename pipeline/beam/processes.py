"""Processes beside a run that its Beam jobs work in: a pool of workers, a job service.

Both end with the process that started them, however that ends: they watch its end of a
pipe. Environment variables tell Beam's runners, and the workers that they start, where the
two are; so the arguments of a job are the same in every run.
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
    """Keeps a pool of workers, or uses the one that this process has already."""
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
    """Keeps Beam's own job service, whose workers come from the pool."""
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
    # -P: a folder of the name in the working directory must not hide ours. A session of
    # its own: Ctrl-C is for the run, which ends the process then.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _first_line(process: subprocess.Popen[str]) -> str:
    """What the process says when it is ready.

    Raises:
      RuntimeError: it ended before.
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
