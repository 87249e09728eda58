"""Session hooks of a training: they steer, measure, save and report between the steps."""

import dataclasses
import errno
import logging
import math
import pathlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
import tensorflow.compat.v1 as v1

from common import huge_pages
from common.errors import TrainError
from trainer import checkpoints, graphs, history
from trainer.config import TrainConfig
from trainer.control import Control
from trainer.evaluation import EvalSession, Measurement
from trainer.interruption import Held
from trainer.plan import Plan
from trainer.rates import Patience, Rate, RateState

_LOGGER = logging.getLogger("slimline.train")
_PROGRESS = logging.getLogger("slimline.progress")

REPORT_SECONDS = 0.5
# Rows of the table of losses: enough for a curve.
LOSSES = 200
# Where memory is in pieces the kernel takes 7 s to make a GB of it whole: only a training
# that lasts has that back. The second time covers what a measurement of eval has taken.
HUGE_PAGES_SECONDS = (120.0, 600.0)


@dataclasses.dataclass
class State:
    """State of a training besides its variables; part of each checkpoint.

    Attributes:
      rate: factor and patience.
      best: best measurement so far.
      is_measured: whether the eval split was measured at this checkpoint.
      is_over: whether patience or an instruction has ended the training.
      loss: of the last update.
      learning_rate: of the last update.
      seconds: spent on training so far, measurements included.
    """

    rate: RateState = dataclasses.field(default_factory=RateState)
    best: Measurement | None = None
    is_measured: bool = False
    is_over: bool = False
    loss: float = float("nan")
    learning_rate: float = 0.0
    seconds: float = 0.0

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "State":
        """The inverse of `dataclasses.asdict`."""
        rate, best = RateState(**values["rate"]), values["best"]
        return cls(
            **values | {"rate": rate, "best": Measurement(**best) if best else None}
        )


@dataclasses.dataclass(eq=False)
class StepHook(v1.train.SessionRunHook):
    """Counts the updates, and fetches loss, accuracy and rate of each."""

    graph: graphs.TrainingGraph
    step: int = dataclasses.field(default=0, init=False)

    def after_create_session(self, session: v1.Session, coord: Any) -> None:
        self.step = int(session.run(self.graph.global_step))

    def before_run(self, run_context: Any) -> v1.train.SessionRunArgs:
        graph = self.graph
        return v1.train.SessionRunArgs(
            [graph.loss, graph.accuracy, graph.learning_rate]
        )

    def after_run(self, run_context: Any, run_values: Any) -> None:
        self.step += 1


@dataclasses.dataclass(eq=False)
class RateHook(StepHook):
    """Carries out instructions, then feeds the rate of the next update."""

    rate: Rate
    control: Control

    def before_run(self, run_context: Any) -> v1.train.SessionRunArgs:
        self.control.poll(self.step)
        rate = self.rate.at(self.step)
        return v1.train.SessionRunArgs([], feed_dict={self.graph.learning_rate: rate})


@dataclasses.dataclass(eq=False)
class MeasureHook(StepHook):
    """Writes a checkpoint, measures eval, keeps the best, stops when nothing improves."""

    evaluation: EvalSession
    store: checkpoints.CheckpointStore
    run_dir: pathlib.Path
    plan: Plan
    train: TrainConfig
    state: State
    patience: Patience
    control: Control
    held: Held

    def __post_init__(self) -> None:
        self.measurements: list[Measurement] = []
        self._seconds_before = self.state.seconds
        self._began_at = time.monotonic()

    @property
    def is_done(self) -> bool:
        """Whether no further update is wanted."""
        is_last = self.step >= self.plan.total_steps
        return is_last or self.state.is_over or bool(self.held.number)

    def begin(self) -> None:
        self._writer = v1.summary.FileWriterCache.get(str(self.run_dir))

    def after_create_session(self, session: v1.Session, coord: Any) -> None:
        super().after_create_session(session, coord)
        # Only where an uninterrupted training measures, so that the result is the same.
        if self._is_due() and not self.state.is_measured:
            self._measure(session)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        super().after_run(run_context, run_values)
        loss, _, rate = map(float, run_values.results)
        self.state.loss, self.state.learning_rate = loss, rate
        if self._is_due() or self.control.wants_stop:
            self._measure(run_context.session)
        elif self.control.wants_save or self.held.number:
            self._save(run_context.session)
        if self.held.number:
            _LOGGER.warning("interrupted: checkpoint of step %d written", self.step)

    def _is_due(self) -> bool:
        """Whether eval is measured at this step."""
        is_last = self.step == self.plan.total_steps
        return self.step > 0 and (is_last or self.step % self.plan.measure_steps == 0)

    def _save(self, session: v1.Session) -> str:
        self.control.wants_save = False
        self.state.is_measured = False
        self._count_seconds()
        with _told_when_full(self.store):
            state = dataclasses.asdict(self.state)
            return self.store.save(session, self.graph.saver, self.step, state)

    def _count_seconds(self) -> None:
        self.state.seconds = self._seconds_before + time.monotonic() - self._began_at

    def _measure(self, session: v1.Session) -> None:
        step, state = self.step, self.state
        # Committed before it is measured: a kill meanwhile loses the measurement only.
        checkpoint = self._save(session)
        self.measurements = measurements = self.evaluation.measure(checkpoint, step)
        here = measurements[0]
        for candidate in measurements[1:]:
            here = candidate if candidate.is_better_than(here) else here
        best_top_1 = state.best.top_1 if state.best else -math.inf
        is_gain = here.top_1 > best_top_1 + self.train.min_gain
        if here.is_better_than(state.best):
            state.best = here
        is_cut, is_over = self.patience.observe(state.rate, is_gain)
        state.is_measured = True
        self._count_seconds()
        state.is_over = is_over or self.control.wants_stop
        with _told_when_full(self.store):
            # The row comes before its commit; without one, `history.Table.cut` removes it.
            self._record(measurements)
            self.store.amend(step, dataclasses.asdict(state))
            self.store.prune(
                self.train.keep_checkpoints, state.best.step if state.best else None
            )
        _PROGRESS.info("train_eval", extra={"fields": dataclasses.asdict(here)})
        if is_cut:
            _LOGGER.info("plateau: the rate is multiplied by %g", state.rate.factor)
        if is_over:
            _LOGGER.info("no gain on eval in %d measurements", state.rate.without_gain)

    def _record(self, measurements: list[Measurement]) -> None:
        by_weights = {
            each.weights: (each.top_1, each.cross_entropy) for each in measurements
        }
        row = history.measurement(
            self.step, self.state.loss, self.state.learning_rate, by_weights
        )
        history.measurements(self.run_dir).append(row)
        values = [
            v1.Summary.Value(tag=name, simple_value=value)
            for name, value in row.items()
            if name.startswith("eval")
        ]
        self._writer.add_summary(v1.Summary(value=values), self.step)
        self._writer.flush()


