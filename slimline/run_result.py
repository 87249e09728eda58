"""The outcome of a run or a sweep as Python code reads it."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING

from common import run_files
from common.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.runs.summary import Summary
    from pipeline.sweeps.comparison import Row


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
      summary: all figures.
    """

    summary: "Summary"

    @property
    def metrics(self) -> dict[str, float]:
        """Of the candidate on the test split: `top_1`, `cross_entropy` and so on."""
        return self.summary.metrics

    @property
    def passed(self) -> bool:
        """Whether the gate blessed the model, and it can be served."""
        return self.summary.passed

    @property
    def folder(self) -> pathlib.Path:
        """The run's own folder, with log, configuration and summary."""
        return pathlib.Path(self.summary.folder)

    @property
    def report(self) -> pathlib.Path:
        """The page about the run, one HTML file."""
        return self.folder / run_files.REPORT_FILE

    def __repr__(self) -> str:
        summary = self.summary
        verdict = "passed" if summary.passed else "refused"
        return (
            f"<Run {summary.run} of {summary.experiment}: {verdict},"
            f" top-1 {summary.metrics['top_1']:.4f}>"
        )

    def _repr_html_(self) -> str | None:
        """What a notebook shows: verdict, curves and confusion, as in the report."""
        from report import card

        try:
            return card.of_run(self.folder)
        except ConfigError:  # its files are gone, the figures in `summary` are not
            return None


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A finished sweep.

    Attributes:
      folder: its own, with log, table (`results.csv`, `results.md`) and `curves.png`.
      rows: figures of each member, in the order of the sweep.
    """

    folder: pathlib.Path
    rows: tuple["Row", ...]

    @property
    def table(self) -> pathlib.Path:
        """The rows as CSV."""
        from pipeline.sweeps import comparison

        return self.folder / comparison.TABLE_FILE

    def __repr__(self) -> str:
        return f"<Sweep of {len(self.rows)} in {self.folder}>"
