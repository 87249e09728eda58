"""Finds the columns of a table with the files, the classes, the splits and the groups."""

import dataclasses
import posixpath
from collections.abc import Collection, Sequence

from common.errors import ConfigError, DataError
from components.image_example_gen.layouts import split_names
from components.image_example_gen.layouts.image_files import ImageFiles
from components.image_example_gen.layouts.layout import Answers, question, setting
from components.image_example_gen.layouts.rows import Column, Table
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
# Words of a column of splits that give an image none.
NO_SPLIT = frozenset(("", "unassigned"))


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns that count.

    Attributes:
      table: the table, without a header where the first line was a row.
      path: the one that names the files.
      files: what each of its cells may name.
      labels: the classes, a text a row.
      label: name of the column that has them, '' for several.
      splits: the splits, a text a row, or None where no column has them.
      groups: the groups, a text a row, or None where none were asked for.
      words: what was chosen, and why.
    """

    table: Table
    path: Column
    files: list[tuple[str, ...]]
    labels: Sequence[str]
    label: str
    splits: Sequence[str] | None
    groups: Sequence[str] | None
    words: str

    @property
    def says_labels(self) -> bool:
        """Whether the header names the column of the classes, or the table is one-hot."""
        return not _LABELS.isdisjoint(self.table.names) or not self.label


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
    if not table.rows or not answers.columns() <= table.names:
        return None
    found = _find_path(table, images, answers)
    if found is None:
        return None
    path, files = found
    split = _find_split(table, path, answers)
    group = _find_group(table, answers)
    label, labels = _find_labels(table, (path, split, group), images, answers)
    words = f"'{label}' the classes" if label else "a column per class (one-hot)"
    sentence = f"'{path.title}' names the files, {words}"
    if split:
        sentence += f", '{split.title}' the splits"
    if group:
        sentence += f", '{group.title}' the groups"
    splits = split.cells if split else None
    groups = group.cells if group else None
    return Columns(table, path, files, labels, label, splits, groups, sentence)


def unread(columns: Columns) -> list[str]:
    """Sentences about columns that are not read, but may matter."""
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


def path_by_header(table: Table, answers: Answers) -> Column | None:
    """The column that names files, where the header has one for classes, too.

    Returns:
      None where the header says nothing of images, or lacks a column that was asked for.
    """
    named = (column for column in table.columns if column.name in _PATHS)
    is_of_images = table.rows and table.names & _LABELS
    is_asked_for = answers.columns() <= table.names
    return next(named, None) if is_of_images and is_asked_for else None


def _find_path(
    table: Table, images: ImageFiles, answers: Answers
) -> tuple[Column, list[tuple[str, ...]]] | None:
    """The column that names the most files, and what each of its cells may name."""
    named = table.column(answers.path_column)
    fits: dict[Column, tuple[int, int, bool]] = {}
    files: dict[Column, list[tuple[str, ...]]] = {}
    for column in [named] if named else table.columns:
        found = [images.find(cell, table.folder) for cell in column.cells]
        distinct = len(set(found) - {()})
        # A class number may be the name of an image file, too: '7' and 7.png.
        if distinct and not (column.has_numbers and 2 * distinct < len(found)):
            are_names = any(map(image_names.is_image_name, column.cells))
            fits[column] = (distinct, sum(map(bool, found)), are_names)
            files[column] = found
    if not fits:
        return None
    best = max(fits, key=lambda column: (fits[column], column.name in _PATHS))
    rivals = [
        column
        for column in fits
        if fits[column] == fits[best] and fits[best][2] and files[column] != files[best]
    ]
    if rivals:
        names = [column.title for column in (best, *rivals)]
        raise question(
            f"several columns of {table.file} name different files",
            found=", ".join(names),
            answers=[setting("data.columns.path", name) for name in names],
        )
    return best, files[best]


def _find_split(table: Table, path: Column, answers: Answers) -> Column | None:
    if named := table.column(answers.split_column):
        return named
    others = [column for column in table.columns if column is not path]
    by_name = [column for column in others if column.name.split("/")[-1] in _SPLITS]
    return next(iter(by_name or filter(_has_splits, others)), None)


def _has_splits(column: Column) -> bool:
    words = {cell for cell in column.cells if cell.lower() not in NO_SPLIT}
    return len(words) > 1 and all(map(split_names.split_of, words))


def _find_group(table: Table, answers: Answers) -> Column | None:
    wanted = answers.grouping.column
    column = table.column(wanted)
    if wanted and not column:
        raise ConfigError(
            f"{table.file} has no column '{wanted}' with the groups",
            found=", ".join(table.header),
            tip=f"{setting('data.group_by', f'column:{table.header[-1]}')}, say",
        )
    return column


def _find_labels(
    table: Table,
    taken: Collection[Column | None],
    images: ImageFiles,
    answers: Answers,
) -> tuple[str, Sequence[str]]:
    """The column with the classes, '' for one per class, and the class of each row."""
    if named := table.column(answers.label_column):
        return named.title, named.cells
    open_columns = [
        column
        for column in table.columns
        if column not in taken and column.name not in _OTHERS and any(column.cells)
    ]
    binary = [
        column
        for column in open_columns
        if set(column.cells) <= _BINARY and column.name not in _LABELS
    ]
    if len(binary) > 1 and (
        len(binary) == len(open_columns) or set(_sums(binary)) == {1}
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
    likely = [column for column in candidates if column.name in _LABELS] or candidates
    if not all(_are_same(likely[0], column) for column in likely):
        raise question(
            f"several columns of {table.file} may hold the classes",
            found=", ".join(
                f"{column.title} ({len(set(column.cells))} values, as {column.cells[0]})"
                for column in likely
            ),
            answers=[setting("data.columns.label", column.title) for column in likely],
        )
    # Words rather than numbers, where both say the same.
    same = (column for column in candidates if _are_same(likely[0], column))
    words = (column for column in (*likely, *same) if not column.has_numbers)
    chosen = next(words, likely[0])
    _check_labels(table, chosen)
    return chosen.title, chosen.cells


def _check_labels(table: Table, column: Column) -> None:
    """Asks about a column that no setting names and whose cells may not be classes.

    Raises:
      ConfigError: they say nothing, several things, another one in each row, or measure.
    """
    cells = column.cells
    distinct = set(cells) - {""}
    nothing = sorted(cell for cell in distinct if cell.lower() in _NOTHING)
    is_plural = column.name in _PLURALS
    several = [
        cell for cell in sorted(distinct) if _names_several(cell, distinct, is_plural)
    ]
    is_said = column.name in _LABELS
    if nothing:
        what, found = "may have no class in some rows", nothing[0]
    elif several:
        what, found = "may have several classes in a row", several[0]
    elif _are_measures(distinct):
        what, found = "looks like measurements, not classes", cells[0]
    elif not is_said and len(distinct) == len(cells) >= _MIN_DISTINCT:
        what, found = "has another value in every row", ", ".join(cells[:2])
    else:
        return
    line = table.lines[cells.index(found)] if found in cells else table.lines[0]
    raise question(
        f"column '{column.title}' of {table.file} {what}",
        found=f"line {line}: {found}",
        answers=[
            setting("data.columns.label", column.title) + " (every text in it a class)",
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


def _check_probabilities(table: Table, columns: Sequence[Column]) -> None:
    measures = [column for column in columns if _are_measures(column.cells)]
    if len(measures) > 1 and all(
        abs(total - 1) < _ROUNDING for total in _sums(measures)
    ):
        raise DataError(
            f"{table.file} has a probability per class",
            found=", ".join(column.title for column in measures[:4]),
            expected="one class an image",
            tip="write a column with the likeliest class of each image",
        )


def _likely(table: Table, columns: list[Column], images: ImageFiles) -> list[Column]:
    """Columns that may be classes: no files, no ids, no measures, if any are left."""
    left = [
        column
        for column in columns
        if column.has_numbers
        or not all(images.find(cell, table.folder) for cell in column.cells)
    ]
    # Items of JSON that hold several things have no word for their class.
    left = [
        column
        for column in left
        if not (table.is_json and any(cell[:1] == "[" for cell in column.cells))
    ] or left
    repeated = [
        column
        for column in left
        if 1 < len(set(column.cells) - {""}) < len(table.rows)
        and not all("." in cell and _is_float(cell) for cell in column.cells)
    ]
    return repeated or left


def _are_same(first: Column, second: Column) -> bool:
    """Whether two columns divide the rows into the same sets."""
    pairs = set(zip(first.cells, second.cells, strict=True))
    return len(pairs) == len(set(first.cells)) == len(set(second.cells))


def _are_measures(cells: Collection[str]) -> bool:
    """Whether all cells are numbers, and some of them not whole."""
    return all(map(_is_float, cells)) and any(float(cell) % 1 for cell in cells)


def _is_float(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _sums(columns: Sequence[Column]) -> list[float]:
    """Sum of the numbers in each row."""
    rows = zip(*(column.cells for column in columns), strict=True)
    return [sum(map(float, row)) for row in rows]


def _one_hot(table: Table, columns: Sequence[Column]) -> list[str]:
    labels = []
    rows = zip(*(column.cells for column in columns), strict=True)
    for line, row in zip(table.lines, rows, strict=True):
        ones = [
            column.title
            for column, cell in zip(columns, row, strict=True)
            if float(cell)
        ]
        if len(ones) != 1:
            raise DataError(
                f"line {line} of {table.file} gives an image {len(ones)} classes",
                found=", ".join(ones) or "only zeros",
                expected="one 1 a row: an image has one class here",
            )
        labels.append(ones[0])
    return labels