@dataclasses.dataclass(eq=False)
class ReportHook(StepHook):
    """Reports loss, accuracy, rate, speed and remaining time.

    Loss, accuracy and rate of some two hundred evenly spaced updates go into `table`.
    """

    table: history.Table
    plan: Plan
    train: TrainConfig

    def after_create_session(self, session: v1.Session, coord: Any) -> None:
        super().after_create_session(session, coord)
        # The rows after the checkpoint will come again.
        self.table.cut(self.step, keeps_step=True)
        self._reported_at, self._reported_step = time.monotonic(), self.step

    def after_run(self, run_context: Any, run_values: Any) -> None:
        super().after_run(run_context, run_values)
        now = time.monotonic()
        seconds = now - self._reported_at
        every = max(1, self.plan.total_steps // LOSSES)
        is_row = self.step == 1 or self.step % every == 0
        is_due = seconds >= REPORT_SECONDS or self.step == self.plan.total_steps
        if not (is_row or is_due):
            return
        names = ("loss", "accuracy", "learning_rate")
        values = dict(zip(names, map(float, run_values.results), strict=True))
        if is_row:
            self.table.append({"step": self.step, **values})
        if is_due:
            self._report(values, (self.step - self._reported_step) / max(seconds, 1e-9))
            self._reported_at, self._reported_step = now, self.step

    def _report(self, values: dict[str, float], steps_per_second: float) -> None:
        images_per_second = steps_per_second * self.train.batch_size
        towers, total_steps = self.train.devices, self.plan.total_steps
        fields = {
            "step": self.step,
            "total_steps": total_steps,
            "epoch": self.step / self.plan.steps_per_epoch,
            **values,
            "images_per_second": images_per_second,
            "images_per_second_per_device": (
                images_per_second / towers if towers > 1 else None
            ),
            "seconds_left": (total_steps - self.step) / steps_per_second,
        }
        _PROGRESS.info("train", extra={"fields": fields})


class HugePagesHook(v1.train.SessionRunHook):
    """Puts the memory of a training that lasts into huge pages.

    The allocator keeps what it has once taken, so a few steps show what a training needs.
    """

    def __init__(self) -> None:
        self._due = [time.monotonic() + seconds for seconds in HUGE_PAGES_SECONDS]

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """See base class."""
        del run_context, run_values
        if self._due and time.monotonic() > self._due[0]:
            del self._due[0]
            huge_pages.use()


@contextmanager
def _told_when_full(store: checkpoints.CheckpointStore) -> Iterator[None]:
    """Turns a full disk into a TrainError; earlier checkpoints stay whole."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        is_full = getattr(error, "errno", None) == errno.ENOSPC
        if not is_full and "No space left on device" not in str(error):
            raise
        last = next(iter(store.steps()), None)
        free_mib = shutil.disk_usage(store.folder).free / 2**20
        raise TrainError(
            f"no space left for the training's files in {store.folder}",
            found=f"{free_mib:,.0f} MiB free",
            tip="make room and rerun the same command: it resumes from "
            + ("its beginning" if last is None else f"the checkpoint of step {last}"),
        ) from error
