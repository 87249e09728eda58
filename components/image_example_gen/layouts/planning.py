"""The plan of a source: its layout, and the parts that workers read."""

import dataclasses
import pathlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from common.errors import ConfigError, DataError
from components.image_example_gen import records
from components.image_example_gen.grouping import Grouping
from components.image_example_gen.layouts import (
    cifar,
    image_files,
    listed,
    registry,
    unread,
)
from components.image_example_gen.layouts.layout import (
    AUTO,
    Answers,
    Layout,
    Listing,
    setting,
)
from components.image_example_gen.sources import opening
from components.image_example_gen.sources.source import Member, Source, read_data_file
from schema import image_names, spelling

# Up to this many names of a tar are unpacked before a format of few files is decided.
_EARLY_NAMES = 64
_MAX_NAMED = 3
# Formats of which `data.group_by=column:NAME` finds a column.
_WITH_COLUMNS = ("list", "parquet", "tfrecord")
# Files that say something about the images; those of a tar are read in one pass.
_TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl")


@dataclasses.dataclass(frozen=True)
class Plan:
    """A source, and how to read it.

    Attributes:
      source: the files.
      layout: how the images lie in them.
      units: parts for one worker each; (None,) for a tar, which is read from its start.
      ignored: files that no unit holds; those of a tar are met when it is read.
      classes: see `Layout.classes`.
      answers: what a person decided; files that it leaves out are passed over.
    """

    source: Source
    layout: Layout
    units: tuple[tuple[str, ...] | None, ...]
    ignored: tuple[str, ...] = ()
    classes: frozenset[str] = frozenset()
    answers: Answers = Answers()

    @property
    def grouping(self) -> Grouping:
        """How the images get groups."""
        return self.answers.grouping

    def read(self, unit: tuple[str, ...] | None) -> Iterator[records.Found]:
        """Images of one part.

        Raises:
          ConfigError: an image has no group where all must.
          DataError: the part breaks its format.
        """
        grouping = self.grouping
        for found in self._read(unit):
            if grouping.is_by_path and isinstance(found, records.ImageFile):
                group = grouping.of_path(found.key, found.word)
                found = found._replace(group=group)
            yield found

    def _read(self, unit: tuple[str, ...] | None) -> Iterator[records.Found]:
        if unit is None:
            litter: set[str] = set()
            members = _clean(self.source.members(), self.answers, litter)
            yield from self.layout.read(members)
            yield from map(records.Ignored, sorted(litter))
            return
        reasons = self.source.unreadable
        for name in unit:
            if name in reasons:
                yield records.Unreadable(name, reasons[name])
        readable = tuple(name for name in unit if name not in reasons)
        yield from self.layout.read(self.source.members(readable))

    def reader(self) -> "Plan":
        """A copy without the names of files, which reads parts all the same."""
        return dataclasses.replace(self, units=(), ignored=())

    @property
    def is_random_access(self) -> bool:
        """Whether `read_file` works."""
        return self.source.is_random_access

    def read_file(self, name: str, limit: int) -> bytes:
        """Bytes of one file, at most `limit`, of a source with random access."""
        return self.source.read(name, limit)


def plan(path: str, answers: Answers = Answers()) -> Plan:
    """Finds out what lies at `path`.

    Args:
      path: folder or archive.
      answers: the format to look for just that, and what else a person decided.

    Raises:
      ConfigError: the format is unknown, or several readings fit.
      DataError: there is nothing of that kind.
    """
    if answers.format not in (AUTO, *registry.FORMATS):
        raise ConfigError(
            f"unknown input format '{answers.format}'",
            expected=", ".join((AUTO, *registry.FORMATS)),
        )
    source = opening.open_source(path)
    litter: set[str] = set()
    layout, names = _find(source, answers, litter)
    _check_grouping(answers.grouping, layout)
    classes = layout.classes(names)
    if not source.is_random_access:
        return Plan(source, layout, (None,), classes=classes, answers=answers)
    units = layout.units(names)
    used = {name for unit in units for name in unit}.union(layout.files)
    ignored = sorted(litter.union(names) - used)
    units += listed.chunks(sorted(_unreadable(source, answers)))
    return Plan(source, layout, tuple(units), tuple(ignored), classes, answers)


def _unreadable(source: Source, answers: Answers) -> tuple[str, ...]:
    """Files and folders that cannot be read, without those that the settings leave out."""
    return tuple(name for name in source.unreadable if not answers.leave_out(name))


