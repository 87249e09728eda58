"""Parses tables of any known encoding and delimiter into rows of text."""

import csv
import dataclasses
import functools
import io
import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any

from common.errors import DataError
from schema import image_names, spelling

DELIMITERS = (",", ";", "\t", "|")
# Asian and Mac encodings, read as Windows-1252: marks that no label has, capitals behind
# small letters, words without a letter of ASCII.
_NO_WINDOWS_1252 = re.compile(
    r"[^\x00-\x7fÀ-ÖØ-öø-ÿŠšŽžŒœŸ’‘“”–—€°§«»®©™\xa0]"
    r"|(?<=[a-zà-öø-ÿ])[À-ÖØ-ÞŠŽŒŸ]|(?<![^\W\d_])[À-ÖØ-öø-ÿŠšŽžŒœŸ]{2,}(?![^\W\d_])"
)
# What COCO says of objects in an image, and not of the image.
_OBJECTS = frozenset(["bbox", "segmentation", "keypoints", "caption"])
_PREFACE = re.compile(r"#|\s*$|sep=.\s*$", re.IGNORECASE)
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig", "UTF-8"),
    (b"\xff\xfe", "utf-16", "UTF-16"),
    (b"\xfe\xff", "utf-16", "UTF-16"),
)
_UNMARKED = (("utf-8", "UTF-8"), ("cp1252", "Windows-1252"))


@dataclasses.dataclass(frozen=True, eq=False)
class Column:
    """A column of a table.

    Attributes:
      title: its name.
      cells: one a row, without blanks around them.
    """

    title: str
    cells: tuple[str, ...]

    @property
    def name(self) -> str:
        """The title in lower case."""
        return self.title.lower()

    @functools.cached_property
    def has_numbers(self) -> bool:
        """Whether each cell is a whole number."""
        return all(cell.isdecimal() for cell in self.cells)


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of one file.

    Attributes:
      file: its name in the source.
      header: names of the columns; 'column 1' and so on where the file has none.
      rows: cells without blanks around them, as many as the header has.
      lines: number of the line of each row.
      words: what had to be found out, as the encoding.
      has_header: whether the names are the file's own.
      too_long: lines with more cells than the header.
    """

    file: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    words: tuple[str, ...] = ()
    has_header: bool = True
    too_long: tuple[int, ...] = ()

    @functools.cached_property
    def columns(self) -> tuple[Column, ...]:
        """The cells, column by column."""
        cells = zip(*self.rows, strict=True) if self.rows else [()] * len(self.header)
        return tuple(map(Column, self.header, cells))

    @property
    def names(self) -> frozenset[str]:
        """Names of the columns in lower case."""
        return frozenset(column.name for column in self.columns)

    @property
    def folder(self) -> str:
        """Folder that the file lies in."""
        return posixpath.dirname(self.file)

    @property
    def is_json(self) -> bool:
        """Whether the rows are objects, whose leaves may be lists."""
        return self.file.lower().endswith((".json", ".jsonl"))

    def column(self, title: str) -> Column | None:
        """The first column of that name, in any case; None without one, and for ''."""
        named = (column for column in self.columns if column.name == title.lower())
        return next(named, None) if title else None

    def without_header(self) -> "Table":
        """The same table, where the first line is a row like the others."""
        header = tuple(f"column {number + 1}" for number in range(len(self.header)))
        return dataclasses.replace(
            self,
            header=header,
            rows=(self.header, *self.rows),
            lines=(1, *self.lines),
            has_header=False,
        )


def decode(file: str, data: bytes) -> tuple[str, tuple[str, ...]]:
    """Text of a file, in NFC, and a sentence about its encoding; none for UTF-8.

    A mark at its start decides; else it is UTF-8 or, where that does not fit,
    Windows-1252, as older spreadsheets save.

    Raises:
      DataError: it is none of them.
    """
    found = [(codec, title) for mark, codec, title in _MARKS if data.startswith(mark)]
    if not found and b"\x00" in data[:4096]:
        raise _no_text(file, "zero byte", data.index(b"\x00"))
    for codec, title in found or _UNMARKED:
        try:
            text = spelling.normalise(data.decode(codec))
            words = () if title == "UTF-8" else (f"{file} is read as {title}",)
            break
        except UnicodeDecodeError as error:
            fault = error
    else:
        raise _no_text(file, fault.reason, fault.start) from fault
    if codec == "cp1252" and (odd := _NO_WINDOWS_1252.search(text)):
        raise DataError(
            f"{file} has an unknown encoding",
            found=f"neither UTF-8 nor Windows-1252, in which it has '{odd[0]}'",
            expected="UTF-8, UTF-16 with its mark, or Windows-1252",
            tip="save it as UTF-8",
        )
    return text, words


def parse(file: str, data: bytes) -> Table | None:
    """The table in a file of delimited text, JSON or JSON lines; None where none is in it.

    Raises:
      DataError: the file is no text, or breaks the form of CSV.
    """
    text, words = decode(file, data)
    if file.lower().endswith((".json", ".jsonl")):
        return _from_objects(file, _objects(file, text), words)
    text = _without_preface(text)
    delimiter = _delimiter(text)
    if not delimiter:
        return None
    rows, lines = [], []
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True
    )
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append(tuple(cell.strip() for cell in row))
                lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{file} is not a table: {error}") from error
    if not rows:
        return None
    header, *rest = rows
    width = len(header)
    even = tuple((*row[:width], *[""] * (width - len(row))) for row in rest)
    too_long = tuple(
        line for row, line in zip(rest, lines[1:], strict=True) if any(row[width:])
    )
    return Table(file, header, even, tuple(lines[1:]), words, too_long=too_long)


def _without_preface(text: str) -> str:
    """The text with blank lines for Excel's `sep=;` and comments above the header."""
    lines = text.splitlines(keepends=True)
    first = next(
        (n for n, line in enumerate(lines) if not _PREFACE.match(line)), len(lines)
    )
    if not 0 < first < len(lines):
        return text
    delimiter = _delimiter(lines[first]) or "\n"
    last = lines[first - 1]  # may be the header itself: #file,label
    is_header = last.startswith("#") and (
        last.count(delimiter) == lines[first].count(delimiter)
    )
    return text if is_header else "\n" * first + "".join(lines[first:])


