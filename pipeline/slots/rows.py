"""Slots of schedules: plan, owner and result."""

import dataclasses
import datetime

CRON = "cron"
SPAN = "span"
FORCED = "forced"
KUBEFLOW = "kubeflow"

PLANNED = "planned"
RUNNING = "running"
DONE = "done"
FAILED = "failed"
SKIPPED = "skipped"
REFUSED = "refused"
MISSED = "missed"
ENDED = (DONE, FAILED, SKIPPED, REFUSED, MISSED)


@dataclasses.dataclass(frozen=True)
class Row:
    """A slot of a schedule, a row of the ledger.

    Attributes:
      pipeline: identity of the schedule, or 'kubeflow/' and that of a schedule there.
      slot: a time in UTC, ISO 8601, or the span that came.
      kind: CRON, SPAN, FORCED or KUBEFLOW.
      state: PLANNED, RUNNING or one of ENDED. reason: of it, in words.
      attempts: how often its run was started.
      data: in words, as 'span 7'. data_key, settings_key: digests of data and settings.
      span: newest one of the data. version: of that span.
      runs: names of the folders of its runs, one an attempt; on Kubeflow the run's id.
      pushed_version: version that became live. exit_code: of the command.
      is_pruned: whether the artifacts of the runs were deleted.
      planned, started, finished: times; started is that of the last attempt.
      owner: the process that runs it, or did last, as 'process 4711 on host'.
      notices: notifications that were sent, as JSON.
      id: number in the ledger.
    """

    pipeline: str
    slot: str
    kind: str
    state: str = PLANNED
    reason: str = ""
    attempts: int = 0
    data: str = ""
    data_key: str = ""
    settings_key: str = ""
    span: int | None = None
    version: int | None = None
    runs: str = ""
    pushed_version: str | None = None
    exit_code: int | None = None
    is_pruned: bool = False
    planned: str = ""
    started: str | None = None
    finished: str | None = None
    owner: str | None = None
    notices: str = "[]"
    id: int = 0

    @property
    def run(self) -> str:
        """Name of the last run's folder, or ''."""
        return self.runs.rpartition(" ")[2]

    @property
    def seconds(self) -> float | None:
        """From start to end of the last attempt."""
        if not self.started or not self.finished:
            return None
        start, end = map(datetime.datetime.fromisoformat, (self.started, self.finished))
        return (end - start).total_seconds()


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a slot ends: the columns of its row that say so."""

    state: str
    reason: str
    exit_code: int | None = None
    pushed_version: str | None = None


class TryAgain(Exception):
    """A slot has to wait, for data or a run; `args[0]` says why."""
