"""The members of a sweep side by side: a table, and a picture of their curves."""

import csv
import io
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

from pipeline.runs import curves
from pipeline.sweeps import race
from storage import durable

TABLE_FILE = "results.csv"
MARKDOWN_FILE = "results.md"
_HEADINGS = {
    "member": "member",
    "net": "net",
    "parameters": "parameters",
    "steps": "steps",
    "best_step": "best step",
    "eval_top_1": "eval top-1",
    "test_top_1": "test top-1",
    "test_top_1_one_view": "without views",
    "test_cross_entropy": "test cross-entropy",
    "training_seconds": "training s",
    "note": "note",
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
      eval_top_1: their top-1 on eval; what members may be chosen by.
      test_top_1: top-1 on test.
      test_top_1_one_view: without the model's test-time views; None where it has none.
      test_cross_entropy: on test, in nats.
      training_seconds: of the training, also where it came from the cache.
      note: why there are no figures; '' for a member that ended well.
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
    """The row of the highest top-1 on eval; test is not looked at."""
    trained = [row for row in rows if row.eval_top_1 is not None]
    return max(trained, key=lambda row: row.eval_top_1 or 0.0, default=None)


def headings() -> list[str]:
    """Titles of the columns."""
    return [_HEADINGS[field.name] for field in fields(Row)]


def cells(row: Row) -> list[str]:
    """A row as a person reads it."""
    return [
        f"{value:,.1f}" if name == "training_seconds" and value else _cell(value)
        for name, value in asdict(row).items()
    ]


def race_of(
    rows: Sequence[Row], folders: Mapping[str, pathlib.Path]
) -> race.Race | None:
    """Steps that the members which have ended needed to the same loss."""
    return race.run(_ended(rows, folders))


def write(
    folder: pathlib.Path, rows: Sequence[Row], folders: Mapping[str, pathlib.Path]
) -> None:
    """Writes table and curves of the members that have ended so far.

    Args:
      folder: of the sweep.
      rows: ended members.
      folders: of each member, with its history.
    """
    durable.write_text(folder / TABLE_FILE, _as_csv(rows))
    ended = _ended(rows, folders)
    reached = race_of(rows, folders)
    told = f"\n{reached}\n" if reached else ""
    durable.write_text(folder / MARKDOWN_FILE, _as_markdown(rows) + told)
    if ended:
        title = str(reached) if reached else ""
        curves.draw_members(ended, folder / curves.FILE, title)


def _ended(
    rows: Sequence[Row], folders: Mapping[str, pathlib.Path]
) -> dict[str, pathlib.Path]:
    return {row.member: folders[row.member] for row in rows if not row.note}


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
