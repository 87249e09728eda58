"""Images named in tables and lists: CSV, TSV, JSON, or `path label` a line."""

import dataclasses
import posixpath
from collections import Counter
from typing import NamedTuple

from common.errors import ConfigError, DataError
from components.image_example_gen.layouts import (
    class_files,
    columns,
    folder_questions,
    folders,
    image_files,
    rows,
    split_names,
)
from components.image_example_gen.layouts.layout import (
    AUTO,
    Listing,
    question,
    setting,
    splits_setting,
)
from components.image_example_gen.layouts.listed import Entry, FileLayout, left_out
from schema import image_names
from schema.spelling import vocabulary

MAX_NAMED = 3
# More files of one kind than this belong to single images.
MAX_TABLES = 100
_TABLE_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl")
_LIST_STEMS = vocabulary("labels list annotations")


class _Read(NamedTuple):
    """What was read from one table: an entry for each image, its columns, and sentences."""

    entries: dict[str, Entry]
    columns: columns.Columns
    words: tuple[str, ...]

    @property
    def classes(self) -> set[str]:
        """All classes that it names."""
        return {entry.word for entry in self.entries.values()}


def find(listing: Listing) -> FileLayout | None:
    """Layout of the tables that name images, or None.

    Raises:
      ConfigError: several columns may hold the classes, paths fit files in several
        folders, or the images lie in class folders and a table says something else.
      DataError: a table names images that are not there, or breaks its form.
    """
    if listing.answers.class_from != AUTO or not listing.images:
        return None
    names = _candidates(listing)
    images = image_files.ImageFiles(listing.listable)
    read: dict[str, _Read] = {}
    passed_over = []
    for file, data in listing.read(names).items():
        if found := _read(file, data, images, listing):
            read[file] = found
        else:
            passed_over.append(f"{file} names none of the images and is passed over")
    if not read and listing.answers.columns():
        raise ConfigError(
            "no table of images has the columns that data.columns names",
            found=", ".join(sorted(names)[:MAX_NAMED]) or "no table",
            expected=", ".join(sorted(listing.answers.columns())),
        )
    if not read:
        return None
    _check_folders(listing, read)
    _check_columns(listing, read)
    entries = _merge(read)
    root = posixpath.commonpath(map(posixpath.dirname, (*entries, *read)))
    layout = FileLayout(
        format="list",
        words=tuple(line for table in read.values() for line in table.words),
        files=tuple(read),
        entries=entries,
        root=f"{root}/" if root else "",
    )
    layout = class_files.name_classes(layout, listing)
    unlisted = left_out(len(listing.listable) - len(entries))
    words = (*layout.words, *unlisted, *passed_over)
    return dataclasses.replace(layout, words=words)


def is_table_name(name: str) -> bool:
    """Whether a file may be a table or a list, by its name."""
    stem, suffix = posixpath.splitext(posixpath.basename(name).lower())
    is_list = suffix == ".txt" and (
        stem in _LIST_STEMS or bool(split_names.split_of(stem))
    )
    # Kaggle's example of an answer holds classes, but not the true ones.
    is_sample = "submission" in stem or "sample_sub" in stem or "samplesub" in stem
    return (suffix in _TABLE_SUFFIXES or is_list) and not is_sample


def _candidates(listing: Listing) -> list[str]:
    """Files that may be tables, of each kind as many as a dataset can have."""
    names = sorted(filter(is_table_name, listing.names))
    suffixes = [posixpath.splitext(name)[1].lower() for name in names]
    uses = Counter(suffixes)
    kept = zip(names, suffixes, strict=True)
    return [name for name, suffix in kept if uses[suffix] <= MAX_TABLES]


def _read(
    file: str, data: bytes, images: image_files.ImageFiles, listing: Listing
) -> _Read | None:
    """Entries of the images in a table; None where it is about something else."""
    tables = [rows.parse(file, data)]
    if file.lower().endswith(".txt"):
        tables.append(_split_at_blanks(file, data, images))
    known = [table for table in tables if table]
    for table in known:
        if found := columns.find(table, images, listing.answers):
            return _entries(found, images, listing)
    for table in known:
        if path := columns.path_by_header(table, listing.answers):
            missing = list(zip(path.cells, table.lines, strict=True))
            raise _missing(file, missing, images, len(missing))
    return None


