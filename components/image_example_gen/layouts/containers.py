"""Files that hold many images each: what the layouts of such files have in common."""

import abc
import posixpath
from collections.abc import Iterable, Iterator, Sequence

from common.errors import DataError
from components.image_example_gen import records
from components.image_example_gen.layouts import split_names
from components.image_example_gen.layouts.layout import (
    AUTO,
    Listing,
    question,
    setting,
    splits_setting,
)
from components.image_example_gen.sources.source import Member
from schema import spelling

MAX_NAMED = 4


class ContainerLayout(abc.ABC):
    """Reads the files of one kind, each by itself."""

    format: str

    @staticmethod
    @abc.abstractmethod
    def is_ours(name: str) -> bool:
        """Whether a file is of the kind, by its name."""

    @abc.abstractmethod
    def read_file(self, member: Member) -> Iterator[records.Found]:
        """The images in one file.

        Raises:
          DataError: the file is damaged, or is not like the one that was looked at.
        """

    def used(self) -> frozenset[str]:
        return frozenset()

    def classes(self, names: Iterable[str]) -> frozenset[str]:
        """None: they are in the files."""
        return frozenset()

    def units(self, names: Iterable[str]) -> list[tuple[str, ...]]:
        """Parts that can be read apart: a file each."""
        return [(name,) for name in names if self.is_ours(name)]

    def read(self, members: Iterable[Member]) -> Iterator[records.Found]:
        """The images in the files among `members`.

        Raises:
          DataError: as for `read_file`.
        """
        for member in members:
            if self.is_ours(member.name):
                yield from self.read_file(member)
            else:
                yield records.Ignored(member.name)


def first_file(layout: type[ContainerLayout], listing: Listing) -> tuple[str, bytes]:
    """Name and content of the first file of a kind; ('', b'') where there is none.

    There is none either where image files lie beside: then these are the dataset.

    Raises:
      ConfigError: the files lie in several folders, and these are no splits.
    """
    names = sorted(filter(layout.is_ours, listing.names))
    if not names or listing.images:
        return "", b""
    if listing.answers.format == AUTO:
        _check_folders(layout.format, names)
    return names[0], listing.read(names[:1])[names[0]]


def group_of(where: str, value: object, field: str) -> str:
    """Group name of a text or number; '' where no field has the groups.

    Args:
      where: record, for the error.
      value: as it is stored. field: with the groups, '' for none.

    Raises:
      DataError: the record names no group.
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if field and value in (None, ""):
        raise DataError(
            f"{where} names no group",
            expected=f"one in the field '{field}' of every record, by data.group_by",
        )
    return spelling.normalise(str(value)) if field else ""


def _check_folders(data_format: str, names: Sequence[str]) -> None:
    """Asks where several folders hold files, as versions or sizes of one dataset do."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        folder = posixpath.dirname(name)
        rest = tuple(
            part for part in folder.split("/") if not split_names.divide(part)[1]
        )
        groups.setdefault(rest, []).append(folder or name)
    if len(groups) < 2:
        return
    answers = []
    for kept in list(groups)[:MAX_NAMED]:
        others = {
            name: "none" for rest in groups if rest != kept for name in groups[rest]
        }
        answers.append(
            f"{splits_setting(others)} (reads {'/'.join(kept) or 'the top'})"
        )
    raise question(
        "files of images lie in several folders, and may be several datasets",
        found=", ".join(f"{'/'.join(rest)}/" for rest in list(groups)[:MAX_NAMED]),
        answers=[
            *answers,
            setting("data.format", data_format) + " (all of them are one)",
        ],
    )


def class_of(where: str, label: object, names: Sequence[str], source: str = "") -> str:
    """Class name of a text, or of a number in `names`; in NFC.

    Args:
      where: file or record, for the error.
      label: as it is stored.
      names: by number; empty where `label` is the name.
      source: file that `names` are from, '' for the container itself.

    Raises:
      DataError: `names` has no such number, or there is no class.
    """
    tip = f"{splits_setting({where.partition('#')[0]: 'none'})} leaves the file out"
    is_below_zero = isinstance(label, int) and label < 0 and not names
    if label is None or is_below_zero or not str(label).strip():
        raise DataError(
            f"{where} has no class",
            found=repr(label),
            expected="a class for every image",
            tip=tip,
        )
    if not names:
        return spelling.normalise(str(label))
    if not isinstance(label, int) or not 0 <= label < len(names):
        listed = f", as {source} lists" if source else ""
        raise DataError(
            f"{where} has the class number {label}",
            expected=f"0 to {len(names) - 1}{listed}",
            tip=tip,
        )
    return spelling.normalise(names[label])
