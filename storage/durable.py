"""Files that survive a crash: whole, in their old form, or absent."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import BinaryIO


def sync(path: pathlib.Path) -> None:
    """Waits until the file or folder `path` is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes `text` to `path` by way of a synced temporary file and a rename."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when the block ends well, else vanishes."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    temporary.replace(path)
    sync(path.parent)
