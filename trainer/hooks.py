"""What happens between the steps of a training: steering, measuring, saving, reporting."""

import dataclasses
import errno
import logging
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
# After the first steps, and after a measurement of eval has taken memory, too.
HUGE_PAGES_SECONDS = (10.0, 60.0)


@dataclasses.dataclass
class State:
    """What a training must know besides its variables; part of each checkpoint.

    Attributes:
      rate: factor and patience.
      best: best measurement so far.
      is_measured: whether the eval split was measured at this checkpoint.
      is_over: whether patience or a person has ended the training.
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
        """From what `dataclasses.asdict` made of one."""
        best = values["best"]
        return cls(
            **values
            | {
                "rate": RateState(**values["rate"]),
                "best": Measurement(**best) if best else None,
            }
        )


class RateHook(v1.train.SessionRunHook):
    """Feeds the rate of each update, after a look at what a person wants."""

    def __init__(self, graph: graphs.TrainingGraph, rate: Rate, control: Control):
        self._graph = graph
        self._rate = rate
        self._control = control
        self._step = 0

    def after_create_session(self, session: v1.Session, coord: Any) -> None:
        """See base class."""
        del coord
        self._step = int(session.run(self._graph.global_step))

    def before_run(self, run_context: Any) -> v1.train.SessionRunArgs:
        """See base class."""
        del run_context
        self._control.poll(self._step)
        rate = self._rate.at(self._step)
        return v1.train.SessionRunArgs([], feed_dict={self._graph.learning_rate: rate})

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """See base class."""
        self._step += 1


class MeasureHook(v1.train.SessionRunHook):
    """Writes a checkpoint, measures eval, keeps the best, stops when nothing improves."""

    def __init__(
        self,
        graph: graphs.TrainingGraph,
        evaluation: EvalSession,
        store: checkpoints.CheckpointStore,
        run_dir: pathlib.Path,
        plan: Plan,
        train_config: TrainConfig,
        state: State,
        patience: Patience,
        control: Control,
        held: Held,
    ):
        self.state = state
        self.last_step = 0
        self.measurements: list[Measurement] = []
        self._graph = graph
        self._evaluation = evaluation
        self._store = store
        self._run_dir = run_dir
        self._plan = plan
        self._train = train_config
        self._patience = patience
        self._control = control
        self._held = held
        self._writer: Any = None
        self._seconds_before = state.seconds
        self._began_at = time.monotonic()

    def begin(self) -> None:
        """See base class."""
        self._writer = v1.summary.FileWriterCache.get(str(self._run_dir))

    def after_create_session(self, session: v1.Session, coord: Any) -> None:
        """See base class."""
        del coord
        self.last_step = int(session.run(self._graph.global_step))
        # Only where an unbroken training measures, or the two would end differently.
        if self._is_due() and not self.state.is_measured:
            self._measure(session)

    def before_run(self, run_context: Any) -> v1.train.SessionRunArgs:
        """See base class."""
        del run_context
        return v1.train.SessionRunArgs([self._graph.loss, self._graph.learning_rate])

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """See base class."""
        self.last_step += 1
        self.state.loss, self.state.learning_rate = map(float, run_values.results)
        if self._is_due() or self._control.wants_stop:
            self._measure(run_context.session)
        elif self._control.wants_save or self._held.number:
            self._save(run_context.session)
        if self._held.number:
            _LOGGER.warning(
                "interrupted: checkpoint of step %d written", self.last_step
            )

    def _is_due(self) -> bool:
        """Whether eval is measured at this step."""
        if not self.last_step:
            return False
        is_last = self.last_step == self._plan.total_steps
        return is_last or self.last_step % self._plan.measure_steps == 0

    def _save(self, session: v1.Session) -> str:
        self._control.wants_save = False
        self.state.is_measured = False
        self._count_seconds()
        with _told_when_full(self._store):
            return self._store.save(
                session,
                self._graph.saver,
                self.last_step,
                dataclasses.asdict(self.state),
            )

    def _count_seconds(self) -> None:
        here = time.monotonic() - self._began_at
        self.state.seconds = self._seconds_before + here

    def _measure(self, session: v1.Session) -> None:
        step, state = self.last_step, self.state
        # Committed before it is measured: a kill meanwhile costs the measurement only.
        checkpoint = self._save(session)
        self.measurements = measurements = self._evaluation.measure(checkpoint, step)
        here = measurements[0]
        for candidate in measurements[1:]:
            here = candidate if candidate.is_better_than(here) else here
        is_gain = (
            state.best is None or here.top_1 > state.best.top_1 + self._train.min_gain
        )
        if here.is_better_than(state.best):
            state.best = here
        is_cut, is_over = self._patience.observe(state.rate, is_gain)
        state.is_measured = True
        self._count_seconds()
        state.is_over = is_over or self._control.wants_stop
        with _told_when_full(self._store):
            # A row before the commit that counts on it: `history.Table.cut` takes it
            # back where the commit does not come.
            self._record(measurements)
            self._store.amend(step, dataclasses.asdict(state))
            self._store.prune(
                self._train.keep_checkpoints, state.best.step if state.best else None
            )
        _PROGRESS.info("train_eval", extra={"fields": dataclasses.asdict(here)})
        if is_cut:
            _LOGGER.info("plateau: the rate is multiplied by %g", state.rate.factor)
        if is_over:
            _LOGGER.info("no gain on eval in %d measurements", state.rate.without_gain)

    def _record(self, measurements: list[Measurement]) -> None:
        row: dict[str, float] = {
            "step": self.last_step,
            "loss": self.state.loss,
            "learning_rate": self.state.learning_rate,
        }
        for measurement in measurements:
            row[history.EVAL_TOP_1 + measurement.weights] = measurement.top_1
            row[f"eval_cross_entropy_{measurement.weights}"] = measurement.cross_entropy
        history.measurements(self._run_dir).append(row)
        for name, value in row.items():
            if name.startswith("eval"):
                summary = v1.Summary(
                    value=[v1.Summary.Value(tag=name, simple_value=value)]
                )
                self._writer.add_summary(summary, self.last_step)
        self._writer.flush()


class LossHook(v1.train.SessionRunHook):
    """Writes down the loss of some two hundred updates, those whose number is round."""

    def __init__(
        self, graph: graphs.TrainingGraph, run_dir: pathlib.Path, total_steps: int
    ):
        self._graph = graph
        self._table = history.losses(run_dir)
        self._every = max(1, total_steps // LOSSES)
        self._step = 0

    def after_create_session(self, session: v1.Session, coord: Any) -> None:
        """See base class."""
        del coord
        self._step = int(session.run(self._graph.global_step))
        # The rows after the checkpoint will come again.
        self._table.cut(self._step, keeps_step=True)

    def before_run(self, run_context: Any) -> v1.train.SessionRunArgs:
        """See base class."""
        del run_context
        graph = self._graph
        return v1.train.SessionRunArgs(
            [graph.loss, graph.accuracy, graph.learning_rate]
        )

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """See base class."""
        del run_context
        self._step += 1
        if self._step == 1 or self._step % self._every == 0:
            loss, accuracy, rate = map(float, run_values.results)
            self._table.append(
                {
                    "step": self._step,
                    "loss": loss,
                    "accuracy": accuracy,
                    "learning_rate": rate,
                }
            )


class ProgressHook(v1.train.SessionRunHook):
    """Reports loss, accuracy, rate, speed and remaining time."""

    def __init__(
        self, graph: graphs.TrainingGraph, plan: Plan, train_config: TrainConfig
    ):
        self._graph = graph
        self._plan = plan
        self._train = train_config
        self._step = 0
        self._reported_step = 0
        self._reported_at = 0.0

    def after_create_session(self, session: v1.Session, coord: Any) -> None:
        """See base class."""
        del coord
        self._step = self._reported_step = int(session.run(self._graph.global_step))
        self._reported_at = time.monotonic()

    def before_run(self, run_context: Any) -> v1.train.SessionRunArgs:
        """See base class."""
        del run_context
        graph = self._graph
        return v1.train.SessionRunArgs(
            [graph.loss, graph.accuracy, graph.learning_rate]
        )

    def after_run(self, run_context: Any, run_values: Any) -> None:
        """See base class."""
        self._step += 1
        now = time.monotonic()
        seconds = now - self._reported_at
        if seconds < REPORT_SECONDS and self._step != self._plan.total_steps:
            return
        loss, accuracy, rate = map(float, run_values.results)
        steps_per_second = (self._step - self._reported_step) / max(seconds, 1e-9)
        images_per_second = steps_per_second * self._train.batch_size
        towers = self._train.devices
        _PROGRESS.info(
            "train",
            extra={
                "fields": {
                    "step": self._step,
                    "total_steps": self._plan.total_steps,
                    "epoch": self._step / self._plan.steps_per_epoch,
                    "loss": loss,
                    "accuracy": accuracy,
                    "learning_rate": rate,
                    "images_per_second": images_per_second,
                    "images_per_second_per_device": (
                        images_per_second / towers if towers > 1 else None
                    ),
                    "seconds_left": (self._plan.total_steps - self._step)
                    / steps_per_second,
                }
            },
        )
        self._reported_at, self._reported_step = now, self._step


class HugePagesHook(v1.train.SessionRunHook):
    """Puts the memory of a training that lasts into huge pages.

    The allocator keeps what it has once taken, so a few steps show what a training needs.
    It takes a second or two: a training of some seconds goes without.
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
    """Turns a full disk into a sentence; the checkpoints written before stay whole."""
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
