"""The row of a classified image: a line of CSV or of JSON."""

import csv
import io
import json
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from common.errors import ConfigError

CSV = "csv"
JSONL = "jsonl"
FORMATS = (CSV, JSONL)
# Spreadsheets read cells with these first characters as formulas; some also the wide forms.
_FORMULA_CHARACTERS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class Row(NamedTuple):
    """A classified image."""

    file: str  # its path
    top: Sequence[tuple[str, float]]  # (label, score), best first, one at least
    model: str  # name and version that answered, as 'cifar10@7'; '' if unknown


def format_of(path: pathlib.Path) -> str:
    """'csv' or 'jsonl', by the suffix of a file.

    Raises:
      ConfigError: it has another.
    """
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise ConfigError(
            f"cannot tell the format of {path}",
            expected="a name that ends in .csv or .jsonl",
        )
    return suffix


def heading(format: str, top: int) -> bytes:
    """First line of a file of rows with `top` classes; JSON has none."""
    if format == JSONL:
        return b""
    ranks = range(1, top + 1)
    pairs = (f"{name}_{rank}" for rank in ranks for name in ("label", "score"))
    return csv_lines([("file", *pairs, "model")])


def encode(format: str, rows: Iterable[Row]) -> bytes:
    """Rows as lines in UTF-8; the same rows give the same bytes."""
    if format == JSONL:
        # Escaped to ASCII, so that every name of a file comes back as it was.
        return "".join(f"{json.dumps(_document(row))}\n" for row in rows).encode()
    return csv_lines(
        (row.file, *(cell for pair in row.top for cell in pair), row.model)
        for row in rows
    )


def _document(row: Row) -> dict[str, Any]:
    top = [{"label": label, "score": score} for label, score in row.top]
    return {"file": row.file, **top[0], "top": top, "model": row.model}


def csv_lines(table: Iterable[Sequence[str | float]]) -> bytes:
    """Lines of CSV in UTF-8 that are harmless in a spreadsheet and on a terminal.

    Text that begins like a formula gets an apostrophe before it; control characters and
    bytes that are not UTF-8 become escapes, so that a row is always one line.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    for cells in table:
        writer.writerow(
            _harmless(cell) if isinstance(cell, str) else cell for cell in cells
        )
    return text.getvalue().encode()


def _harmless(text: str) -> str:
    shown = "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA_CHARACTERS) else shown