def _split_at_blanks(
    file: str, data: bytes, images: image_files.ImageFiles
) -> rows.Table | None:
    """A list of `path label` lines as a table; None for a list of paths alone."""
    text, words = rows.decode(file, data)
    folder = posixpath.dirname(file)
    found, lines = [], []
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line:
            continue
        path, _, word = line.rpartition(" ")
        first, _, rest = line.partition(" ")
        # Blanks are in the path or in the class; where the files are says which.
        in_class = images.find(first, folder) and not images.find(path, folder)
        is_first = in_class or not path
        found.append((first, rest.strip()) if is_first else (path.strip(), word))
        lines.append(number)
    if not any(
        image_names.is_image_name(posixpath.basename(path)) or images.find(path, folder)
        for path, word in found
        if word
    ):
        return None  # names of classes, or paths alone
    return rows.Table(file, ("path", "label"), tuple(found), tuple(lines), words)


def _entries(
    found: columns.Columns, images: image_files.ImageFiles, listing: Listing
) -> _Read:
    table = found.table
    if table.too_long:
        raise DataError(
            f"line {table.too_long[0]} of {table.file} has more cells than the header",
            expected="cells that hold the delimiter in quotes",
        )
    cells = found.path.cells
    missing = [
        (cell, line)
        for line, cell, files in zip(table.lines, cells, found.files, strict=True)
        if not files
    ]
    if missing:
        raise _missing(table.file, missing, images, len(cells))
    split = _split_of_file(table.file)
    files = image_files.narrow(found.files, split)
    if files is None:
        raise _several_files(table.file, found.files, dict(listing.answers.splits))
    entries: dict[str, Entry] = {}
    splits = _splits(found, listing, split)
    groups = found.groups or [""] * len(files)
    for line, name, word, of_row, group in zip(
        table.lines, files, found.labels, splits, groups, strict=True
    ):
        if not word:
            raise DataError(
                f"line {line} of {table.file} has no label",
                expected="a class for every image",
                tip="write its class, or take the line out",
            )
        if word.startswith("[") and table.is_json:
            raise _several(table.file, name, "class", word)
        if found.groups and not group:
            raise DataError(
                f"line {line} of {table.file} names no group",
                expected="one for every image, by data.group_by",
            )
        entry = Entry(of_row, word, group)
        before = entries.setdefault(name, entry)
        if before.word != word:
            raise _several(table.file, name, "class", f"{before.word}, {word}")
        if before.group != group:
            raise _several(table.file, name, "group", f"{before.group}, {group}")
    kept = {name: entry for name, entry in entries.items() if entry.split != "none"}
    words = [f"{table.file}: {found.words}", *table.words, *columns.unread(found)]
    otherwise = [
        f"{cell} is {posixpath.basename(name)}"
        for cell, name in zip(cells, files, strict=True)
        if image_files.has_other_spelling(cell, name)
    ]
    if otherwise:
        words.append(f"{len(otherwise):,} files have another spelling: {otherwise[0]}")
    return _Read(kept, found, tuple(words))


def _splits(found: columns.Columns, listing: Listing, of_file: str) -> list[str]:
    """Split of each row: of its own word, else of the table's name or folder."""
    if found.splits is None:
        return [of_file] * len(found.labels)
    given = dict(listing.answers.splits)
    splits = []
    for line, word in zip(found.table.lines, found.splits, strict=True):
        split = given.get(word) or split_names.split_of(word)
        if not split and word.lower() not in columns.NO_SPLIT:
            raise DataError(
                f"line {line} of {found.table.file} names the split '{word}'",
                expected=", ".join(split_names.SPLIT_OF_NAME),
                tip=f"{splits_setting({word: 'test'})} (or train, eval, none)",
            )
        splits.append(split or of_file)
    return splits


def _split_of_file(file: str) -> str:
    folder, base = posixpath.split(file)
    names = (posixpath.splitext(base)[0], posixpath.basename(folder))
    return split_names.of_path(names, {})


