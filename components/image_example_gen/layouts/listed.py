"""Image files whose splits and classes are known before they are read."""

import dataclasses
import itertools
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from components.image_example_gen import records
from components.image_example_gen.layouts.layout import Layout
from components.image_example_gen.sources import limits
from components.image_example_gen.sources.source import Member, MemberTooLarge
from schema import image_names

UNIT_FILES = 256


class Entry(NamedTuple):
    """Split ('' for none), class and group ('' for none) of an image."""

    split: str
    word: str
    group: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileLayout(Layout):
    """Image files whose folders say their classes, or that were named one by one.

    Attributes:
      entries: image, or folder -> entries of the image, or of every image in the folder.
        There are several where several lists name an image.
      root: folder that keys leave out ('' or with a slash at its end).
    """

    entries: Mapping[str, tuple[Entry, ...]]
    root: str = ""

    def entries_of(self, name: str) -> tuple[Entry, ...]:
        """Entries of a file; () where it is no image of the dataset."""
        if not image_names.is_image_name(name):
            return ()
        return self.entries.get(name) or self.entries.get(posixpath.dirname(name), ())

    def units(self, names: Iterable[str]) -> list[tuple[str, ...]]:
        """Parts for one worker each: some hundred images."""
        return chunks([name for name in names if self.entries_of(name)])

    def classes(self, names: Iterable[str]) -> frozenset[str]:
        entries = itertools.chain.from_iterable(map(self.entries_of, names))
        return frozenset(entry.word for entry in entries)

    def read(
        self, members: Iterable[Member]
    ) -> Iterator[records.ImageFile | records.Unreadable | records.Ignored]:
        for member in members:
            entries = self.entries_of(member.name)
            if not entries:
                if member.name not in self.files:
                    yield records.Ignored(member.name)
                continue
            data, reason = _read(member)
            for number, (split, word, group) in enumerate(entries):
                end = f"#{number}" if number else ""
                key = member.name.removeprefix(self.root) + end
                if reason:
                    yield records.Unreadable(key, reason)
                else:
                    yield records.ImageFile(split, key, word, data, member.name, group)


def _read(member: Member) -> tuple[bytes, str]:
    """Bytes of an image file, and the reason why it cannot be read, '' where it can."""
    try:
        return member.read(limits.LIMITS.image_bytes), ""
    except MemberTooLarge as error:
        return b"", str(error)
    except OSError as error:
        return b"", error.strerror or str(error)


def chunks(names: Sequence[str]) -> list[tuple[str, ...]]:
    """`names` in pieces that one worker reads at a time."""
    return [
        tuple(names[start : start + UNIT_FILES])
        for start in range(0, len(names), UNIT_FILES)
    ]


def left_out(count: int) -> list[str]:
    """A sentence about the number of images that no list names; none for 0."""
    return [f"{count:,} images are in no list and are left out"] if count else []
