"""What happens between the steps of a training: measuring, saving, reporting."""

import csv
import dataclasses
import json
import logging
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import tensorflow.compat.v1 as v1

from schema import durable
from trainer import checkpoints, graphs
from trainer.config import TrainConfig
from trainer.evaluation import EvalSession, Measurement

_LOGGER = logging.getLogger("slimline.train")
_PROGRESS = logging.getLogger("slimline.progress")

REPORT_SECONDS = 0.5
BEST_FILE = "best.json"
HISTORY_FILE = "history.csv"


@dataclasses.dataclass(frozen=True)
class Plan:
    """Length of a training in updates.

    Attributes:
      steps_per_epoch: updates a pass over the train split.
      total_steps: of the whole training.
      measure_steps: from one measurement on eval to the next.
    """

    steps_per_epoch: int
    total_steps: int
    measure_steps: int


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
    ):
        self.best = _read_best(run_dir)
        self.last_step = 0
        self._graph = graph
        self._evaluation = evaluation
        self._store = store
        self._run_dir = run_dir
        self._plan = plan
        self._patience = train_config.patience
        self._keep = train_config.keep_checkpoints
        self._without_gain = 0
        self._writer: Any = None

    def begin(self) -> None:
        self._writer = v1.summary.FileWriterCache.get(str(self._run_dir))

    def after_create_session(self, session: v1.Session, coord: Any) -> None:
        del coord
        self.last_step = int(session.run(self._graph.global_step))
        if self.last_step >= self._plan.total_steps:
            self._measure(session)

    def before_run(self, run_context: Any) -> v1.train.SessionRunArgs:
        return v1.train.SessionRunArgs([self._graph.loss, self._graph.learning_rate])

    def after_run(self, run_context: Any, run_values: Any) -> None:
        self.last_step += 1
        is_due = self.last_step % self._plan.measure_steps == 0
        if is_due or self.last_step == self._plan.total_steps:
            loss, rate = map(float, run_values.results)
            if not self._measure(run_context.session, loss, rate):
                run_context.request_stop()

    def _measure(
        self, session: v1.Session, loss: float = float("nan"), rate: float = 0.0
    ) -> bool:
        """Whether training should go on."""
        step = self.last_step
        checkpoint = self._store.save(session, self._graph.saver, step)
        measurements = self._evaluation.measure(checkpoint, step)
        here = measurements[0]
        for candidate in measurements[1:]:
            here = candidate if candidate.is_better_than(here) else here
        is_gain = here.is_better_than(self.best)
        self._without_gain = 0 if is_gain else self._without_gain + 1
        if is_gain:
            self.best = here
            durable.write_text(
                self._run_dir / BEST_FILE, json.dumps(dataclasses.asdict(here))
            )
        self._store.prune(self._keep, self.best.step if self.best else None)
        self._record(measurements, loss, rate)
        _PROGRESS.info("train_eval", extra={"fields": dataclasses.asdict(here)})
        if self._patience and self._without_gain >= self._patience:
            _LOGGER.info("no gain on eval in %d measurements", self._without_gain)
            return False
        return True

    def _record(
        self, measurements: list[Measurement], loss: float, rate: float
    ) -> None:
        row: dict[str, float] = {
            "step": self.last_step,
            "loss": loss,
            "learning_rate": rate,
        }
        for measurement in measurements:
            row[f"eval_top_1_{measurement.weights}"] = measurement.top_1
            row[f"eval_cross_entropy_{measurement.weights}"] = measurement.cross_entropy
        path = self._run_dir / HISTORY_FILE
        is_new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, row)
            if is_new:
                writer.writeheader()
            writer.writerow(row)
        for name, value in row.items():
            if name.startswith("eval"):
                summary = v1.Summary(
                    value=[v1.Summary.Value(tag=name, simple_value=value)]
                )
                self._writer.add_summary(summary, self.last_step)
        self._writer.flush()


class ProgressHook(v1.train.SessionRunHook):
    """Reports loss, accuracy, rate, speed and remaining time."""

    def __init__(self, graph: graphs.TrainingGraph, plan: Plan, batch_size: int):
        self._graph = graph
        self._plan = plan
        self._batch_size = batch_size
        self._step = 0
        self._reported_step = 0
        self._reported_at = 0.0

    def after_create_session(self, session: v1.Session, coord: Any) -> None:
        del coord
        self._step = self._reported_step = int(session.run(self._graph.global_step))
        self._reported_at = time.monotonic()

    def before_run(self, run_context: Any) -> v1.train.SessionRunArgs:
        graph = self._graph
        return v1.train.SessionRunArgs(
            [graph.loss, graph.accuracy, graph.learning_rate]
        )

    def after_run(self, run_context: Any, run_values: Any) -> None:
        self._step += 1
        now = time.monotonic()
        seconds = now - self._reported_at
        if seconds < REPORT_SECONDS and self._step != self._plan.total_steps:
            return
        loss, accuracy, rate = map(float, run_values.results)
        steps_per_second = (self._step - self._reported_step) / max(seconds, 1e-9)
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
                    "images_per_second": steps_per_second * self._batch_size,
                    "seconds_left": (self._plan.total_steps - self._step)
                    / steps_per_second,
                }
            },
        )
        self._reported_at, self._reported_step = now, self._step


def _read_best(run_dir: pathlib.Path) -> Measurement | None:
    path = run_dir / BEST_FILE
    if not path.exists():
        return None
    return Measurement(**json.loads(path.read_text(encoding="utf-8")))


def read_history(run_dir: pathlib.Path) -> Iterator[dict[str, float]]:
    """Rows of the history: step, loss, rate and the eval measurements."""
    with (run_dir / HISTORY_FILE).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield {name: float(value) for name, value in row.items()}
