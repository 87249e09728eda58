"""What is kept after a scheduled run: so many runs with their artifacts, so many versions."""

import dataclasses
import pathlib
from collections.abc import Callable

from pipeline.scheduling import retention
from pipeline.scheduling.ledger import Ledger
from pipeline.scheduling.rows import Row


@dataclasses.dataclass(frozen=True)
class Tidying:
    """Deletes what is old, of the runs that schedules have begun; others are left alone.

    Attributes:
      ledger: names the runs.
      root: of the runs.
      identity: of the runs, `inputs.identity`.
      keep_runs: runs of a pipeline whose artifacts stay, the one that has just ended
        included; 0 keeps all.
      prune_versions: deletes old versions of the model; they go first, so that what led
        to them is free.
    """

    ledger: Ledger
    root: pathlib.Path
    identity: str
    keep_runs: int
    prune_versions: Callable[[], None] = lambda: None

    def __call__(self, row: Row) -> None:
        """Tidies up behind the run of a row that is still running."""
        self.prune_versions()
        if not self.keep_runs:
            return
        others = self.ledger.with_artifacts(row.pipeline)
        old = others[: max(0, len(others) - (self.keep_runs - 1))]
        pruned = retention.prune(
            self.root,
            self.identity,
            {name for other in old for name in other.runs.split()},
            self.ledger.pruned_runs(row.pipeline),
        )
        if pruned is None:  # a run holds the experiment: the next one tidies up
            return
        gone = set(pruned.runs)
        self.ledger.note_pruned(
            [other for other in old if set(other.runs.split()) <= gone]
        )
