"""The training loop: one session, and the hooks that it runs with."""

import dataclasses
import logging
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow.compat.v1 as v1

from schema.errors import ConfigError, TrainError
from trainer import (
    checkpoints,
    evaluation,
    graphs,
    hooks,
    input_pipeline,
    precision,
)
from trainer.config import TrainConfig, TrainerConfig
from trainer.input_pipeline import Split

_LOGGER = logging.getLogger("slimline.train")

SUMMARY_STEPS = 50


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """What a training gave.

    Attributes:
      best: the best measurement on eval; its checkpoint is `checkpoint`.
      checkpoint: path as a Saver takes it.
      steps: updates applied in all.
      parameters: trainable parameters of the net.
    """

    best: evaluation.Measurement
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
    plan = make_plan(config.train, train_split.num_examples)
    store = checkpoints.CheckpointStore(run_dir / "checkpoints")
    first_step = store.latest() or 0
    with (
        tf.Graph().as_default(),
        evaluation.EvalSession(config, eval_split, num_classes) as eval_session,
    ):
        graph = _build(config, train_split, num_classes, plan, first_step)
        parameters = sum(
            int(np.prod(variable.shape)) for variable in v1.trainable_variables()
        )
        measure = hooks.MeasureHook(
            graph, eval_session, store, run_dir, plan, config.train
        )
        _run(
            graph,
            v1.train.Scaffold(
                saver=graph.saver,
                summary_op=v1.summary.merge_all(),
                init_fn=_restorer(graph.saver, store, first_step),
            ),
            [measure, hooks.ProgressHook(graph, plan, config.train.batch_size)],
            run_dir,
            plan.total_steps,
            config.train,
        )
    if measure.best is None:
        raise TrainError("training ended before its first measurement")
    return TrainingResult(
        best=measure.best,
        checkpoint=store.path(measure.best.step),
        steps=measure.last_step,
        parameters=parameters,
    )


def make_plan(train_config: TrainConfig, num_examples: int) -> hooks.Plan:
    """Steps of a training on `num_examples` images.

    Raises:
      ConfigError: the batch is larger than the split.
    """
    batch_size = train_config.batch_size
    if num_examples < batch_size:
        raise ConfigError(
            "setting 'train.batch_size' is larger than the train split",
            found=f"{batch_size} for {num_examples} images",
            tip=f"--set train.batch_size={max(1, num_examples // 4)}",
        )
    per_epoch = num_examples // batch_size
    return hooks.Plan(
        steps_per_epoch=per_epoch,
        total_steps=max(
            1, train_config.steps or round(train_config.epochs * per_epoch)
        ),
        measure_steps=max(1, round(train_config.eval_every_epochs * per_epoch)),
    )


def _build(
    config: TrainerConfig,
    split: Split,
    num_classes: int,
    plan: hooks.Plan,
    first_step: int,
) -> graphs.TrainingGraph:
    v1.set_random_seed(config.train.seed)
    iterator = v1.data.make_initializable_iterator(
        input_pipeline.training_batches(split, config, first_step)
    )
    v1.add_to_collection(v1.GraphKeys.TABLE_INITIALIZERS, iterator.initializer)
    images, labels = iterator.get_next()
    graph = graphs.build_training(
        images,
        labels,
        num_classes,
        config,
        total_steps=plan.total_steps,
        steps_per_epoch=plan.steps_per_epoch,
    )
    v1.summary.scalar("loss", graph.loss)
    v1.summary.scalar("accuracy", graph.accuracy)
    v1.summary.scalar("learning_rate", graph.learning_rate)
    return graph


def _run(
    graph: graphs.TrainingGraph,
    scaffold: v1.train.Scaffold,
    own_hooks: list[v1.train.SessionRunHook],
    run_dir: pathlib.Path,
    total_steps: int,
    train_config: TrainConfig,
) -> None:
    chosen, reason = precision.resolve(train_config.precision)
    _LOGGER.info("computing in %s: %s", chosen, reason)
    summaries = v1.train.SummarySaverHook(
        save_steps=SUMMARY_STEPS, output_dir=str(run_dir), scaffold=scaffold
    )
    try:
        # Checkpoints are the measuring hook's: the session's own have no commit record.
        with v1.train.MonitoredTrainingSession(
            scaffold=scaffold,
            hooks=[
                v1.train.StopAtStepHook(last_step=total_steps),
                v1.train.NanTensorHook(graph.loss),
                summaries,
                *own_hooks,
            ],
            save_checkpoint_secs=None,
            save_summaries_steps=None,
            save_summaries_secs=None,
            log_step_count_steps=None,
            config=precision.session_config(chosen),
        ) as session:
            while not session.should_stop():
                session.run(graph.train_op)
    except v1.train.NanLossDuringTrainingError as error:
        rate = train_config.learning_rate
        raise TrainError(
            "the loss is not a number any more",
            found=f"learning rate {rate}",
            tip=f"--set train.learning_rate={rate / 10}",
        ) from error


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
