"""Files with many images each: what their layouts have in common."""

import abc
import dataclasses
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

from common.errors import ConfigError, DataError
from components.image_example_gen import records
from components.image_example_gen.layouts import split_names
from components.image_example_gen.layouts.layout import (
    AUTO,
    Answers,
    Layout,
    Listing,
    question,
    setting,
    splits_setting,
)
from components.image_example_gen.sources.source import Member
from schema import spelling

MAX_NAMED = 4
# Usual names of fields, in the order in which they are looked for.
_IMAGES = (
    "image/encoded image image_bytes image/image_raw image_raw encoded img jpeg jpg "
    "png content bytes"
)
_LABELS = (
    "image/class/text class/text label_name class_name image/class/label label class "
    "fine_label target category labels y"
)


class ContainerLayout(Layout):
    """Reads the files of one kind, each by itself.

    Attributes:
      FORMAT: name of the kind, for `data.format`.
      NAME: fits the names of these files, without their folder.
    """

    FORMAT: ClassVar[str]
    NAME: ClassVar[re.Pattern[str]]

    @classmethod
    def is_ours(cls, name: str) -> bool:
        """Whether a file is of the kind, by its name."""
        return bool(cls.NAME.fullmatch(posixpath.basename(name)))

    @classmethod
    def first(cls, listing: Listing) -> Member | None:
        """The first file of the kind; None without one.

        None, too, where image files lie beside: then these are the dataset.

        Raises:
          ConfigError: the files lie in several folders, and these are no splits.
        """
        names = sorted(filter(cls.is_ours, listing.names))
        if not names or listing.images:
            return None
        if listing.answers.format == AUTO:
            _check_folders(cls.FORMAT, names)
        return Member(names[0], lambda limit: listing.read(names[:1])[names[0]])

    @abc.abstractmethod
    def read_file(self, member: Member) -> Iterator[records.Found]:
        """The images in one file.

        Raises:
          DataError: the file is damaged, or is not like the one that was looked at.
        """

    def units(self, names: Iterable[str]) -> list[tuple[str, ...]]:
        """Parts for one worker each: a file."""
        return [(name,) for name in names if self.is_ours(name)]

    def read(self, members: Iterable[Member]) -> Iterator[records.Found]:
        for member in members:
            if self.is_ours(member.name):
                yield from self.read_file(member)
            else:
                yield records.Ignored(member.name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordLayout(ContainerLayout):
    """Records with an encoded image, its class and perhaps its group.

    Attributes:
      image: field with the encoded image. label: field with the class.
      group: field with the groups, '' for none.
      class_names: name of each number; empty where the classes are texts or numbers.
    """

    image: str
    label: str
    group: str
    class_names: tuple[str, ...] = ()

    def image_file(
        self, split: str, key: str, data: bytes, label: object, group: object
    ) -> records.ImageFile:
        """The image of a record.

        Args:
          split: of the file. key: of the record.
          data: the encoded image.
          label: as it is stored: a number, or a text, which may be bytes.
          group: as it is stored; unused where no field has the groups.

        Raises:
          DataError: the record has no class or group, or a class of an unknown number.
        """
        names = self.class_names
        if isinstance(label, bytes):
            label, names = label.decode("utf-8", "surrogateescape"), ()
        word = class_of(key, label, names, *self.files)
        return records.ImageFile(split, key, word, data, "", self._group(key, group))

    def _group(self, key: str, value: object) -> str:
        if not self.group:
            return ""
        if value in (None, "", b""):
            raise DataError(
                f"{key} names no group",
                expected=f"one in the field '{self.group}' of every record, by"
                " data.group_by",
            )
        if isinstance(value, bytes):
            value = value.decode("utf-8", "surrogateescape")
        return spelling.normalise(str(value))


def choose_fields(
    file: str, images: Sequence[str], others: Sequence[str], answers: Answers
) -> tuple[str, str, str]:
    """Fields with the image, the class and the groups, the last '' where none are wanted.

    Args:
      file: with the records.
      images: fields that may be encoded images.
      others: fields that are a text or a number; some may be `images`, too.
      answers: of a person; they name fields or ask for groups.

    Raises:
      ConfigError: several fields may be one of them, or the one asked for is missing.
      DataError: there is none.
    """
    image = _choose(
        file, images, _IMAGES, answers.path_column, "path", "encoded images"
    )
    others = [name for name in others if name != image]
    group = answers.grouping.column
    if group and group not in others:
        raise ConfigError(
            f"{file} has no field '{group}' with the groups",
            found=", ".join(others),
            tip="set data.group_by to column:NAME with one of them",
        )
    others = [name for name in others if name != group]
    label = _choose(file, others, _LABELS, answers.label_column, "label", "classes")
    return image, label, group


def _choose(
    file: str, fields: Sequence[str], usual: str, given: str, key: str, what: str
) -> str:
    """The field that a setting names, else the first with a usual name."""
    if given and given not in fields:
        raise ConfigError(
            f"{file} has no field '{given}' with {what}",
            found=", ".join(fields),
            tip=f"set data.columns.{key} to one of them",
        )
    if not fields:
        raise DataError(
            f"{file} has no field with {what}",
            tip=f"{splits_setting({file: 'none'})} leaves the file out; so it does with"
            " the name of a folder",
        )
    wanted = [given] if given else usual.split()
    named = [name for name in wanted if name in fields]
    if not named and len(fields) > 1:
        raise question(
            f"several fields of {file} may hold the {what}",
            found=", ".join(fields),
            answers=[setting(f"data.columns.{key}", name) for name in fields],
        )
    return (named or fields)[0]


def split_of_shard(name: str) -> str:
    """Split that the name of a file says, or the folder that it lies in; '' for none."""
    *folders, base = name.split("/")
    parts = (base.split(".")[0], *reversed(folders))
    return next(filter(None, (split_names.divide(part)[1] for part in parts)), "")


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
