"""Commands as forks of one process that has imported everything.

Imports take most of a small command's time: five to ten seconds for TFX. A fork has its own
arguments, folder, environment, standard streams and exit code, and ends as an interpreter
ends. What it cannot show is that a command imports what it needs and prints nothing while it
imports; `test_warm_forks.py` compares both kinds, and some tests keep the real command.
"""

import contextlib
import gc
import importlib
import json
import os
import pathlib
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO

PACKAGES = (
    *("schema", "components", "trainer", "data_check", "report"),
    *("pipeline", "serving", "slimline"),
)
# Has an environment of its own, or needs one of a container.
NOT_IMPORTED = {"pipeline.airflow_runner"}
ALSO_IMPORTED = ("tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor",)
MAX_REQUEST_BYTES = 1 << 20


class Fork:
    """A command that was started; the part of `subprocess.Popen` that tests use.

    Attributes:
      args: the command. pid: of its process.
      stdout: text that it prints, where a pipe was asked for, or None. stderr: likewise.
      returncode: None until its end is known; negative for a signal.
    """

    def __init__(
        self,
        args: Sequence[str],
        status: IO[str],
        stdout: IO[str] | None,
        stderr: IO[str] | None,
    ):
        self.args = list(args)
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None
        self._status = status
        self.pid = int(status.readline())

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self._end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, after the end.

        Raises:
          subprocess.TimeoutExpired: it runs for longer.
        """
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self._end()
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """All that it still prints, after the end; '' for what is no pipe.

        Raises:
          subprocess.TimeoutExpired: it runs for longer.
        """
        end = None if timeout is None else time.monotonic() + timeout
        printed = ["", ""]

        def read(place: int, stream: IO[str]) -> None:
            printed[place] = stream.read()
            stream.close()

        readers = [
            threading.Thread(target=read, args=(place, stream), daemon=True)
            for place, stream in enumerate((self.stdout, self.stderr))
            if stream is not None and not stream.closed
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(None if end is None else max(0, end - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(None if end is None else max(0, end - time.monotonic()))
        return printed[0], printed[1]

    def send_signal(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Sends SIGKILL, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def _end(self) -> None:
        self.returncode = int(self._status.readline())
        self._status.close()


class WarmForks:
    """Starts `slimline ...` and `python -m MODULE ...`; a context that ends the server."""

    def __enter__(self) -> "WarmForks":
        self._socket, theirs = socket.socketpair()
        # Python's own switches are read once, when an interpreter starts.
        environment = {**os.environ}
        environment.pop("PYTHONUNBUFFERED", None)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert self._process.stderr
        # What importing prints is shown where importing fails.
        self._printed: list[str] = []
        threading.Thread(
            target=lambda: self._printed.extend(self._process.stderr), daemon=True
        ).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()
        self._process.wait()

    def start(
        self,
        words: Sequence[str],
        folder: pathlib.Path,
        variables: Mapping[str, str] | None = None,
        *,
        stdout: int = subprocess.DEVNULL,
        stderr: int = subprocess.DEVNULL,
    ) -> Fork:
        """Starts a command.

        Args:
          words: the command; its first word is 'slimline' or 'python'.
          folder: in which it runs.
          variables: its whole environment; None takes that of this process.
          stdout: file descriptor, or a constant of `subprocess`. stderr: likewise.
        """
        streams: list[IO[str] | None] = []
        given = [os.open(os.devnull, os.O_RDONLY)]
        for place in (stdout, stderr):
            stream = None
            if place == subprocess.PIPE:
                reads, writes = os.pipe()
                stream = os.fdopen(reads, encoding="utf-8")
            elif place == subprocess.STDOUT:
                writes = os.dup(given[1])
            elif place == subprocess.DEVNULL:
                writes = os.open(os.devnull, os.O_WRONLY)
            else:
                writes = os.dup(place)
            streams.append(stream)
            given.append(writes)
        status, tells = os.pipe()
        given.append(tells)
        environment = dict(os.environ if variables is None else variables)
        request = json.dumps([list(words), str(folder), environment]).encode()
        assert len(request) < MAX_REQUEST_BYTES
        socket.send_fds(self._socket, [len(request).to_bytes(4, "big")], given)
        self._socket.sendall(request)
        for number in given:
            os.close(number)
        try:
            return Fork(words, os.fdopen(status), *streams)
        except ValueError:
            self._process.wait(60)
            raise AssertionError("".join(self._printed)[-4000:]) from None

    def run(
        self,
        words: Sequence[str],
        folder: pathlib.Path,
        variables: Mapping[str, str] | None = None,
        *,
        timeout: float = 600,
    ) -> subprocess.CompletedProcess:
        """Runs a command to its end; gives what `subprocess.run` gives."""
        fork = self.start(
            words, folder, variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            out, err = fork.communicate(timeout)
        except subprocess.TimeoutExpired:
            fork.kill()
            raise
        return subprocess.CompletedProcess(list(words), fork.wait(), out, err)


def import_all() -> None:
    """Imports every module of ours, and with them what they need."""
    for package in PACKAGES:
        paths = importlib.import_module(package).__path__
        for module in pkgutil.walk_packages(paths, f"{package}."):
            if module.name not in NOT_IMPORTED:
                importlib.import_module(module.name)
    for name in ALSO_IMPORTED:
        importlib.import_module(name)


def serve(connection: socket.socket) -> None:
    """Forks for each request; goes on as the command in a fork of the fork.

    The one between waits, so that it tells the end of the command whenever that comes.
    """
    while True:
        head, given, _, _ = socket.recv_fds(connection, 4, 4)
        if not head:
            return
        words, folder, variables = json.loads(
            connection.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
        )
        waits = os.fork()
        if not waits:
            connection.close()
            command = os.fork()
            if not command:
                os.close(given[3])
                break
            for number in given[:3]:
                os.close(number)
            with os.fdopen(given[3], "w") as tells:
                print(command, file=tells, flush=True)
                _, ended = os.waitpid(command, 0)
                print(os.waitstatus_to_exitcode(ended), file=tells, flush=True)
            os._exit(0)
        for number in given:
            os.close(number)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
    become(words, folder, variables, given[:3])


def become(
    words: list[str], folder: str, variables: dict[str, str], streams: list[int]
) -> None:
    """Runs a command in this process, which then ends with its exit code."""
    for place, number in enumerate(streams):
        os.dup2(number, place)
        os.close(number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    time.tzset()
    given = filter(None, variables.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:0] = [path for path in given if path not in sys.path]
    if words[0] == "slimline":
        from slimline.cli.main import main

        sys.argv = list(words)
        sys.exit(main())
    assert words[:2] == ["python", "-m"], words
    sys.argv = words[2:]
    # Else runpy warns that it is there already.
    sys.modules.pop(words[2], None)
    runpy.run_module(words[2], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    import_all()
    gc.freeze()
    serve(socket.socket(fileno=int(sys.argv[1])))
