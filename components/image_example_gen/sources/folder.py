"""A folder on disk as a source."""

import pathlib
from collections.abc import Iterator

from common.errors import DataError
from components.image_example_gen.sources import limits, naming
from components.image_example_gen.sources.source import Source, read_at_most
from schema import file_tree


class FolderSource(Source):
    """A folder on disk. Links in it are followed: they are its owner's own."""

    def __init__(self, path: pathlib.Path):
        super().__init__(path)
        self._on_disk: dict[str, str] = {}

    def names(self) -> Iterator[str]:
        found: list[str] = []
        spellings = naming.Spellings()
        for kind, on_disk, reason in file_tree.walk(self.path):
            if not on_disk:
                raise DataError(f"cannot read {self.path}: {reason}")
            is_litter = kind is file_tree.Kind.LITTER
            if naming.is_odd(on_disk) and not is_litter:
                raise DataError(
                    f"{self.path} holds a name with control characters, or not in UTF-8:"
                    f" {ascii(on_disk)[:120]}",
                    tip="rename it",
                )
            name = spellings.add(on_disk)
            if name != on_disk:
                self._on_disk[name] = on_disk
            if reason:
                self.unreadable[name] = reason
            else:
                found.append(name)
                limits.LIMITS.check_count(len(found), self.path)
        yield from sorted(found)

    def read(self, name: str, limit: int) -> bytes:
        with self.where(name).open("rb") as file:
            return read_at_most(file, limit)

    def where(self, name: str) -> pathlib.Path:
        """Path of a file, as it is spelled on the disk."""
        return self.path / self._on_disk.get(name, name)
