"""A folder on disk as a source."""

import functools
import os
import pathlib
from collections.abc import Iterable, Iterator

from components.image_example_gen.sources import naming
from components.image_example_gen.sources.limits import LIMITS, Limits
from components.image_example_gen.sources.source import Member, read_at_most
from schema.errors import DataError


class FolderSource:
    """A folder on disk. Links in it are followed: they are its owner's own."""

    is_random_access = True

    def __init__(self, path: pathlib.Path, limits: Limits = LIMITS):
        self.path = path
        self._limits = limits

    def names(self) -> Iterator[str]:
        found: list[str] = []
        self._collect(self.path, "", (), found)
        yield from sorted(found)

    def members(self, wanted: Iterable[str] | None = None) -> Iterator[Member]:
        for name in self.names() if wanted is None else wanted:
            yield Member(name, functools.partial(self.read, name))

    def read(self, name: str, limit: int) -> bytes:
        with (self.path / name).open("rb") as file:
            return read_at_most(file, limit)

    def _collect(
        self,
        folder: pathlib.Path,
        prefix: str,
        above: tuple[tuple[int, int], ...],
        found: list[str],
    ) -> None:
        try:
            status = folder.stat()
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(f"cannot read {folder}: {error.strerror}") from error
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            raise DataError(f"{folder} is a link to a folder above it")
        for entry in entries:
            if naming.is_odd(entry.name):
                raise DataError(
                    f"{self.path} holds a name with control characters, or not in UTF-8:"
                    f" {ascii(prefix + entry.name)[:120]}",
                    tip="rename it",
                )
            if entry.is_dir():
                inner = f"{prefix}{entry.name}/"
                self._collect(folder / entry.name, inner, (*above, identity), found)
            elif entry.is_file():
                found.append(prefix + entry.name)
                self._limits.check_count(len(found), self.path)
