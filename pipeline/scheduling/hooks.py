"""Notifications about the result of a slot: a command, or a POST to an address.

A notification that fails is recorded and has no other effect.
"""

import json
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import requests

from common.errors import ConfigError
from pipeline.slots.rows import DONE, FAILED, REFUSED, Row

# Event -> result of a slot, in words.
EVENTS = {"failure": "failed", "refusal": "was refused", "push": "pushed a model"}
TIMEOUT_SECONDS = 15.0
_MAX_ERROR = 300
_ADDRESSES = ("http://", "https://")
_FIELDS = (
    *("pipeline", "slot", "state", "reason", "data", "run"),
    *("pushed_version", "started", "finished"),
)


def check(targets: Mapping[str, Sequence[str]]) -> None:
    """Checks commands and addresses.

    Args:
      targets: event -> commands and addresses.

    Raises:
      ConfigError: one is empty, or a command cannot be split into words.
    """
    for target in (target for listed in targets.values() for target in listed):
        try:
            is_empty = not shlex.split(target)
        except ValueError as error:
            raise ConfigError(f"cannot read the command '{target}': {error}") from error
        if is_empty:
            raise ConfigError(
                "a command or an address is empty",
                expected="a command, which gets JSON on its standard input, or"
                " http(s)://...",
            )


def tell(row: Row, targets: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Notifies of a row that has ended; returns event, target and error ('') of each."""
    event = event_of(row)
    return [
        {
            "event": event,
            "target": target,
            "error": " ".join(_send(target, message(row, event)).split())[:_MAX_ERROR],
        }
        for target in targets.get(event, ())
    ]


def event_of(row: Row) -> str:
    """The event of a row that has ended, or ''."""
    if row.state == DONE:
        return "push" if row.pushed_version else ""
    return {FAILED: "failure", REFUSED: "refusal"}.get(row.state, "")


def message(row: Row, event: str) -> dict[str, Any]:
    """The notification as JSON; `text` is for chat programs that show no other field."""
    return {
        "schema_version": 1,
        "event": event,
        "text": f"{row.pipeline}, slot {row.slot} {EVENTS[event]}: {row.reason}",
        **{name: getattr(row, name) for name in _FIELDS},
    }


def _send(target: str, document: Mapping[str, Any]) -> str:
    """Why a notification failed, or ''."""
    try:
        if not target.startswith(_ADDRESSES):
            return _run(target, document)
        answer = requests.post(
            target, json=document, timeout=TIMEOUT_SECONDS, allow_redirects=False
        )
        return "" if answer.ok else f"answered {answer.status_code}"
    except requests.RequestException as error:
        return f"{type(error).__name__}: {error}"
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)


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
    message = ended.stderr.decode(errors="replace").strip()
    return f"exit code {ended.returncode}{f': {message}' if message else ''}"