def _check_grouping(grouping: Grouping, layout: Layout) -> None:
    """Raises ConfigError where images of the layout can have no such groups."""
    has_columns = layout.format in _WITH_COLUMNS
    if grouping.column and not has_columns:
        raise ConfigError(
            f"data of format {layout.format} have no column '{grouping.column}'",
            expected=f"a table, or one of {', '.join(_WITH_COLUMNS)}",
            tip="data.group_by=path:N takes the N-th folder below the class",
        )
    if grouping.text and layout.channels:
        raise ConfigError(
            f"images of format {layout.format} have no groups",
            found=f"data.group_by={grouping.text}",
            expected="image files, or records with a field for it",
        )


def _passed_over(name: str, answers: Answers) -> str:
    """The litter in a path, or the path that the settings leave out; '' if the file counts."""
    return image_names.litter_in(name) or (name if answers.leave_out(name) else "")


def _clean(
    members: Iterable[Member], answers: Answers, litter: set[str]
) -> Iterator[Member]:
    """The members that count; the others are added to `litter`."""
    for member in members:
        if found := _passed_over(member.name, answers):
            litter.add(found)
        else:
            yield member


def _find(
    source: Source, answers: Answers, litter: set[str]
) -> tuple[Layout, list[str]]:
    """The layout and the names of the files that count; adds the others to `litter`."""
    contents = _Contents(source)
    names: list[str] = []
    for name in source.names():
        if found := _passed_over(name, answers):
            litter.add(found)
            continue
        names.append(name)
        # A tar of batches need not be unpacked to its end to be recognised.
        if not source.is_random_access and len(names) <= _EARLY_NAMES:
            listing = Listing(tuple(names), answers, contents.read)
            if early := cifar.find(listing):
                return early, names
    unreadable = _unreadable(source, answers)
    listing = Listing(tuple(names), answers, contents.read, unreadable)
    layout = registry.find(listing)
    if layout is None:
        raise _nothing_found(source, names, answers.format)
    return layout, names


class _Contents:
    """Content of small files; one pass over a tar reads all its text files."""

    def __init__(self, source: Source):
        self._source = source
        self._read: dict[str, bytes] = {}

    def read(self, wanted: Sequence[str]) -> dict[str, bytes]:
        """Content of the files called `wanted`."""
        if missing := {name for name in wanted if name not in self._read}:
            asked = sorted(missing) if self._source.is_random_access else None
            for member in self._source.members(asked):
                is_text = member.name.lower().endswith(_TEXT_SUFFIXES)
                if member.name in missing or is_text:
                    self._read[member.name] = read_data_file(member)
        return {name: self._read[name] for name in wanted}


def _nothing_found(source: Source, names: list[str], input_format: str) -> DataError:
    path = source.path
    if not names:
        reasons = [f"{name}: {why}" for name, why in sorted(source.unreadable.items())]
        return DataError(
            f"nothing in {path} can be read" if reasons else f"{path} is empty",
            found=spelling.listed(reasons, _MAX_NAMED, "; "),
            expected=f"{path.name}/<class>/*.jpg, or a dataset in another known layout",
        )
    images = [name for name in names if image_names.is_image_name(name)]
    tip = _what_to_do(path, names, images)
    if input_format == AUTO:
        what = "class folders" if images else "images"
    else:
        what = f"data in the format '{input_format}'"
    expected = ""
    if input_format in (AUTO, "folder"):
        name = path.name
        expected = f"{name}/<class>/*.jpg or {name}/{{train,val}}/<class>/*.jpg"
    return DataError(
        f"no {what} in {path}", found=_tally(names), expected=expected, tip=tip
    )


def _what_to_do(path: pathlib.Path, names: list[str], images: list[str]) -> str:
    archived = [
        name
        for name in names
        if name.lower().endswith((".tar", ".tar.gz", ".tgz", ".tar.xz", ".zip"))
    ]
    if archived and not path.is_dir():
        return f"unpack {path.name}: it holds archives, as {archived[0]}"
    if len(archived) == 1:
        return f"give the archive itself: {path / archived[0]}"
    if archived:
        return "unpack the archives, each into a folder of its own"
    if in_names := image_files.classes_in_names(images):
        classes = ", ".join(in_names[:_MAX_NAMED])
        return f"{setting('data.class_from', 'name')} (classes: {classes})"
    if images:
        return "put the images into class folders, or add a table of files and classes"
    return unread.how_to_convert(names)


def _tally(names: list[str]) -> str:
    """'images/ (3,670 jpg), labels.csv', at most five groups."""
    groups: Counter[tuple[str, str]] = Counter()
    for name in names:
        folder, slash, _ = name.partition("/")
        suffix = pathlib.PurePosixPath(name).suffix.lstrip(".").lower() or "files"
        groups[(folder + slash, suffix) if slash else (name, "")] += 1
    groups_in_words = [
        f"{place} ({count:,} {suffix})" if suffix else place
        for (place, suffix), count in sorted(groups.items())
    ]
    return spelling.listed(groups_in_words)