def _merge(read: dict[str, _Read]) -> dict[str, tuple[Entry, ...]]:
    """Entries of all tables; those that say the same are one."""
    merged: dict[str, tuple[Entry, ...]] = {}
    for file, table in read.items():
        for name, entry in table.entries.items():
            before = merged.get(name, ())
            if any(other.word != entry.word for other in before):
                raise question(
                    f"two tables name different classes of {name}",
                    found=f"{before[0].word}; {file}: {entry.word}",
                    answers=[
                        splits_setting({posixpath.basename(other): "none"})
                        + f" (leaves {other} out)"
                        for other in read
                    ],
                )
            if not entry.split and before:
                continue
            kept = tuple(other for other in before if other.split and other != entry)
            merged[name] = (*kept, entry)
    return merged


def _check_folders(listing: Listing, read: dict[str, _Read]) -> None:
    """Asks where the folders are classes, and tables have other ones or only some images.

    Other classes are right where their column is called so.
    """
    if listing.answers.format != AUTO or listing.answers.label_column:
        return
    in_folders = folders.classes_of(listing)
    if len(set(in_folders.values())) < 2:
        return
    answers = [setting("data.format", "folder"), setting("data.format", "list")]
    unlisted = set(in_folders).difference(*(table.entries for table in read.values()))
    if unlisted:
        raise question(
            f"the images lie in class folders, and {', '.join(read)} names only some",
            found=f"{len(unlisted):,} of {len(in_folders):,} images are in no table",
            answers=answers,
        )
    unsaid = [file for file, table in read.items() if not table.columns.says_labels]
    words = {
        name: entry.word
        for file in unsaid
        for name, entry in read[file].entries.items()
    }
    if any(in_folders.get(name, word) != word for name, word in words.items()):
        raise question(
            f"the folders and {unsaid[0]} give different classes",
            found=f"folders: {folder_questions.few(in_folders.values())};"
            f" table: {folder_questions.few(words.values())}",
            answers=answers,
        )


def _check_columns(listing: Listing, read: dict[str, _Read]) -> None:
    """Asks where a table says which column has the classes, and another has none called so.

    A Kaggle test.csv has every column but that one.
    """
    with_labels = [
        table
        for table in read.values()
        if table.columns.says_labels and table.columns.label
    ]
    known = set().union(*(table.classes for table in with_labels))
    for file, table in read.items():
        is_known = table.columns.says_labels or table.classes <= known
        if with_labels and not is_known:
            label = with_labels[0].columns.label
            given = dict(listing.answers.splits)
            raise question(
                f"'{table.columns.label}' of {file} may be no classes: other tables have '{label}'",
                found=f"{folder_questions.few(table.classes)}; others: {folder_questions.few(known)}",
                answers=[
                    splits_setting({**given, posixpath.basename(file): "none"})
                    + f" (leaves {file} out)",
                    setting("data.columns.label", label) + " (tables with it alone)",
                ],
            )


def _missing(
    file: str,
    missing: list[tuple[str, int]],
    images: image_files.ImageFiles,
    listed: int,
) -> DataError:
    """Error for cells that name no file, each with its line; of `listed` rows."""
    rows_of_file = [
        f"line {line} of {file}: {cell}" for cell, line in missing[:MAX_NAMED]
    ]
    near = images.near(missing[0][0])
    return DataError(
        f"{len(missing):,} of {listed:,} listed images are not there",
        found="; ".join(rows_of_file) + (f"; {near} is there" if near else ""),
        expected="paths relative to the folder of the list, or names of files",
        tip=f"{splits_setting({posixpath.basename(file): 'none'})} leaves the list out",
    )


def _several(file: str, name: str, what: str, found: str) -> DataError:
    return DataError(
        f"{file} gives {name} more than one {what}",
        found=found,
        expected=f"one {what} an image",
    )


def _several_files(
    file: str, found: list[tuple[str, ...]], given: dict[str, str]
) -> ConfigError:
    example = next(row for row in found if len(row) > 1)
    places = sorted({posixpath.dirname(name) for name in example})
    if len(places) > 1:
        ways = {posixpath.basename(place): f"{place}/" for place in places}
        what = "files in several folders"
    else:
        what = "several files in a folder"
        endings = sorted({posixpath.splitext(name)[1] for name in example})
        ways = {f"*{ending}": f"files with {ending}" for ending in endings}
    return question(
        f"names in {file} fit {what}",
        found=", ".join(example[:MAX_NAMED]),
        answers=[
            splits_setting({**given, name: "none"}) + f" (leaves {way} out)"
            for name, way in list(ways.items())[:MAX_NAMED]
        ],
    )
