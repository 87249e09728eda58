"""What became of a model's versions: `<serving>/<model name>/history.jsonl`, a row per change."""

import dataclasses
import datetime
import getpass
import json
import os
import pathlib
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from storage import durable, mirror

FILE = "history.jsonl"
PUSH = "push"
PROMOTE = "promote"
ROLLBACK = "rollback"
CANARY = "canary"
CANARY_OFF = "canary_off"
PRUNE = "prune"


@dataclasses.dataclass(frozen=True)
class Row:
    """One change.

    Attributes:
      time: UTC, ISO 8601.
      action: one of those above.
      version: that is live since (push, promote, rollback), that is canary since or no
        more, or that was deleted.
      former: what was live, or canary, before; None where nothing was. 'from' in the file.
      who: user@host.
      reason: in the words of the user, or ''.
      by: the run or the command that did it, or ''.
      is_gate_open: of a push: whether nothing was required of the model.
    """

    time: str
    action: str
    version: int
    former: int | None
    who: str
    reason: str = ""
    by: str = ""
    is_gate_open: bool = False

    def as_json(self) -> dict[str, Any]:
        """The row as it stands in the file."""
        row = dataclasses.asdict(self)
        return {{"former": "from"}.get(name, name): row[name] for name in row}


def now(
    action: str,
    version: int,
    former: int | None,
    *,
    reason: str = "",
    by: str = "",
    is_gate_open: bool = False,
) -> Row:
    """A row of this moment and this user."""
    time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Row(time, action, version, former, _who(), reason, by, is_gate_open)


def append(model_folder: pathlib.Path, row: Row) -> None:
    """Adds a row, durably; the caller holds `models_config.lock`."""
    path = model_folder / FILE
    is_new = not path.exists()
    line = json.dumps(row.as_json(), ensure_ascii=False).encode() + b"\n"
    with path.open("ab+") as file:
        file.seek(0, os.SEEK_END)
        if file.tell():
            file.seek(-1, os.SEEK_END)
            # A kill in the midst of a row must not spoil this one as well.
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        durable.sync(model_folder)
    mirror.put(path)


def read(model_folder: pathlib.Path) -> list[Row]:
    """All rows, oldest first; damaged lines, as a kill leaves them, are left out."""
    try:
        data = (model_folder / FILE).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return []
    return list(_rows(data.split(b"\n")))


def had_open_gate(model_folder: pathlib.Path, version: int) -> bool:
    """Whether a version was pushed with nothing required of it; False if unknown."""
    for row in reversed(read(model_folder)):
        if (row.action, row.version) == (PUSH, version):
            return row.is_gate_open
    return False


def previous(
    model_folder: pathlib.Path, live: int | None, complete: Sequence[int]
) -> int | None:
    """The version to go back to: the one that was live before, or None.

    Going back twice leads further back, not forth again. Without a history, or where what
    it names is gone, it is the next older version.

    Args:
      model_folder: of the model.
      live: the version that is live.
      complete: versions that are there, rising.
    """
    before = _lived(read(model_folder))
    if live in before:
        before = before[: before.index(live)]
    for version in reversed(before):
        if version in complete and version != live:
            return version
    older = [version for version in complete if live is not None and version < live]
    return older[-1] if older else None


def _lived(rows: Sequence[Row]) -> list[int]:
    """Versions that were live one after another, without those that were taken back."""
    lived: list[int] = []
    for row in rows:
        if row.action not in (PUSH, PROMOTE, ROLLBACK):
            continue
        if row.former is not None and row.former not in lived:
            lived.append(row.former)
        if row.action == ROLLBACK and row.version in lived:
            del lived[lived.index(row.version) :]
        elif row.action == ROLLBACK:
            # To a version from before the history: what is younger is taken back.
            lived = [version for version in lived if version < row.version]
        elif row.version in lived:
            lived.remove(row.version)
        lived.append(row.version)
    return lived


def _rows(lines: Sequence[bytes]) -> Iterator[Row]:
    for line in lines:
        try:
            found = json.loads(line)
            former = found["from"]
            yield Row(
                time=str(found["time"]),
                action=str(found["action"]),
                version=int(found["version"]),
                former=None if former is None else int(former),
                who=str(found["who"]),
                reason=str(found.get("reason", "")),
                by=str(found.get("by", "")),
                is_gate_open=bool(found.get("is_gate_open", False)),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
