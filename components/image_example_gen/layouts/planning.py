"""The plan of a source: its layout, and the parts that can be read apart."""

import dataclasses
import pathlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from components.image_example_gen import records
from components.image_example_gen.grouping import NO_GROUPS, Grouping
from components.image_example_gen.layouts import (
    folders,
    parquet,
    registry,
    tables,
    tfrecords,
)
from components.image_example_gen.layouts.layout import (
    AUTO,
    Answers,
    Found,
    Layout,
    Listing,
)
from components.image_example_gen.sources import opening
from components.image_example_gen.sources.source import Member, Source, read_data_file
from schema import image_names
from schema.errors import ConfigError, DataError

# Up to this many names of a tar are unpacked before a format of few files is decided.
_EARLY_NAMES = 64
_MAX_NAMED = 3
# Formats of which `data.group_by=column:NAME` finds a column.
_WITH_COLUMNS = (*tables.FORMATS, *parquet.FORMATS, *tfrecords.FORMATS)
# Files that say something about the images; those of a tar are read in one pass.
_TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl")


@dataclasses.dataclass(frozen=True)
class Plan:
    """A source, and how to read it.

    Attributes:
      source: the files.
      layout: how the images lie in them.
      units: parts to be read apart; (None,) for a tar, which is read from its start.
      ignored: files that no unit holds; those of a tar are met when it is read.
      unreadable: files and folders in the units that cannot be read, with the reason.
      classes: see `Layout.classes`.
      grouping: how the images get groups.
    """

    source: Source
    layout: Layout
    units: tuple[tuple[str, ...] | None, ...]
    ignored: tuple[str, ...]
    unreadable: Mapping[str, str] = dataclasses.field(default_factory=dict)
    classes: frozenset[str] = frozenset()
    grouping: Grouping = NO_GROUPS

    def read(self, unit: tuple[str, ...] | None) -> Iterator[Found]:
        """Images of one part.

        Raises:
          ConfigError: an image has no group where all must.
          DataError: the part breaks its format.
        """
        for found in self._read(unit):
            if self.grouping.is_by_path and isinstance(found, records.ImageFile):
                group = self.grouping.of_path(found.key, found.word)
                found = found._replace(group=group)
            yield found

    def _read(self, unit: tuple[str, ...] | None) -> Iterator[Found]:
        if unit is None:
            litter: set[str] = set()
            yield from self.layout.read(_clean(self.source.members(), litter))
            yield from map(records.Ignored, sorted(litter))
            return
        for name in unit:
            if name in self.unreadable:
                yield records.Unreadable(name, self.unreadable[name])
        readable = tuple(name for name in unit if name not in self.unreadable)
        yield from self.layout.read(self.source.members(readable))

    def reader(self) -> "Plan":
        """The same without the names of files: what it takes to read a part."""
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
    grouping = answers.grouping
    _check_grouping(grouping, layout)
    classes = layout.classes(names)
    if not source.is_random_access:
        return Plan(source, layout, (None,), (), classes=classes, grouping=grouping)
    units = layout.units(names)
    used = {name for unit in units for name in unit} | layout.used()
    ignored = sorted(litter.union(name for name in names if name not in used))
    units += folders.chunks(sorted(source.unreadable))
    return Plan(
        source,
        layout,
        tuple(units),
        tuple(ignored),
        source.unreadable,
        classes,
        grouping,
    )


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


def _clean(members: Iterable[Member], litter: set[str]) -> Iterator[Member]:
    """The members that are no litter; the others are added to `litter`."""
    for member in members:
        if found := image_names.litter_in(member.name):
            litter.add(found)
        else:
            yield member


def _find(
    source: Source, answers: Answers, litter: set[str]
) -> tuple[Layout, list[str]]:
    """The layout, and the names of all files but the `litter`, which is filled."""
    contents = _Contents(source)
    names: list[str] = []
    for name in source.names():
        if found := image_names.litter_in(name):
            litter.add(found)
            continue
        names.append(name)
        # A tar of batches need not be unpacked to its end to be recognised.
        if not source.is_random_access and len(names) <= _EARLY_NAMES:
            listing = Listing(tuple(names), answers, contents.read)
            if early := registry.find(listing, registry.EARLY):
                return early, names
    listing = Listing(tuple(names), answers, contents.read, tuple(source.unreadable))
    layout = registry.find(listing)
    if layout is None:
        raise _nothing_found(source, names, answers.format)
    return layout, names


class _Contents:
    """Content of small files; a tar is passed through once for all its texts."""

    def __init__(self, source: Source):
        self._source = source
        self._read: dict[str, bytes] = {}

    def read(self, wanted: Sequence[str]) -> dict[str, bytes]:
        """Content of the files called `wanted`."""
        missing = [name for name in wanted if name not in self._read]
        if missing and self._source.is_random_access:
            self._keep(missing, missing)
        elif missing:
            self._keep(None, missing)
        return {name: self._read[name] for name in wanted}

    def _keep(self, asked: list[str] | None, missing: Sequence[str]) -> None:
        for member in self._source.members(asked):
            is_text = member.name.lower().endswith(_TEXT_SUFFIXES)
            if member.name in missing or is_text:
                self._read[member.name] = read_data_file(member)


def _nothing_found(source: Source, names: list[str], input_format: str) -> DataError:
    path = source.path
    if not names and source.unreadable:
        found = [f"{name}: {why}" for name, why in sorted(source.unreadable.items())]
        more = f"; and {len(found) - _MAX_NAMED:,} more" * (len(found) > _MAX_NAMED)
        return DataError(
            f"nothing in {path} can be read", found="; ".join(found[:_MAX_NAMED]) + more
        )
    if not names:
        return DataError(
            f"{path} is empty",
            expected=f"{path.name}/<class>/*.jpg, or a data set in another known layout",
        )
    archived = [
        name
        for name in names
        if name.lower().endswith((".tar", ".tar.gz", ".tgz", ".tar.xz", ".zip"))
    ]
    tip = "slimline data inspect PATH shows what is seen"
    if archived:
        tip = f"give the archive itself: {path / archived[0]}"
    images = sum(image_names.is_image_name(name) for name in names)
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


def _tally(names: list[str]) -> str:
    """'images/ (3,670 jpg), labels.csv', at most five groups."""
    groups: Counter[tuple[str, str]] = Counter()
    for name in names:
        folder, slash, _ = name.partition("/")
        suffix = pathlib.PurePosixPath(name).suffix.lstrip(".").lower() or "files"
        groups[(folder + slash, suffix) if slash else (name, "")] += 1
    told = [
        f"{place} ({count:,} {suffix})" if suffix else place
        for (place, suffix), count in sorted(groups.items())
    ]
    more = f" and {len(told) - 5} more" if len(told) > 5 else ""
    return ", ".join(told[:5]) + more
