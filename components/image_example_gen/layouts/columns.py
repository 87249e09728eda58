"""Which columns of a table name the files, the classes, the splits and the groups."""

import dataclasses
import posixpath
from collections.abc import Collection, Sequence

from common.errors import ConfigError, DataError
from components.image_example_gen.layouts import split_names
from components.image_example_gen.layouts.image_files import ImageFiles
from components.image_example_gen.layouts.layout import Answers, question, setting
from components.image_example_gen.layouts.rows import Table
from schema import image_names
from schema.spelling import vocabulary

_LABELS = vocabulary(
    "label labels class classes category target classname class_name label_name "
    "labelname category_name tag choice classificationannotation.displayname classid "
    "class_id"
)
_PATHS = vocabulary(
    "path file filename file_name filepath file_path image image_id image_name "
    "image_path img id"
)
_SPLITS = vocabulary("split set subset partition usage ml_use phase")
# Columns that measure or keep books, and say nothing about the class.
_OTHERS = vocabulary(
    "xmin xmax ymin ymax x y w h width height depth size confidence url date "
    "timestamp created_at updated_at annotator annotation_id lead_time index source"
)
_BINARY = frozenset(("0", "1", "0.0", "1.0"))
# Columns that may be splits; only their owner knows of what.
_PARTS = vocabulary("fold kfold is_train is_test is_val is_valid")
_BOXES = vocabulary("xmin ymin xmax ymax roi.x1 roi.y1 bbox")
# What programs write where there is nothing.
_NOTHING = vocabulary("nan none null nil na n/a #n/a <na>")
_PLURALS = vocabulary("labels tags classes categories attributes")
_SEPARATORS = ("|", ";", ",", " ")
_MIN_DISTINCT = 4
_ROUNDING = 0.02
_NO_SPLIT = frozenset(("", "unassigned"))


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns that count.

    Attributes:
      table: the table, without a header where the first line was a row.
      path: index of the one that names the files.
      files: what each of its cells may name.
      labels: the classes, a text a row. label: the column that has them, '' for several.
      splits: the splits, a text a row, or None where no column has them.
      groups: the groups, a text a row, or None where none were asked for.
      words: what was chosen, and why.
    """

    table: Table
    path: int
    files: list[tuple[str, ...]]
    labels: list[str]
    label: str
    splits: list[str] | None
    groups: list[str] | None
    words: str


def find(table: Table, images: ImageFiles, answers: Answers) -> Columns | None:
    """The columns of a table of images; None where it is some other table.

    A table without a column that a person named is some other one.

    Raises:
      ConfigError: several columns may hold the classes, or that of the groups is missing.
      DataError: rows of the one-hot form have no class or several.
    """
    if table.has_header and any(
        posixpath.splitext(cell)[1] and images.find(cell, table.folder)
        for cell in table.header
    ):
        table = table.without_header()
    if not table.rows or not answers.columns() <= set(table.names):
        return None
    found = _find_path(table, images, answers)
    if found is None:
        return None
    path, files = found
    split = _find_split(table, path, answers)
    group = _find_group(table, answers)
    label, labels = _find_labels(table, (path, split, group), images, answers)
    words = f"'{label}' the classes" if label else "a column per class (one-hot)"
    sentence = f"'{table.header[path]}' names the files, {words}"
    if split is not None:
        sentence += f", '{table.header[split]}' the splits"
    if group is not None:
        sentence += f", '{table.header[group]}' the groups"
    splits, groups = (
        None if index is None else table.column(index) for index in (split, group)
    )
    return Columns(table, path, files, labels, label, splits, groups, sentence)


def unread(columns: Columns) -> list[str]:
    """Sentences about columns that say something, and are not read."""
    sentences = []
    if not _BOXES.isdisjoint(columns.table.names):
        sentences.append("boxes are not read: the class is that of the whole image")
    parts = [name for name in columns.table.header if name.lower() in _PARTS]
    if parts and columns.splits is None:
        sentences.append(
            f"'{parts[0]}' may be splits and is not read; to read it:"
            f" {setting('data.columns.split', parts[0])} {setting('data.splits', '[0=test, 1=train]')}"
        )
    return sentences


def speaks_of_images(table: Table, answers: Answers) -> bool:
    """Whether the header has a column for files and one for classes, and all asked for."""
    names = set(table.names)
    is_one = bool(table.rows and names & _PATHS and names & _LABELS)
    return is_one and answers.columns() <= names


def path_by_name(table: Table) -> int:
    """The first column whose name says that it names files; the first where none does."""
    return next((n for n, name in enumerate(table.names) if name in _PATHS), 0)


def says_labels(columns: Columns) -> bool:
    """Whether the header itself says where the classes are, or by its form."""
    return not _LABELS.isdisjoint(columns.table.names) or not columns.label


def split_of_word(word: str, answers: Answers) -> str | None:
    """Split that a word of a table stands for, '' for none; None where it is unknown."""
    given = dict(answers.splits)
    if word in given:
        return given[word]
    if word.lower() in _NO_SPLIT:
        return ""
    return split_names.split_of(word) or None


def _named(table: Table, wanted: str) -> int | None:
    """Index of the column that a setting names; None without one."""
    return table.names.index(wanted.lower()) if wanted else None


def _find_path(
    table: Table, images: ImageFiles, answers: Answers
) -> tuple[int, list[tuple[str, ...]]] | None:
    """The column that names the most files, and what each of its cells may name."""
    named = _named(table, answers.path_column)
    fits: dict[int, tuple[int, int, bool]] = {}
    files: dict[int, list[tuple[str, ...]]] = {}
    for index in range(len(table.header)) if named is None else (named,):
        cells = table.column(index)
        found = images.column(cells, table.folder)
        distinct = len(set(found) - {()})
        # A class number may be the name of an image file, too: '7' and 7.png.
        are_numbers = all(cell.isdecimal() for cell in cells)
        if distinct and not (are_numbers and 2 * distinct < len(cells)):
            are_names = any(map(image_names.is_image_name, cells))
            fits[index] = (distinct, sum(map(bool, found)), are_names)
            files[index] = found
    if not fits:
        return None
    best = max(
        fits,
        key=lambda index: (fits[index], table.names[index] in _PATHS, -index),
    )
    rivals = [
        index
        for index in fits
        if fits[index] == fits[best] and fits[best][2] and files[index] != files[best]
    ]
    if rivals:
        names = [table.header[index] for index in (best, *rivals)]
        raise question(
            f"several columns of {table.file} name different files",
            found=", ".join(names),
            answers=[setting("data.columns.path", name) for name in names],
        )
    return best, files[best]


def _find_split(table: Table, path: int, answers: Answers) -> int | None:
    named = _named(table, answers.split_column)
    if named is not None:
        return named
    for index, name in enumerate(table.names):
        if index != path and name.rpartition("/")[2] in _SPLITS:
            return index
    for index in range(len(table.header)):
        cells = {cell for cell in table.column(index) if cell.lower() not in _NO_SPLIT}
        if index != path and len(cells) > 1 and all(map(split_names.split_of, cells)):
            return index
    return None


def _find_group(table: Table, answers: Answers) -> int | None:
    wanted = answers.grouping.column
    try:
        return _named(table, wanted)
    except ValueError as error:
        raise ConfigError(
            f"{table.file} has no column '{wanted}' with the groups",
            found=", ".join(table.header),
            tip=f"{setting('data.group_by', f'column:{table.header[-1]}')}, say",
        ) from error


def _find_labels(
    table: Table,
    taken: Collection[int | None],
    images: ImageFiles,
    answers: Answers,
) -> tuple[str, list[str]]:
    """The column with the classes, '' for one per class, and the class of each row."""
    named = _named(table, answers.label_column)
    if named is not None:
        return table.header[named], table.column(named)
    open_columns = [
        index
        for index, name in enumerate(table.names)
        if index not in taken and name not in _OTHERS and any(table.column(index))
    ]
    binary = [
        index
        for index in open_columns
        if set(table.column(index)) <= _BINARY and table.names[index] not in _LABELS
    ]
    if len(binary) > 1 and (
        len(binary) == len(open_columns) or _is_one_hot(table, binary)
    ):
        return "", _one_hot(table, binary)
    _check_probabilities(table, open_columns)
    candidates = _likely(table, open_columns, images)
    if not candidates:
        raise DataError(
            f"{table.file} has no column with classes",
            found=", ".join(table.header),
            expected="a column that names the files and one with their classes",
            tip="set data.format to folder if the folders are the classes",
        )
    say = [index for index in candidates if table.names[index] in _LABELS]
    chosen = _one_of(table, say or candidates)
    if chosen is None:
        names = [table.header[index] for index in say or candidates]
        raise question(
            f"several columns of {table.file} may hold the classes",
            found=", ".join(
                f"{table.header[index]} ({len(set(table.column(index)))} values,"
                f" as {table.column(index)[0]})"
                for index in say or candidates
            ),
            answers=[setting("data.columns.label", name) for name in names],
        )
    if _are_numbers(table, chosen):
        texts = [
            index
            for index in candidates
            if not _are_numbers(table, index) and _are_same(table, chosen, index)
        ]
        chosen = texts[0] if texts else chosen
    _check_labels(table, chosen)
    return table.header[chosen], table.column(chosen)


def _check_labels(table: Table, index: int) -> None:
    """Asks about a column that no setting names and whose cells may not be classes.

    Raises:
      ConfigError: they say nothing, several things, another one in each row, or measure.
    """
    name, cells = table.header[index], table.column(index)
    is_said = name.lower() in _LABELS
    distinct = set(cells) - {""}
    nothing = sorted(cell for cell in distinct if cell.lower() in _NOTHING)
    is_plural = name.lower() in _PLURALS
    several = [
        cell for cell in sorted(distinct) if _names_several(cell, distinct, is_plural)
    ]
    if nothing:
        what, found = "may have no class in some rows", nothing[0]
    elif several:
        what, found = "may have several classes in a row", several[0]
    elif all(map(_is_float, distinct)) and any(float(cell) % 1 for cell in distinct):
        what, found = "looks like measurements, not classes", cells[0]
    elif not is_said and len(distinct) == len(cells) >= _MIN_DISTINCT:
        what, found = "has another value in every row", ", ".join(cells[:2])
    else:
        return
    line = table.lines[cells.index(found)] if found in cells else table.lines[0]
    raise question(
        f"column '{name}' of {table.file} {what}",
        found=f"line {line}: {found}",
        answers=[
            setting("data.columns.label", name) + " (every text in it a class)",
            "name another column, or fix the table",
        ],
    )


def _names_several(cell: str, all_cells: set[str], is_plural: bool) -> bool:
    """Whether a cell is other cells with a separator between them, or a list.

    Blanks and commas are in names as well: there all parts must be cells, unless the column
    is called a plural.
    """
    if cell.startswith("[") and cell.endswith("]") and "," in cell:
        return True
    for mark in _SEPARATORS:
        parts = {part.strip() for part in cell.split(mark)}
        known = parts & all_cells
        if len(parts) > 1 and (known if is_plural or mark in "|;" else known == parts):
            return True
    return False


def _check_probabilities(table: Table, columns: Sequence[int]) -> None:
    measures = [
        index
        for index in columns
        if all(_is_float(cell) for cell in table.column(index))
        and any(float(cell) % 1 for cell in table.column(index))
    ]
    if len(measures) > 1 and all(
        abs(sum(float(row[index]) for index in measures) - 1) < _ROUNDING
        for row in table.rows
    ):
        raise DataError(
            f"{table.file} has a probability per class",
            found=", ".join(table.header[index] for index in measures[:4]),
            expected="one class an image",
            tip="write a column with the likeliest class of each image",
        )


def _likely(table: Table, columns: list[int], images: ImageFiles) -> list[int]:
    """Columns that may be classes: no files, no ids, no measures, if any are left."""
    left = [
        index
        for index in columns
        if not all(images.column(table.column(index), table.folder))
        or _are_numbers(table, index)
    ]
    # Items of JSON that hold several things have no word for their class.
    left = [
        index
        for index in left
        if not (table.is_json and any(cell[:1] == "[" for cell in table.column(index)))
    ] or left
    repeated = [
        index
        for index in left
        if 1 < len(set(table.column(index)) - {""}) < len(table.rows)
        and not all("." in cell and _is_float(cell) for cell in table.column(index))
    ]
    return repeated or left


def _one_of(table: Table, columns: list[int]) -> int | None:
    """The one column that says it, or the first with words of several that say the same."""
    first, *others = columns
    if not all(_are_same(table, first, other) for other in others):
        return None
    words = [index for index in columns if not _are_numbers(table, index)]
    return (words or columns)[0]


def _are_same(table: Table, first: int, second: int) -> bool:
    """Whether two columns part the rows in the same way."""
    pairs = set(zip(table.column(first), table.column(second), strict=True))
    return (
        len(pairs)
        == len({one for one, _ in pairs})
        == len({other for _, other in pairs})
    )


def _are_numbers(table: Table, index: int) -> bool:
    return all(cell.isdecimal() for cell in table.column(index))


def _is_float(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_one_hot(table: Table, columns: Sequence[int]) -> bool:
    return all(sum(float(row[index]) for index in columns) == 1 for row in table.rows)


def _one_hot(table: Table, columns: Sequence[int]) -> list[str]:
    labels = []
    for row, line in zip(table.rows, table.lines, strict=True):
        ones = [table.header[index] for index in columns if float(row[index])]
        if len(ones) != 1:
            raise DataError(
                f"line {line} of {table.file} gives an image {len(ones)} classes",
                found=", ".join(ones) or "only zeros",
                expected="one 1 a row: an image has one class here",
            )
        labels.append(ones[0])
    return labels
