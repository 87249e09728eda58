"""Tables as rows of text, whatever their encoding and delimiter."""

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from schema import spelling
from schema.errors import DataError

DELIMITERS = (",", ";", "\t", "|")
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig", "UTF-8"),
    (b"\xff\xfe", "utf-16", "UTF-16"),
    (b"\xfe\xff", "utf-16", "UTF-16"),
)


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
    """

    file: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    words: tuple[str, ...] = ()
    has_header: bool = True

    def column(self, index: int) -> list[str]:
        """The cells of one column."""
        return [row[index] for row in self.rows]

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


def decode(file: str, data: bytes) -> tuple[str, str]:
    """Text of a file, in NFC, and its encoding.

    A mark at its start decides; else it is UTF-8 or, where that does not fit,
    Windows-1252, as older spreadsheets save.

    Raises:
      DataError: it is none of them.
    """
    for mark, codec, title in _MARKS:
        if data.startswith(mark):
            try:
                return spelling.normalise(data.decode(codec)), title
            except UnicodeDecodeError as error:
                raise _no_text(file, error.reason, error.start) from error
    if b"\x00" in data[:4096]:
        raise _no_text(file, "zero byte", data.index(b"\x00"))
    try:
        return spelling.normalise(data.decode("utf-8")), "UTF-8"
    except UnicodeDecodeError:
        try:
            return spelling.normalise(data.decode("cp1252")), "Windows-1252"
        except UnicodeDecodeError as error:
            raise _no_text(file, error.reason, error.start) from error


def parse(file: str, data: bytes) -> Table | None:
    """The table in a file of delimited text, JSON or JSON lines; None where none is in it.

    Raises:
      DataError: the file is no text, or breaks the form of CSV.
    """
    text, encoding = decode(file, data)
    words = () if encoding == "UTF-8" else (f"{file} is read as {encoding}",)
    if file.lower().endswith((".json", ".jsonl")):
        return _from_objects(file, _objects(file, text), words)
    delimiter = _delimiter(text)
    if not delimiter:
        return None
    rows, lines = [], []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
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
    return Table(file, header, even, tuple(lines[1:]), words)


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
    items = found if isinstance(found, list) else []
    return [item for item in items if isinstance(item, dict)]


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
