"""Runs as processes of their own, by the command that a person would type.

A scheduler that is up for a year must not hold a year's TensorFlow; a run that dies of a
lack of memory does not take it along.
"""

import ctypes
import json
import os
import pathlib
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

from pipeline import runs
from pipeline.scheduling import owner
from pipeline.scheduling.orders import Interrupted, Order, Outcome, state_of
from pipeline.scheduling.rows import FAILED
from schema.errors import ConfigError

FOLDER = ".schedule"  # in the root of the runs: what commands under way print
STOP_SECONDS = 90.0
LOOK_SECONDS = 2.0
_INTERRUPTED = 130
_SET_PARENT_DEATH_SIGNAL = 1  # prctl(2)


class CommandRunner:
    """Runs `COMMAND run EXPERIMENT ... --json`."""

    def __init__(
        self, command: Sequence[str], arguments: Sequence[str], root: pathlib.Path
    ):
        """Makes the runner.

        Args:
          command: the program, as ['slimline'].
          arguments: of every run, as ['--set', 'train.epochs=3'].
          root: of the runs.
        """
        self._command = list(command)
        self._arguments = list(arguments)
        self._root = root.resolve()

    def run(self, order: Order, beat: Callable[[str], None]) -> Outcome:
        """See base class."""
        path = self._path(order)
        before = set(runs.list_runs(self._root))
        arguments = [
            *self._command,
            "run",
            order.pipeline,
            "--root",
            str(self._root),
            *self._arguments,
        ]
        for key, value in order.settings.items():
            arguments += ["--set", f"{key}={value}"]
        arguments += ["--plain", "--json"]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as output:
                process = subprocess.Popen(
                    arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    preexec_fn=_die_with_parent(os.getpid()),
                )
        except OSError as error:
            raise ConfigError(
                f"cannot start {self._command[0]}: {error.strerror or error}"
            ) from error
        try:
            code = self._wait(process, order, before, beat)
        except BaseException:
            _stop(process)
            raise
        if code == _INTERRUPTED:
            raise Interrupted("the run was interrupted")
        return self.outcome(order) or _without_result(code)

    def outcome(self, order: Order) -> Outcome | None:
        """See base class."""
        try:
            document = json.loads(self._path(order).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        outcome = read_outcome(document)
        return None if outcome.exit_code == _INTERRUPTED else outcome

    def forget(self, order: Order) -> None:
        """See base class."""
        self._path(order).unlink(missing_ok=True)

    def _wait(
        self,
        process: subprocess.Popen,
        order: Order,
        before: set[pathlib.Path],
        beat: Callable[[str], None],
    ) -> int:
        """Waits for the end; tells of the run's folder as soon as it is there."""
        name = ""
        while True:
            try:
                seconds = owner.HEARTBEAT_SECONDS if name else LOOK_SECONDS
                code = process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                name = name or self._find_run(order, before)
                beat(name)
                continue
            if not name:
                beat(self._find_run(order, before))
            return code

    def _find_run(self, order: Order, before: set[pathlib.Path]) -> str:
        """Name of the folder that a run of this experiment has made since `before`."""
        for folder in reversed(runs.list_runs(self._root)):
            if folder not in before and runs.experiment_of(folder) == order.pipeline:
                return folder.name
        return ""

    def _path(self, order: Order) -> pathlib.Path:
        return self._root / FOLDER / f"{order.pipeline}-{order.row}.json"


def read_outcome(document: dict[str, Any]) -> Outcome:
    """The outcome in what `slimline run --json` prints."""
    error = document.get("error")
    summary = document.get("summary") or {}
    if error is None:
        pushed = summary.get("pushed_version")
        reason = "; ".join(summary.get("verdict", ()))
        if summary.get("is_cached"):
            reason = f"served from the cache: {reason}"
        return Outcome("done", reason, 0, pushed)
    code = int(error["exit_code"])
    reason = error["message"]
    if error.get("found"):
        reason += f": {error['found']}"
    return Outcome(state_of(code), reason, code)


def _without_result(code: int) -> Outcome:
    if code < 0:
        how = f"signal {signal.Signals(-code).name}"
    else:
        how = f"exit code {code}, and no result"
    return Outcome(FAILED, f"the run ended with {how}", code)


def _stop(process: subprocess.Popen) -> None:
    """Ends a run so that it goes on later: it leaves its checkpoint when interrupted."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _die_with_parent(parent: int) -> Callable[[], None]:
    """For the child, before it runs: whoever takes the slot over must not meet it."""
    library = ctypes.CDLL(None, use_errno=True)

    def ask() -> None:
        library.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel was asked
            os._exit(1)

    return ask