def _delimiter(text: str) -> str:
    """The delimiter that cuts the first line into most cells; '' where none does."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    cells = {
        mark: len(next(csv.reader([first], delimiter=mark), [])) for mark in DELIMITERS
    }
    best = max(DELIMITERS, key=lambda mark: cells[mark])
    return best if cells[best] > 1 else ""


def _objects(file: str, text: str) -> list[Mapping[str, Any]]:
    try:
        if file.lower().endswith(".jsonl"):
            found = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            found = json.loads(text)
    except (ValueError, RecursionError):
        return []  # some other file: tables of images are written by tools
    if isinstance(found, dict):
        found = _listed(found)
    items = found if isinstance(found, list) else []
    return [item for item in items if isinstance(item, dict)]


def _listed(found: dict[str, Any]) -> list[Any]:
    """The items of an object of objects: `{"data": […]}`, COCO's, or by files or classes."""
    if isinstance(found.get("images"), list) and "annotations" in found:
        return _of_coco(found)
    lists = [value for value in found.values() if isinstance(value, list)]
    if found and all(map(image_names.is_image_name, found)):  # by files
        return [
            {"file": name, **(value if isinstance(value, dict) else {"label": value})}
            for name, value in found.items()
        ]
    names = [name for value in lists for name in value]
    if lists and all(
        isinstance(name, str) and image_names.is_image_name(name) for name in names
    ):  # by classes
        return [
            {"file": name, "label": text}
            for text, value in found.items()
            if isinstance(value, list)
            for name in value
        ]
    return lists[0] if len(lists) == 1 else []


def _of_coco(found: dict[str, Any]) -> list[dict[str, Any]]:
    """File and class of the images in COCO's form; [] where classes are those of objects."""
    try:
        if any(_OBJECTS & item.keys() for item in found["annotations"]):
            return []
        names = {item["id"]: item["name"] for item in found.get("categories", ())}
        files = {item["id"]: item["file_name"] for item in found["images"]}
        return [
            {
                "file_name": files[item["image_id"]],
                "category_name": names.get(item["category_id"], item["category_id"]),
            }
            for item in found["annotations"]
        ]
    except (KeyError, TypeError, AttributeError):
        return []  # some other file


def _from_objects(
    file: str, objects: Sequence[Mapping[str, Any]], words: tuple[str, ...]
) -> Table | None:
    flat = [_flatten(item) for item in objects]
    header = tuple(dict.fromkeys(key for item in flat for key in item))
    if len(header) < 2:
        return None
    rows = tuple(tuple(item.get(key, "") for key in header) for item in flat)
    return Table(file, header, rows, tuple(range(1, len(rows) + 1)), words)


def _flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """Dotted key -> text of every leaf; a list of one thing is that thing."""
    if isinstance(value, dict):
        parts = [
            _flatten(inner, f"{prefix}.{key}" if prefix else str(key))
            for key, inner in value.items()
        ]
        return {key: text for part in parts for key, text in part.items()}
    if isinstance(value, list):
        return (
            _flatten(value[0], prefix)
            if len(value) == 1
            else {prefix: json.dumps(value)}
        )
    return {prefix: "" if value is None else str(value).strip()}


def _no_text(file: str, reason: str, place: int) -> DataError:
    return DataError(
        f"{file} is not text: {reason} at byte {place:,}",
        expected="UTF-8, UTF-16 with its mark, or Windows-1252",
    )
