"""Images whose splits and classes were listed one by one, wherever the list came from."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from components.image_example_gen import records
from components.image_example_gen.layouts import folders
from components.image_example_gen.sources.source import Member


class Entry(NamedTuple):
    """What a list says of an image: split ('' for none), class and group ('' for none)."""

    split: str
    word: str
    group: str = ""


@dataclasses.dataclass(frozen=True)
class ListLayout:
    """Images that were named one by one.

    Attributes:
      root: folder that keys leave out ('' or with a slash at its end).
      entries: name in the source -> what is said of it; an image may be named in several
        lists.
      files: names of the lists.
      words: what was recognised.
      format: as `data.format` calls it.
    """

    root: str
    entries: dict[str, tuple[Entry, ...]]
    files: tuple[str, ...]
    words: tuple[str, ...]
    format: str = "list"
    channels: int = 0

    def used(self) -> frozenset[str]:
        return frozenset(self.files)

    def units(self, names: Iterable[str]) -> list[tuple[str, ...]]:
        """Parts that can be read apart: some hundred images each."""
        return folders.chunks([name for name in names if name in self.entries])

    def classes(self, names: Iterable[str]) -> frozenset[str]:
        """Classes that the lists give to a file that is there."""
        entries = (self.entries.get(name, ()) for name in names)
        return frozenset(entry.word for lines in entries for entry in lines)

    def read(
        self, members: Iterable[Member]
    ) -> Iterator[records.ImageFile | records.Unreadable | records.Ignored]:
        """The listed images among `members`."""
        for member in members:
            lines = self.entries.get(member.name, ())
            if not lines and member.name not in self.files:
                yield records.Ignored(member.name)
            image: records.ImageFile | records.Unreadable | None = None
            for number, entry in enumerate(lines):
                key = member.name.removeprefix(self.root) + (
                    f"#{number}" if number else ""
                )
                if image is None:
                    image = folders.read_image(member, entry.split, key, entry.word)
                if isinstance(image, records.ImageFile):
                    image = image._replace(
                        split=entry.split, key=key, word=entry.word, group=entry.group
                    )
                else:
                    image = image._replace(key=key)
                yield image
