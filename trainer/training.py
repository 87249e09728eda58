"""The training loop: one session, and hooks that stop, watch, report and measure."""

import contextlib
import csv
import dataclasses
import json
import logging
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow.compat.v1 as v1

from schema import durable
from schema.errors import ConfigError, TrainError
from trainer import checkpoints, graphs, input_pipeline
from trainer.config import TrainerConfig
from trainer.input_pipeline import Split

_LOGGER = logging.getLogger("slimline.train")
_PROGRESS = logging.getLogger("slimline.progress")

REPORT_SECONDS = 0.5
SUMMARY_STEPS = 50
BEST_FILE = "best.json"
HISTORY_FILE = "history.csv"


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One exact pass over a split.

    Attributes:
      step: updates that the weights have seen.
      weights: 'raw' or 'ema'.
      top_1: share of the images whose most probable class is right.
      cross_entropy: mean of -log(probability of the right class), in nats.
    """

    step: int
    weights: str
    top_1: float
    cross_entropy: float

    def is_better_than(self, other: "Measurement | None") -> bool:
        """Higher top-1; of equal ones the lower cross-entropy."""
        return other is None or (self.top_1, -self.cross_entropy) > (
            other.top_1,
            -other.cross_entropy,
        )


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """What a training gave.

    Attributes:
      best: the best measurement on eval; its checkpoint is `checkpoint`.
      checkpoint: path as a Saver takes it.
      steps: updates applied in all.
      parameters: trainable parameters of the net.
    """

    best: Measurement
    checkpoint: str
    steps: int
    parameters: int


def train(
    config: TrainerConfig,
    train_split: Split,
    eval_split: Split,
    num_classes: int,
    run_dir: pathlib.Path,
) -> TrainingResult:
    """Trains from the newest checkpoint in `run_dir`, or from step 0.

    Every `train.eval_every_epochs` and at the end a checkpoint is written and the whole
    eval split is measured with the raw and with the averaged weights; the better of the
    two counts, and the best checkpoint is kept. The test split is never looked at.

    Raises:
      ConfigError: the batch is larger than the train split.
      TrainError: the loss is not a number, or no checkpoint in `run_dir` is whole.
    """
    train_config = config.train
    if train_split.num_examples < train_config.batch_size:
        raise ConfigError(
            "setting 'train.batch_size' is larger than the train split",
            found=f"{train_config.batch_size} for {train_split.num_examples} images",
            tip=f"--set train.batch_size={max(1, train_split.num_examples // 4)}",
        )
    steps_per_epoch = train_split.num_examples // train_config.batch_size
    total_steps = train_config.steps or round(train_config.epochs * steps_per_epoch)
    total_steps = max(total_steps, 1)
    store = checkpoints.CheckpointStore(run_dir / "checkpoints")
    first_step = store.latest() or 0

    with tf.Graph().as_default():
        v1.set_random_seed(train_config.seed)
        iterator = v1.data.make_initializable_iterator(
            input_pipeline.training_batches(train_split, config, first_step)
        )
        v1.add_to_collection(v1.GraphKeys.TABLE_INITIALIZERS, iterator.initializer)
        images, labels = iterator.get_next()
        graph = graphs.build_training(
            images,
            labels,
            num_classes,
            config,
            total_steps=total_steps,
            steps_per_epoch=steps_per_epoch,
        )
        parameters = sum(
            int(np.prod(variable.shape)) for variable in v1.trainable_variables()
        )
        _add_summaries(graph)
        scaffold = v1.train.Scaffold(
            saver=graph.saver,
            summary_op=v1.summary.merge_all(),
            init_fn=_restorer(graph.saver, store, first_step),
        )
        with EvalSession(config, eval_split, num_classes) as evaluation:
            measure = MeasureHook(
                graph,
                evaluation,
                store,
                run_dir,
                every_steps=max(
                    1, round(train_config.eval_every_epochs * steps_per_epoch)
                ),
                total_steps=total_steps,
                patience=train_config.patience,
                keep=train_config.keep_checkpoints,
            )
            hooks = [
                v1.train.StopAtStepHook(last_step=total_steps),
                v1.train.NanTensorHook(graph.loss),
                ProgressHook(
                    graph, train_config.batch_size, steps_per_epoch, total_steps
                ),
                v1.train.SummarySaverHook(
                    save_steps=SUMMARY_STEPS,
                    output_dir=str(run_dir),
                    scaffold=scaffold,
                ),
                measure,
            ]
            try:
                with v1.train.MonitoredTrainingSession(
                    scaffold=scaffold,
                    hooks=hooks,
                    save_checkpoint_secs=None,
                    save_summaries_steps=None,
                    save_summaries_secs=None,
                    log_step_count_steps=None,
                ) as session:
                    while not session.should_stop():
                        session.run(graph.train_op)
            except v1.train.NanLossDuringTrainingError as error:
                raise TrainError(
                    "the loss is not a number any more",
                    found=f"learning rate {train_config.learning_rate}",
                    tip=f"--set train.learning_rate={train_config.learning_rate / 10}",
                ) from error
    if measure.best is None:
        raise TrainError("training ended before its first measurement")
    return TrainingResult(
        best=measure.best,
        checkpoint=store.path(measure.best.step),
        steps=measure.last_step,
        parameters=parameters,
    )


class EvalSession(contextlib.AbstractContextManager["EvalSession"]):
    """An inference graph with a session, measured on one split again and again."""

    def __init__(self, config: TrainerConfig, split: Split, num_classes: int):
        self._split = split
        size_px = config.preprocessing.crop_px
        with tf.Graph().as_default() as graph:
            self._images = v1.placeholder(
                tf.float32, [None, size_px, size_px, config.preprocessing.channels]
            )
            self._labels = v1.placeholder(tf.int64, [None])
            inference = graphs.build_inference(self._images, num_classes, config)
            self._probabilities = inference.probabilities
            self._savers = inference.savers
            self._right = tf.reduce_sum(
                tf.cast(
                    tf.equal(tf.argmax(inference.logits, axis=1), self._labels),
                    tf.int64,
                )
            )
            self._cross_entropy = tf.reduce_sum(
                tf.nn.sparse_softmax_cross_entropy_with_logits(
                    labels=self._labels, logits=inference.logits
                )
            )
        self._session = v1.Session(graph=graph)

    def __exit__(self, *exception: object) -> None:
        self._session.close()

    def measure(self, checkpoint: str, step: int) -> list[Measurement]:
        """One exact pass with each kind of weights in `checkpoint`."""
        return [self._measure(checkpoint, step, weights) for weights in self._savers]

    def probabilities(
        self, checkpoint: str, weights: str, images: np.ndarray
    ) -> np.ndarray:
        """float32 [batch, num_classes] of preprocessed images."""
        self._restore(checkpoint, weights)
        return self._session.run(self._probabilities, {self._images: images})

    def _restore(self, checkpoint: str, weights: str) -> None:
        # A Saver looks at the default graph to tell graph mode from eager mode.
        with self._session.graph.as_default():
            self._savers[weights].restore(self._session, checkpoint)

    def _measure(self, checkpoint: str, step: int, weights: str) -> Measurement:
        self._restore(checkpoint, weights)
        right, cross_entropy = 0, 0.0
        for images, labels in self._split.batches():
            batch_right, batch_cross_entropy = self._session.run(
                [self._right, self._cross_entropy],
                {self._images: images, self._labels: labels},
            )
            right += int(batch_right)
            cross_entropy += float(batch_cross_entropy)
        count = self._split.num_examples
        return Measurement(step, weights, right / count, cross_entropy / count)


class MeasureHook(v1.train.SessionRunHook):
    """Writes a checkpoint, measures eval, keeps the best, stops when nothing improves."""

    def __init__(
        self,
        graph: graphs.TrainingGraph,
        evaluation: EvalSession,
        store: checkpoints.CheckpointStore,
        run_dir: pathlib.Path,
        *,
        every_steps: int,
        total_steps: int,
        patience: int,
        keep: int,
    ):
        self.best = _read_best(run_dir)
        self.last_step = 0
        self._graph = graph
        self._evaluation = evaluation
        self._store = store
        self._run_dir = run_dir
        self._every_steps = every_steps
        self._total_steps = total_steps
        self._patience = patience
        self._keep = keep
        self._without_gain = 0
        self._writer: Any = None

    def begin(self) -> None:
        self._writer = v1.summary.FileWriterCache.get(str(self._run_dir))

    def after_create_session(self, session: v1.Session, coord: Any) -> None:
        del coord
        self.last_step = int(session.run(self._graph.global_step))
        if self.last_step >= self._total_steps:
            self._measure(session)

    def before_run(self, run_context: Any) -> v1.train.SessionRunArgs:
        return v1.train.SessionRunArgs([self._graph.loss, self._graph.learning_rate])

    def after_run(self, run_context: Any, run_values: Any) -> None:
        self.last_step += 1
        is_due = self.last_step % self._every_steps == 0
        if is_due or self.last_step == self._total_steps:
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

    def __init__(
        self,
        graph: graphs.TrainingGraph,
        batch_size: int,
        steps_per_epoch: int,
        total_steps: int,
    ):
        self._graph = graph
        self._batch_size = batch_size
        self._steps_per_epoch = steps_per_epoch
        self._total_steps = total_steps
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
        if seconds < REPORT_SECONDS and self._step != self._total_steps:
            return
        loss, accuracy, rate = map(float, run_values.results)
        steps_per_second = (self._step - self._reported_step) / max(seconds, 1e-9)
        _PROGRESS.info(
            "train",
            extra={
                "fields": {
                    "step": self._step,
                    "total_steps": self._total_steps,
                    "epoch": self._step / self._steps_per_epoch,
                    "loss": loss,
                    "accuracy": accuracy,
                    "learning_rate": rate,
                    "images_per_second": steps_per_second * self._batch_size,
                    "seconds_left": (self._total_steps - self._step) / steps_per_second,
                }
            },
        )
        self._reported_at, self._reported_step = now, self._step


def _add_summaries(graph: graphs.TrainingGraph) -> None:
    v1.summary.scalar("loss", graph.loss)
    v1.summary.scalar("accuracy", graph.accuracy)
    v1.summary.scalar("learning_rate", graph.learning_rate)


def _restorer(
    saver: v1.train.Saver, store: checkpoints.CheckpointStore, first_step: int
) -> Any:
    if not first_step:
        return None
    _LOGGER.info("going on from the checkpoint of step %d", first_step)

    def restore(scaffold: Any, session: v1.Session) -> None:
        del scaffold
        saver.restore(session, store.path(first_step))

    return restore


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
