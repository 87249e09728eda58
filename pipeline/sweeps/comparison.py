"""The members of a sweep side by side: a table, and their curves."""

import csv
import io
import pathlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from common import run_files
from pipeline.runs import runs
from pipeline.sweeps import race
from report import curves, drawing
from storage import durable

TABLE_FILE = "results.csv"
MARKDOWN_FILE = "results.md"
# Those that are not the name of the column in words.
_HEADINGS = {
    "eval_top_1": "eval top-1",
    "test_top_1": "test top-1",
    "test_top_1_one_view": "without views",
    "test_cross_entropy": "test cross-entropy",
    "training_seconds": "training s",
}


@dataclass(frozen=True)
class Row:
    """One member.

    Attributes:
      member: its name.
      net: name of its net.
      parameters: trainable ones.
      steps: updates applied.
      best_step: the update whose weights were taken, by eval.
      eval_top_1: their top-1 on eval, by which to choose a member.
      test_top_1: top-1 on test.
      test_top_1_one_view: without the model's test-time views; None where it has none.
      test_cross_entropy: on test, in nats.
      training_seconds: of the training, also where it came from the cache.
      note: why there are no figures; '' where there are.
    """

    member: str
    net: str
    parameters: int | None = None
    steps: int | None = None
    best_step: int | None = None
    eval_top_1: float | None = None
    test_top_1: float | None = None
    test_top_1_one_view: float | None = None
    test_cross_entropy: float | None = None
    training_seconds: float | None = None
    note: str = ""


def best(rows: Sequence[Row]) -> Row | None:
    """The row with the highest top-1 on eval; test must not decide."""
    trained = [row for row in rows if row.eval_top_1 is not None]
    return max(trained, key=lambda row: row.eval_top_1 or 0.0, default=None)


def headings() -> list[str]:
    """Titles of the columns."""
    names = [field.name for field in fields(Row)]
    return [_HEADINGS.get(name, name.replace("_", " ")) for name in names]


def cells(row: Row) -> list[str]:
    """A row as text."""
    return [
        f"{value:,.1f}" if name == "training_seconds" and value else _cell(value)
        for name, value in asdict(row).items()
    ]


def race_of(folder: pathlib.Path, rows: Sequence[Row]) -> race.Race | None:
    """Steps that the trained members needed to the same loss; arguments as of `write`."""
    return race.run(_trained(folder, rows))


def write(folder: pathlib.Path, rows: Sequence[Row]) -> None:
    """Writes table and curves of the members so far.

    Args:
      folder: of the sweep.
      rows: of its members that have ended.
    """
    durable.write_text(folder / TABLE_FILE, _as_csv(rows))
    title = str(race_of(folder, rows) or "")
    below = f"\n{title}\n" if title else ""
    durable.write_text(folder / MARKDOWN_FILE, _as_markdown(rows) + below)
    if trained := _trained(folder, rows):
        drawing.save(curves.of_runs(trained), folder / run_files.CURVES_FILE, title)


def _trained(folder: pathlib.Path, rows: Sequence[Row]) -> dict[str, pathlib.Path]:
    """Member -> folder with its history."""
    members = folder / runs.MEMBERS_FOLDER
    return {row.member: members / row.member for row in rows if not row.note}


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _as_csv(rows: Sequence[Row]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(Row)])
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()


def _as_markdown(rows: Sequence[Row]) -> str:
    def line(texts: Sequence[str]) -> str:
        return f"| {' | '.join(text.replace('|', '/') for text in texts)} |\n"

    rule = "|" + "---|" * len(headings()) + "\n"
    return line(headings()) + rule + "".join(line(cells(row)) for row in rows)
