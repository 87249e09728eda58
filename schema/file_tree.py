"""The files below a folder, and all that is there and cannot be read."""

import enum
import errno
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from schema import image_names

LEADS_NOWHERE = "a link that leads nowhere"
_CIRCLE = "a link to a folder above it"
_NO_FILE = "not a file"


class Kind(enum.Enum):
    """What an entry of a folder is."""

    FILE = "a regular file, or a link to one"
    BROKEN = "a link to nothing, or neither a file nor a folder"
    CLOSED = "a folder that cannot be listed, or a link to one above it"
    LITTER = "what tools leave, with all below it"


class Entry(NamedTuple):
    """An entry of a folder.

    Attributes:
      kind: what it is.
      name: its path below the folder, as it is spelled on the disk; '' for the folder.
      reason: why it cannot be read; '' for files and litter.
    """

    kind: Kind
    name: str
    reason: str = ""


def walk(folder: str | os.PathLike[str], depth: int | None = None) -> Iterator[Entry]:
    """All entries that are not folders, or that cannot be entered; links are followed.

    Never raises an OSError.

    Args:
      folder: where to start.
      depth: how deep to go, 1 for the folder itself; None for any depth.
    """
    # A stack of our own: folders may be nested deeper than Python calls may.
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while waiting:
        inner, above = waiting.pop()
        path = os.path.join(folder, inner) if inner else folder  # noqa: PTH118
        try:
            status = os.stat(path)  # noqa: PTH116, pathlib takes thrice as long
            with os.scandir(path) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            yield Entry(Kind.CLOSED, inner, why_unreadable(path, error))
            continue
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            yield Entry(Kind.CLOSED, inner, _CIRCLE)
            continue
        for entry in entries:
            found = _judge(entry, f"{inner}/{entry.name}" if inner else entry.name)
            if isinstance(found, Entry):
                yield found
            elif depth is None or found.count("/") + 1 < depth:
                waiting.append((found, above | {identity}))


def read_file(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    """The first bytes of a file; it never waits for a pipe or reads a device.

    Raises:
      OSError: it cannot be read; with the reason in words as `strerror`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, _NO_FILE)
            with open(descriptor, "rb", closefd=False) as file:
                return file.read(max_bytes)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OSError(error.errno, why_unreadable(path, error)) from error
    except ValueError as error:  # a path that no file can have
        raise OSError(errno.EINVAL, str(error)) from error


def why_unreadable(path: str | os.PathLike[str], error: OSError) -> str:
    """The reason in words why `path` could not be opened or listed."""
    if error.errno == errno.ENOENT and os.path.islink(path):  # noqa: PTH114
        return LEADS_NOWHERE
    if error.errno == errno.ELOOP:
        return "a link that leads to itself"
    return error.strerror or str(error)


def _judge(entry: os.DirEntry[str], name: str) -> Entry | str:
    """What the entry is; its name alone for a folder to enter."""
    if image_names.is_litter(entry.name):
        return Entry(Kind.LITTER, name)
    try:
        if entry.is_dir():
            return name
        if entry.is_file():
            return Entry(Kind.FILE, name)
    except OSError as error:
        return Entry(Kind.BROKEN, name, why_unreadable(entry.path, error))
    return Entry(Kind.BROKEN, name, LEADS_NOWHERE if entry.is_symlink() else _NO_FILE)
