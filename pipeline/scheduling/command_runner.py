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
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline import runs
from pipeline.scheduling import ledger, owner
from pipeline.scheduling.rows import DONE, FAILED, REFUSED, Interrupted, Outcome, Row
from schema.errors import ConfigError

STOP_SECONDS = 90.0
LOOK_SECONDS = 2.0
# The contract of the command line (docs/cli.md).
_STATES = {0: DONE, 3: REFUSED, 4: REFUSED, 5: REFUSED}
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
    ):
        """Makes the runner.

        Args:
          command: the program, as ['slimline'].
          experiment: its name.
          arguments: of every run, as ['--set', 'train.epochs=3'].
          root: of the runs.
        """
        self._root = root.resolve()
        self._experiment = experiment
        self._command = [*command, "run", experiment, "--root", str(self._root)]
        self._command += arguments

    def run(
        self, row: Row, settings: Mapping[str, str], beat: Callable[[str], None]
    ) -> Outcome:
        """See base class."""
        path = self._path(row)
        before = set(runs.list_runs(self._root))
        words = list(self._command)
        for key, value in settings.items():
            words += ["--set", f"{key}={value}"]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as output:
                process = subprocess.Popen(
                    [*words, "--group", _group(row), "--plain", "--json"],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    preexec_fn=_die_with_parent(os.getpid()),
                )
        except OSError as error:
            raise ConfigError(
                f"cannot start {words[0]}: {error.strerror or error}"
            ) from error
        try:
            code = self._wait(process, row, before, beat)
        except BaseException:
            _stop(process)
            raise
        if code in _INTERRUPTED:
            raise Interrupted("the run was interrupted")
        return self.outcome(row) or _without_result(code)

    def outcome(self, row: Row) -> Outcome | None:
        """See base class."""
        try:
            document = json.loads(self._path(row).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        outcome = read_outcome(document)
        return None if outcome.exit_code in _INTERRUPTED else outcome

    def forget(self, row: Row) -> None:
        """See base class."""
        self._path(row).unlink(missing_ok=True)

    def _wait(
        self,
        process: subprocess.Popen,
        row: Row,
        before: set[pathlib.Path],
        beat: Callable[[str], None],
    ) -> int:
        """Waits for the end; tells of the run's folder as soon as it is there."""
        name = ""
        while True:
            try:
                seconds = owner.HEARTBEAT_SECONDS if name else LOOK_SECONDS
                code: int | None = process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                code = None
            name = name or self._find_run(row, before)
            beat(name)
            if code is not None:
                return code

    def _find_run(self, row: Row, before: set[pathlib.Path]) -> str:
        """Name of the folder that the run of a slot has made since `before`."""
        for folder in reversed(runs.list_runs(self._root)):
            if folder not in before and runs.group_of(folder) == _group(row):
                return folder.name
        return ""

    def _path(self, row: Row) -> pathlib.Path:
        name = urllib.parse.quote(row.pipeline, safe="")
        return self._root / ledger.FOLDER / f"{name}-{row.id}.json"


def read_outcome(document: dict[str, Any]) -> Outcome:
    """The outcome in what `slimline run --json` prints."""
    error = document.get("error")
    if error is None:
        summary = document.get("summary") or {}
        reason = "; ".join(summary.get("verdict", ()))
        if summary.get("is_cached"):
            reason = f"served from the cache: {reason}"
        return Outcome(DONE, reason, 0, summary.get("pushed_version"))
    code = int(error["exit_code"])
    found = f": {error['found']}" if error.get("found") else ""
    return Outcome(_STATES.get(code, FAILED), error["message"] + found, code)


def _group(row: Row) -> str:
    """Label of the runs of a slot, one an attempt."""
    return f"{row.pipeline}, slot {row.slot}"


def _without_result(code: int) -> Outcome:
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return Outcome(FAILED, f"the run ended with {how} and no result", code)


def _stop(process: subprocess.Popen) -> None:
    """Ends a run so that it can resume: interrupted, it leaves a checkpoint."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
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
