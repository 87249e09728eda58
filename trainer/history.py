"""Tables that a training writes: measurements, losses, instructions, class layers."""

import csv
import io
import math
import os
import pathlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from common import run_files
from storage import durable

HISTORY_FILE = "history.csv"
LOSSES_FILE = "losses.csv"
ACTIONS_FILE = "actions.csv"
HEADS_FILE = "heads.csv"
# What a run keeps of its training.
FILES = (HISTORY_FILE, LOSSES_FILE, ACTIONS_FILE, HEADS_FILE)
RESULT_FILE = run_files.TRAINING_FILE
STEP = "step"
# Of the columns with top-1 on eval, one a kind of weights: 'eval_top_1_ema'.
EVAL_TOP_1 = "eval_top_1_"


@dataclass(frozen=True)
class Table:
    """A CSV file that grows row by row, each with its `step`."""

    path: pathlib.Path

    def append(self, row: Mapping[str, object]) -> None:
        """Adds a row, safe on disk when this returns."""
        is_new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row))
            if is_new:
                writer.writeheader()
            writer.writerow(row)
            file.flush()
            os.fsync(file.fileno())

    def rows(self) -> Iterator[dict[str, str]]:
        """All rows, oldest first; none where there is no file."""
        if not self.path.exists():
            return
        with self.path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                # A row that a crash cut short has no value in its last columns.
                if None not in row.values():
                    yield row

    def cut(self, step: int, *, keeps_step: bool) -> list[dict[str, str]]:
        """Removes the rows after `step` (and of it, unless `keeps_step`); returns them.

        A training that resumes from an earlier checkpoint repeats those steps.
        """
        if not (rows := list(self.rows())):
            return []
        kept = [row for row in rows if int(row[STEP]) < step + keeps_step]
        taken = [row for row in rows if row not in kept]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(kept)
        durable.write_text(self.path, text.getvalue())
        return taken


def measurements(folder: pathlib.Path) -> Table:
    """Table of the measurements on eval in the folder of a training."""
    return Table(folder / HISTORY_FILE)


def measurement(
    step: int, loss: float, rate: float, by_weights: Mapping[str, tuple[float, float]]
) -> dict[str, float]:
    """A row of `measurements`, with top-1 and cross-entropy by the kind of weights."""
    row = {STEP: step, "loss": loss, "learning_rate": rate}
    for kind, (top_1, cross_entropy) in by_weights.items():
        row[f"{EVAL_TOP_1}{kind}"] = top_1
        row[f"eval_cross_entropy_{kind}"] = cross_entropy
    return row


def losses(folder: pathlib.Path) -> Table:
    """Table of loss, accuracy and rate of single updates, evenly spaced."""
    return Table(folder / LOSSES_FILE)


def eval_top_1(row: Mapping[str, float]) -> float:
    """Top-1 of a measurement with the better weights, by which the best one is chosen."""
    names = [name for name in row if name.startswith(EVAL_TOP_1)]
    return max((row[name] for name in names), default=math.nan)


def head_top_1(folder: pathlib.Path) -> float | None:
    """Top-1 on eval of the class layer fitted before the first step, where there is one."""
    first = next(read(measurements(folder)), None)
    return eval_top_1(first) if first and not first[STEP] else None


def actions(folder: pathlib.Path) -> Table:
    """Table of the instructions carried out in the folder of a training."""
    return Table(folder / ACTIONS_FILE)


def heads(folder: pathlib.Path) -> Table:
    """Table of the fitted class layers, a row each; they have no steps."""
    return Table(folder / HEADS_FILE)


def read(table: Table) -> Iterator[dict[str, float]]:
    """Rows of numbers, as those of measurements and losses are."""
    for row in table.rows():
        yield {name: float(value) for name, value in row.items()}
