"""Encoded images and Examples between two steps of the Beam job, in files all workers see.

Beam's local runners keep in memory whatever goes from step to step, and those with several
processes send all of it through one; so only the places of the images travel.
"""

import pathlib
import posixpath
import uuid
from collections import OrderedDict
from typing import IO, NamedTuple

from tfx.dsl.io import fileio

# A writer starts another file at this length. Longer files mean fewer to be open at once.
FILE_BYTES = 256 << 20
_OPEN_FILES = 64


class Place(NamedTuple):
    """Where content lies: file of the spool, first byte, number of bytes."""

    file: str
    offset: int
    length: int


class Writer:
    """Appends to files of its own in the spool."""

    def __init__(self, folder: str):
        """Takes the URI of the spool's folder, which exists."""
        self._folder = folder
        self._file: IO[bytes] | None = None
        self.name = ""
        self.length = 0

    def add(self, content: bytes) -> Place:
        """Writes `content` and returns its place, which is readable after `close`."""
        if self._file is None:
            self.name, self.length = uuid.uuid4().hex, 0
            self._file = fileio.open(posixpath.join(self._folder, self.name), "wb")
        place = Place(self.name, self.length, len(content))
        self._file.write(content)
        self.length += len(content)
        return place

    def close_if_long(self) -> None:
        """Ends a file that has reached `FILE_BYTES`; what is added next goes to another."""
        if self.length >= FILE_BYTES:
            self.close()

    def close(self) -> None:
        """Ends the file, if one was begun."""
        if self._file is not None:
            self._file.close()
        self._file, self.name, self.length = None, "", 0


class Reader:
    """Reads places in any order; the files last read stay open."""

    def __init__(self, folder: str):
        """Takes the URI of the spool's folder."""
        self._folder = folder
        self._files: OrderedDict[str, IO[bytes]] = OrderedDict()

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *exception: object) -> None:
        for file in self._files.values():
            file.close()

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Content at a place."""
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = _open(posixpath.join(self._folder, name))
            if len(self._files) > _OPEN_FILES:
                self._files.popitem(last=False)[1].close()
        self._files.move_to_end(name)
        file.seek(offset)
        return file.read(length)


def _open(uri: str) -> IO[bytes]:
    # Through TensorFlow each seek would read half a megabyte ahead.
    if "://" in uri:
        return fileio.open(uri, "rb")
    return pathlib.Path(uri).open("rb", buffering=0)
