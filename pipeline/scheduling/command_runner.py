"""Starts each run as a process of its own, with the command that a person would type.

So the memory of TensorFlow is freed after each run, and a run that is out of memory does
not kill the scheduler.
"""

import ctypes
import json
import os
import pathlib
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from common.errors import ConfigError, os_errors_as
from pipeline.runs import runs
from pipeline.slots.rows import DONE, FAILED, REFUSED, Outcome, Row, TryAgain

STOP_SECONDS = 90.0
LOOK_SECONDS = 2.0
# The contract of the command line (docs/cli.md).
_REFUSALS = (3, 4, 5)
_GATE_REFUSED, _SERVED_MODEL_FAILED = 3, 5
_INTERRUPTED = (130, 143)  # by SIGINT, by SIGTERM
_SET_PARENT_DEATH_SIGNAL = 1  # prctl(2)


class CommandRunner:
    """Runs `COMMAND run EXPERIMENT ... --json`."""

    def __init__(
        self,
        command: Sequence[str],
        experiment: str,
        arguments: Sequence[str],
        root: pathlib.Path,
        identity: str,
    ):
        """Keeps what all runs share.

        Args:
          command: the program, as ['slimline'].
          experiment: its name.
          arguments: of every run, as ['--set', 'train.epochs=3'].
          root: of the runs.
          identity: of the runs (`inputs.identity`).
        """
        self._root, self._identity = root.resolve(), identity
        self._command = [*command, "run", experiment, "--root", str(self._root)]
        self._command += arguments

    def run(
        self, row: Row, settings: Mapping[str, str], began: Callable[[str], Any]
    ) -> Outcome:
        """Runs to the end.

        Args:
          row: the slot.
          settings: dotted key -> value, over those of the schedule.
          began: called with the name of the run's folder, once it exists.

        Raises:
          TryAgain: the run was stopped, and resumes with the next call; or a run that no
            schedule started is in progress.
          ConfigError: the program cannot be started.
        """
        try:
            with runs.lock(self._root, self._identity):
                pass
        except ConfigError as error:
            raise TryAgain(error.message) from error
        before = set(runs.list_runs(self._root))
        # The runs of a slot, one an attempt, share a label.
        group = f"{row.pipeline}, slot {row.slot}"
        words = list(self._command)
        for key, value in settings.items():
            words += ["--set", f"{key}={value}"]
        with tempfile.TemporaryFile() as output:
            with os_errors_as(ConfigError, f"cannot start {words[0]}"):
                process = subprocess.Popen(
                    [*words, "--group", group, "--plain", "--json"],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    preexec_fn=_die_with_parent(os.getpid()),
                )
            name = ""
            code = None
            try:
                while code is None:
                    code = _wait(process, LOOK_SECONDS)
                    if not name and (name := self._find_run(group, before)):
                        began(name)
            except BaseException:
                # SIGTERM lets it write a checkpoint to resume from.
                process.send_signal(signal.SIGTERM)
                if _wait(process, STOP_SECONDS) is None:
                    process.kill()
                    process.wait()
                raise
            output.seek(0)
            printed = output.read()
        if code in _INTERRUPTED:
            raise TryAgain("the run was interrupted")
        return read_outcome(printed, code)

    def outcome(self, row: Row) -> Outcome | None:
        """How the last run of a slot ended, from its folder; None where it did not."""
        if not row.run:
            return None
        try:
            return of_summary(runs.read_summary(self._root / row.run))
        except ConfigError:
            return None

    def _find_run(self, group: str, before: set[pathlib.Path]) -> str:
        """Name of the folder that the slot's run has created, or ''."""
        for folder in reversed(runs.list_runs(self._root)):
            if folder not in before and runs.group_of(folder) == group:
                return folder.name
        return ""


def read_outcome(printed: bytes, code: int) -> Outcome:
    """The outcome from the output of `slimline run --json` and its exit code."""
    try:
        document = json.loads(printed)
    except ValueError:
        how = (
            f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        )
        return Outcome(FAILED, f"the run ended with {how} and no result", code)
    if "error" not in document:
        return of_summary(document.get("summary") or {})
    error = document["error"]
    code = int(error["exit_code"])
    found = f": {error['found']}" if error.get("found") else ""
    state = REFUSED if code in _REFUSALS else FAILED
    return Outcome(state, error["message"] + found, code)


def of_summary(summary: Mapping[str, Any]) -> Outcome:
    """The outcome of a finished run, from its `pipeline.runs.summary.Summary`."""
    if summary["passed"]:
        how = "served from the cache: " if summary["is_cached"] else ""
        reason = how + "; ".join(summary["verdict"])
        return Outcome(DONE, reason, 0, summary["pushed_version"])
    if summary["infra_refusals"] and not summary["refusals"]:
        reason = "; ".join(summary["infra_refusals"])
        reason = f"the served model failed its check: {reason}"
        return Outcome(REFUSED, reason, _SERVED_MODEL_FAILED)
    reason = f"gate refused the model: {'; '.join(summary['refusals'])}"
    return Outcome(REFUSED, reason, _GATE_REFUSED)


def _wait(process: subprocess.Popen, seconds: float) -> int | None:
    """Exit code of a process; None where it still runs after `seconds`."""
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None


def _die_with_parent(parent: int) -> Callable[[], None]:
    """For the child before it runs: ends it with this process, so that the next owner of
    the slot finds no run in progress."""
    library = ctypes.CDLL(None, use_errno=True)

    def ask() -> None:
        library.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel was asked
            os._exit(1)

    return ask
