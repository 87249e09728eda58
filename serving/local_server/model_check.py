"""The server's side of the check: asks the process, and remembers.

A check that crashes, hangs or runs out of memory is a refusal like another; the next one
finds a new process.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import grpc

from schema import manifest, signals

# -P: a folder named like one of our packages where the server was started must not win.
COMMAND = (sys.executable, "-P", "-m", "serving.local_server.check_process")
MAX_SIGNS = 200
END_SECONDS = 5.0
_STARTING = "its process started"
_OVER: dict[str, Any] = {}


@dataclasses.dataclass(frozen=True)
class Checked:
    """Outcome of a check.

    Attributes:
      code: OK, or why the version is refused, as TensorFlow Serving spells it.
      reason: '' or a sentence.
      notes: what could not be checked, a sentence each.
    """

    code: grpc.StatusCode = grpc.StatusCode.OK
    reason: str = ""
    notes: tuple[str, ...] = ()

    @property
    def is_refused(self) -> bool:
        """Whether the version must not be served."""
        return self.code is not grpc.StatusCode.OK

    @property
    def may_pass_later(self) -> bool:
        """Whether it is the machine that may be at fault: busy, or out of memory."""
        return self.code in (
            grpc.StatusCode.DEADLINE_EXCEEDED,
            grpc.StatusCode.INTERNAL,
        )


def fingerprint(folder: pathlib.Path) -> str:
    """What stands for the content of a version, without reading its weights.

    Names, sizes and times of its files, and its manifest. What is written beside the model
    later on, as its card in `assets.extra`, changes nothing.
    """
    digest = hashlib.sha256()
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = pathlib.Path(parent, name)
            shown = path.relative_to(folder).as_posix()
            if not shown.startswith(f"{manifest.EXTRA_FOLDER}/"):
                status = path.lstat()
                digest.update(
                    f"{shown}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(
                        errors="surrogateescape"
                    )
                )
    if manifest.exists(folder):
        digest.update(manifest.digest(folder).encode())
    return digest.hexdigest()


class ModelCheck:
    """Checks versions one after another; to be called by one thread, but for `stop`."""

    def __init__(self, timeout_seconds: float):
        """Starts nothing yet.

        Args:
          timeout_seconds: of a check; starting the process may take as long again.
        """
        self._timeout_seconds = timeout_seconds
        self._process: _Process | None = None
        self._remembered: dict[tuple[pathlib.Path, str], Checked] = {}
        self._used_at = 0.0
        self._is_stopped = False

    def check(self, folder: pathlib.Path, content: str) -> Checked:
        """Outcome for a version; takes seconds, or as long as the timeout.

        Args:
          folder: of the version.
          content: its fingerprint. The outcome for the same content is remembered, unless
            it may be another one later.
        """
        key = (folder, content)
        if key in self._remembered:
            return self._remembered[key]
        checked = self._ask(folder)
        if not self._is_stopped and not checked.may_pass_later:
            self._remembered[key] = checked
        return checked

    def end_if_idle(self, idle_seconds: float) -> None:
        """Ends the process where it had nothing to do for so long; the next check starts one.

        It would keep some hundred megabytes between two pushes.
        """
        if self._process is None or time.monotonic() - self._used_at < idle_seconds:
            return
        self._process.end()
        self._process.close()
        self._process = None

    def stop(self) -> None:
        """Ends the process, and a check under way with it; from any thread."""
        self._is_stopped = True
        if self._process is not None:
            self._process.end()

    def _ask(self, folder: pathlib.Path) -> Checked:
        if self._is_stopped:
            return Checked(grpc.StatusCode.CANCELLED, "the server is shutting down")
        try:
            if self._process is None:
                self._process = _Process()
        except OSError as error:
            return Checked(
                grpc.StatusCode.INTERNAL,
                f"the process that checks cannot be started: {error.strerror}",
            )
        process = self._process
        checked = process.ask(folder, self._timeout_seconds)
        self._used_at = time.monotonic()
        if not process.is_alive():
            self._process = None
        return checked


class _Process:
    """A running `check_process`."""

    def __init__(self) -> None:
        # Open as long as the process: SIM115 has no eye for that.
        self._log = tempfile.TemporaryFile("w+b")  # noqa: SIM115
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=os.environ
            | {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"},
            # Ctrl-C on the terminal is for the server, which ends this one in its turn.
            start_new_session=True,
        )
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._stage = _STARTING
        threading.Thread(target=self._read, name="check", daemon=True).start()

    def is_alive(self) -> bool:
        """Whether it can take another version."""
        return self._process.poll() is None

    def end(self) -> None:
        """Kills it: it has nothing to lose."""
        self._process.kill()

    def ask(self, folder: pathlib.Path, timeout_seconds: float) -> Checked:
        """Has a version checked; the process has ended where that did not end well."""
        try:
            if self._stage == _STARTING:
                self._answer(timeout_seconds)
            print(json.dumps(str(folder)), file=self._process.stdin, flush=True)
            answer = self._answer(timeout_seconds)
        except TimeoutError:
            self.close(is_hung=True)
            return Checked(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                f"the check took more than {timeout_seconds:g} s and was ended while"
                f" {self._stage}",
            )
        except (EOFError, OSError):
            return Checked(grpc.StatusCode.INTERNAL, self.close())
        if answer["refusal"] is None:
            return Checked(notes=tuple(answer["notes"]))
        code, reason = answer["refusal"]
        return Checked(grpc.StatusCode[code], reason)

    def _answer(self, timeout_seconds: float) -> dict[str, Any]:
        """The next answer that is not a stage.

        Raises:
          TimeoutError, EOFError: there is none.
        """
        until = time.monotonic() + timeout_seconds
        while True:
            try:
                answer = self._answers.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty as error:
                raise TimeoutError from error
            if answer is _OVER:
                raise EOFError
            if "stage" not in answer:
                if "is_ready" in answer:
                    self._stage = ""
                return answer
            self._stage = answer["stage"]

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._answers.put(json.loads(line))
        self._answers.put(_OVER)

    def close(self, *, is_hung: bool = False) -> str:
        """Ends the process and lets go of it; how it ended, in words."""
        try:
            # One that has crashed is about to end by itself, with a code that says how.
            code = self._process.wait(0 if is_hung else END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._log.seek(0)
        text = self._log.read().decode(errors="replace")
        self._log.close()
        if self._process.stdin is not None:
            # What was not written any more is of no interest.
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        last = f": {lines[-1][:MAX_SIGNS]}" if lines else ""
        how = (
            f"was ended by {signals.in_words(-code)}"
            if code < 0
            else f"ended with code {code}"
        )
        return f"the process that checks {how} while {self._stage}{last}"
