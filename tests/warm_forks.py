"""Commands as forks of one process that has imported everything.

Imports take most of a small command's time: five to ten seconds for TFX. A fork has its own
arguments, folder, environment, standard streams and exit code, and ends as an interpreter
ends. What it cannot show is that a command imports what it needs and prints nothing while it
imports; `test_warm_forks.py` compares both kinds, and some tests keep the real command.

Usage: warm_forks.py serve SOCKET_NUMBER WATCH_NUMBER for the server;
warm_forks.py run ADDRESS WORD... runs a command in a fork, in place of that command.
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
import tempfile
import threading
import time
import types
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


class Forks:
    """Starts `slimline ...` and `python ...` by a server that runs.

    Attributes:
      address: of the server's socket.
    """

    def __init__(self, address: str):
        self.address = address
        self._process: subprocess.Popen[str] | None = None
        self._printed: list[str] = []

    def command(self, *words: str) -> tuple[str, ...]:
        """A command that does what `words` do, for what starts commands by itself."""
        return command_of(self.address, *words)

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
        environment = dict(os.environ if variables is None else variables)
        try:
            status = ask(self.address, words, str(folder), environment, given)
            return Fork(words, status, *streams)
        except (OSError, ValueError):
            if self._process:
                self._process.wait(60)
            raise AssertionError("".join(self._printed)[-4000:]) from None
        finally:
            for number in given:
                os.close(number)

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


class WarmForks(Forks):
    """A server, and what it starts; a context that ends the server."""

    def __init__(self) -> None:
        super().__init__("")

    def __enter__(self) -> "WarmForks":
        self._folder = tempfile.TemporaryDirectory(prefix="warm-")
        self.address = str(pathlib.Path(self._folder.name) / "socket")
        # The server ends when the other end of `watched` is closed, by whatever kill.
        watched, self._ends = os.pipe()
        # Python's own switches are read once, when an interpreter starts.
        environment = {**os.environ}
        environment.pop("PYTHONUNBUFFERED", None)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.address)
            listener.listen(64)
            numbers = [listener.fileno(), watched]
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, "serve", *map(str, numbers)],
                pass_fds=numbers,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        os.close(watched)
        assert self._process.stderr
        # What importing prints is shown where importing fails.
        threading.Thread(
            target=lambda: self._printed.extend(self._process.stderr), daemon=True
        ).start()
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._ends)
        self._process.wait()
        self._folder.cleanup()


def command_of(address: str, *words: str) -> tuple[str, ...]:
    """The command line that runs `words` in a fork of the server at an address."""
    return sys.executable, "-I", "-S", __file__, "run", address, *words


def ask(
    address: str,
    words: Sequence[str],
    folder: str,
    variables: Mapping[str, str],
    streams: Sequence[int],
) -> IO[str]:
    """Has the server start a command; where its pid, and then its exit code, can be read.

    Who closes that file before the command has ended, kills the command.
    """
    status, tells = os.pipe()
    request = json.dumps([list(words), folder, dict(variables)]).encode()
    assert len(request) < MAX_REQUEST_BYTES
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        head = len(request).to_bytes(4, "big")
        socket.send_fds(connection, [head], [*streams, tells])
        connection.sendall(request)
    os.close(tells)
    return os.fdopen(status)


def run_in_place(address: str, words: Sequence[str]) -> int:
    """Runs a command with the streams, folder, environment and signals of this process."""
    variables = dict(os.environ)
    with ask(address, words, str(pathlib.Path.cwd()), variables, (0, 1, 2)) as status:
        pid = int(status.readline())
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.kill(pid, number))
        code = int(status.readline())
    if code < 0:
        with contextlib.suppress(OSError):  # nothing catches SIGKILL
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def import_all() -> None:
    """Imports every module of ours, and with them what they need."""
    for package in PACKAGES:
        paths = importlib.import_module(package).__path__
        for module in pkgutil.walk_packages(paths, f"{package}."):
            if module.name not in NOT_IMPORTED:
                importlib.import_module(module.name)
    for name in ALSO_IMPORTED:
        importlib.import_module(name)


def serve(listener: socket.socket, watched: int) -> None:
    """Forks for each request; goes on as the command in a fork of the fork.

    The one between waits, so that it tells the end of the command whenever that comes.
    """
    address = listener.getsockname()
    while True:
        ready, _, _ = select.select([listener, watched], [], [])
        if watched in ready:
            return
        connection, _ = listener.accept()
        with connection:
            head, given, _, _ = socket.recv_fds(connection, 4, 4)
            words, folder, variables = json.loads(
                connection.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
            )
        waits = os.fork()
        if not waits:
            listener.close()
            os.close(watched)
            command = os.fork()
            if not command:
                os.close(given[3])
                break
            for number in given[:3]:
                os.close(number)
            tell(command, given[3])
            os._exit(0)
        for number in given:
            os.close(number)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
    become(address, words, folder, variables, given[:3])


def tell(command: int, tells: int) -> None:
    """Writes the pid of a command and its exit code; kills it where nobody reads them."""
    os.write(tells, b"%d\n" % command)
    ends = os.pidfd_open(command)
    watch = select.poll()
    watch.register(ends, select.POLLIN)
    watch.register(tells, 0)
    if ends not in [number for number, _ in watch.poll()]:
        os.kill(command, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        os.write(tells, b"%d\n" % code)


def become(
    address: str,
    words: list[str],
    folder: str,
    variables: dict[str, str],
    streams: list[int],
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
    fork_probes(address)
    if words[0] == "slimline":
        from slimline.cli.main import main

        sys.argv = list(words)
        sys.exit(main())
    assert words[0] == "python", words
    if words[1] == "-m":
        sys.argv = words[2:]
        # Else runpy warns that it is there already.
        sys.modules.pop(words[2], None)
        runpy.run_module(words[2], run_name="__main__", alter_sys=True)
    elif words[1] == "-c":
        sys.argv = ["-c", *words[3:]]
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(words[2], vars(sys.modules["__main__"]))
    else:
        sys.argv = words[1:]
        sys.path.insert(0, str(pathlib.Path(words[1]).parent))
        runpy.run_path(words[1], run_name="__main__")


def fork_probes(address: str) -> None:
    """The check of a served model, which runs start as a process, is forked, too."""
    from components.infra_check import fresh_process

    *_, module = fresh_process.COMMAND
    words = ("python", "-m", module)
    fresh_process.COMMAND = command_of(address, *words)


if __name__ == "__main__":
    if sys.argv[1] == "run":
        sys.exit(run_in_place(sys.argv[2], sys.argv[3:]))
    import_all()
    gc.freeze()
    serve(socket.socket(fileno=int(sys.argv[2])), int(sys.argv[3]))
