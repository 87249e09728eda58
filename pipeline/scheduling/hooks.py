"""Tells somebody what came of a slot: by a command, or by a POST to an address.

What goes wrong in telling is written down and goes no further.
"""

import dataclasses
import datetime
import json
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import requests

from pipeline.scheduling import clock
from pipeline.scheduling.rows import DONE, FAILED, REFUSED, Notice, Row
from schema.errors import ConfigError

FAILURE = "failure"
REFUSAL = "refusal"
PUSH = "push"
EVENTS = (FAILURE, REFUSAL, PUSH)
TIMEOUT_SECONDS = 15.0
_MAX_ERROR = 300
_ADDRESSES = ("http://", "https://")


@dataclasses.dataclass(frozen=True)
class Hooks:
    """Whom to tell of what.

    Attributes:
      targets: event -> commands and addresses.
    """

    targets: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for target in (target for listed in self.targets.values() for target in listed):
            _check(target)

    def tell(self, row: Row, now: datetime.datetime) -> list[Notice]:
        """Tells of a row that has ended; gives whom, and what went wrong."""
        event = event_of(row)
        return [
            Notice(
                row.pipeline,
                row.slot,
                event,
                target,
                clock.in_words(now),
                _send(target, message(row, event)),
            )
            for target in self.targets.get(event, ())
        ]


def event_of(row: Row) -> str:
    """The event that a row is, or ''."""
    if row.state == FAILED:
        return FAILURE
    if row.state == REFUSED:
        return REFUSAL
    return PUSH if row.state == DONE and row.pushed_version else ""


def message(row: Row, event: str) -> dict[str, Any]:
    """What is told, as JSON; `text` is for chat programs that show no other field."""
    names = {FAILURE: "failed", REFUSAL: "was refused", PUSH: "pushed a model"}
    return {
        "schema_version": 1,
        "event": event,
        "text": f"{row.pipeline}, slot {row.slot} {names[event]}: {row.reason}",
        "pipeline": row.pipeline,
        "slot": row.slot,
        "state": row.state,
        "reason": row.reason,
        "data": row.data,
        "run": row.run,
        "pushed_version": row.pushed_version,
        "started": row.started,
        "finished": row.finished,
    }


def _check(target: str) -> None:
    if target.startswith(_ADDRESSES):
        return
    try:
        words = shlex.split(target)
    except ValueError as error:
        raise ConfigError(f"cannot read the command '{target}': {error}") from error
    if not words:
        raise ConfigError(
            "a command or an address is empty",
            expected="a command, which gets JSON on its standard input, or http(s)://...",
        )


def _send(target: str, document: Mapping[str, Any]) -> str:
    """Why a target was not told, or ''."""
    try:
        if target.startswith(_ADDRESSES):
            answer = requests.post(
                target, json=document, timeout=TIMEOUT_SECONDS, allow_redirects=False
            )
            return "" if answer.ok else f"answered {answer.status_code}"
        return _run(target, document)
    except requests.RequestException as error:
        return _short(f"{type(error).__name__}: {error}")
    except (OSError, subprocess.SubprocessError) as error:
        return _short(str(error))


def _run(command: str, document: Mapping[str, Any]) -> str:
    """Runs a command without a shell, with the message on its standard input."""
    names = {
        f"SLIMLINE_HOOK_{name.upper()}": str(value or "")
        for name, value in document.items()
        if name != "schema_version"
    }
    ended = subprocess.run(
        shlex.split(command),
        input=json.dumps(document).encode(),
        env={**os.environ, **names},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    if not ended.returncode:
        return ""
    said = ended.stderr.decode(errors="replace").strip()
    return _short(f"exit code {ended.returncode}{f': {said}' if said else ''}")


def _short(text: str) -> str:
    return " ".join(text.split())[:_MAX_ERROR]
