"""What the ledger of schedules keeps: slots, and who was told of them."""

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
STATES = (PLANNED, RUNNING, DONE, FAILED, SKIPPED, REFUSED, MISSED)
# Of rows whose data were trained on, or would be refused again.
SETTLED = (DONE, REFUSED)


@dataclasses.dataclass(frozen=True)
class Row:
    """A slot.

    Attributes:
      id: number in the ledger.
      pipeline: name of the experiment, or 'kubeflow/' and that of a schedule there.
      slot: a moment in UTC, ISO 8601, or the span that came.
      kind: CRON, SPAN, FORCED or KUBEFLOW.
      state: one of STATES.
      reason: of the state, in words.
      attempts: how often its run was begun.
      data: what it was for, in words, as 'span 7'.
      data_key: equal where the data are.
      settings_key: equal where the settings are.
      span: newest one of the data. version: of that span.
      runs: names of the folders of its runs, one an attempt; on Kubeflow the run's id.
      pushed_version: version that became live.
      exit_code: of the command that ran.
      is_pruned: whether the artifacts of the runs were deleted.
      planned: when. started: when its last attempt was. finished: when it had its state.
      owner: who works on it, or did last, as text.
      heartbeat: when he last showed that he lives.
    """

    id: int
    pipeline: str
    slot: str
    kind: str
    state: str
    reason: str
    attempts: int
    data: str
    data_key: str
    settings_key: str
    span: int | None
    version: int | None
    runs: str
    pushed_version: str | None
    exit_code: int | None
    is_pruned: bool
    planned: str
    started: str | None
    finished: str | None
    owner: str | None
    heartbeat: str | None

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
class New:
    """A slot to be written down."""

    slot: str
    kind: str
    state: str = PLANNED
    reason: str = ""
    data: str = ""


@dataclasses.dataclass(frozen=True)
class Notice:
    """That somebody was told, or should have been.

    Attributes:
      pipeline: name. slot: of the row.
      event: 'failure', 'refusal' or 'push'.
      target: command or address.
      time: UTC.
      error: why it did not reach him, or ''.
    """

    pipeline: str
    slot: str
    event: str
    target: str
    time: str
    error: str


@dataclasses.dataclass(frozen=True)
class Registered:
    """The schedule that a pipeline has.

    Attributes:
      since: slots before it are none.
      cron: expression, '' for a schedule by spans.
      timezone: of the expression.
    """

    since: datetime.datetime
    cron: str
    timezone: str

    @property
    def in_words(self) -> str:
        """'0 3 * * * (Europe/Berlin)' or 'every new span'."""
        return f"{self.cron} ({self.timezone})" if self.cron else "every new span"
