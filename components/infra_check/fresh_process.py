"""Runs the probe in a process of its own, which may crash, hang or be killed."""

import dataclasses
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
from typing import Any

from components.infra_check import probe

# -P: a folder named like one of our packages where the run was started must not win.
COMMAND = (sys.executable, "-P", "-m", "components.infra_check")
LOG_LINES = 20
MAX_CHARACTERS = 200


@dataclasses.dataclass(frozen=True)
class Probed:
    """How the process ended and what it found.

    Attributes:
      findings: as `probe.probe` fills them, as far as it came.
      end: '' where it came to its end, else a sentence why it did not.
      log: the last lines of its standard error.
    """

    findings: dict[str, Any]
    end: str
    log: tuple[str, ...]


def run(model: pathlib.Path, recording: pathlib.Path, timeout_seconds: float) -> Probed:
    """Probes a SavedModel; whatever becomes of the process is an outcome.

    Args:
      model: folder of the SavedModel.
      recording: file with the Trainer's answers.
      timeout_seconds: after which the process is killed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        file = pathlib.Path(scratch) / "findings.json"
        log_file = pathlib.Path(scratch) / "stderr.txt"
        command = [*COMMAND, str(model), str(recording), str(file)]
        with log_file.open("wb") as log:
            try:
                code = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    timeout=timeout_seconds,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired:
                code = None
        lines = _last_lines(log_file)
        findings = {"stage": probe.STARTING}
        if file.is_file():
            findings = json.loads(file.read_text(encoding="utf-8"))
    return Probed(findings, _end(code, findings, lines, timeout_seconds), lines)


def _end(
    code: int | None,
    findings: dict[str, Any],
    lines: tuple[str, ...],
    timeout_seconds: float,
) -> str:
    stage = findings["stage"]
    if code is None:
        return f"a fresh process was still {stage} after {timeout_seconds:g} s and was ended"
    if code == 0 and stage == probe.DONE:
        return ""
    if failure := findings.get("failure"):
        return f"{stage} failed: {failure[:MAX_CHARACTERS]}"
    last = f": {lines[-1][:MAX_CHARACTERS]}" if lines else ""
    if code < 0:
        return (
            f"a fresh process was killed by {_signal_name(-code)} while {stage}{last}"
        )
    return f"a fresh process ended with code {code} while {stage}{last}"


def _last_lines(file: pathlib.Path) -> tuple[str, ...]:
    text = file.read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return tuple(lines[-LOG_LINES:])


def _signal_name(number: int) -> str:
    """Name of a signal, with its likely sender where the kernel is that."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    # The kernel sends it when memory runs out, and nothing else explains it.
    return f"{name} (out of memory?)" if name == "SIGKILL" else name
