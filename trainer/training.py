"""The training loop: one session and its hooks."""

import dataclasses
import logging
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow.compat.v1 as v1

from common import onednn
from common.errors import TrainError
from trainer import (
    checkpoints,
    detector,
    devices,
    evaluation,
    features,
    graphs,
    head_settings,
    history,
    hooks,
    input_pipeline,
    interruption,
    precision,
    rates,
    sampling,
    schedules,
    summaries,
    transfer,
    warm_start,
    whitening,
)
from trainer.augmentation import geometry
from trainer.config import TrainerConfig
from trainer.control import Control
from trainer.input_pipeline import Split
from trainer.nets import builder, variants
from trainer.plan import Plan, fit_batch, make_plan

_LOGGER = logging.getLogger("slimline.train")

SUMMARY_STEPS = 50


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """Result of a training.

    Attributes:
      best: the best measurement on eval; its checkpoint is `checkpoint`.
      checkpoint: path as a Saver takes it.
      steps: updates applied in all.
      parameters: trainable parameters of the net.
      seconds: spent on it, interrupted parts included.
      resumed_at: step of the checkpoint that the training resumed from; 0 for none.
      findings: sentences on moving averages that have not converged, and on settings that
        did not fit the images.
    """

    best: evaluation.Measurement
    checkpoint: str
    steps: int
    parameters: int
    seconds: float
    resumed_at: int = 0
    findings: tuple[str, ...] = ()


def train(
    config: TrainerConfig,
    train_split: Split,
    eval_split: Split,
    num_classes: int,
    run_dir: pathlib.Path,
    start: warm_start.Start = warm_start.FROM_SCRATCH,
    cache: features.Cache | None = None,
) -> TrainingResult:
    """Trains from the newest checkpoint in `run_dir`, or from step 0.

    With `train.fit_head` the class layer is fitted first. The net with it is the checkpoint
    of step 0: training starts there, and it is exported unless training finds a better one
    on eval.

    A resumed training restores the state of the rate and the patience and repeats the
    instructions given after its checkpoint, so its result is that of an uninterrupted one.

    Every `train.eval_every_epochs` and at the end it writes a checkpoint and measures the
    whole eval split with the raw and with the averaged weights. The better of the two
    counts, and the best checkpoint is kept. The test split is not read.

    SIGINT and SIGTERM wait until the current update and its checkpoint are done.

    Raises:
      ConfigError: train has fewer images than there are devices.
      KeyboardInterrupt: it was interrupted; the next call resumes.
      TrainError: loss became NaN, or no checkpoint in `run_dir` is whole.
    """
    store = checkpoints.CheckpointStore(run_dir / "checkpoints")
    newest = store.latest()
    store.sweep()
    is_head_only = head_settings.is_head_only(config.train)
    if not is_head_only:
        # Before features are computed: it may refuse.
        fitted, remark = fit_batch(config.train, train_split.num_examples)
        config = dataclasses.replace(config, train=fitted)
        plan = make_plan(config.train, train_split.num_examples)
    if newest is None and config.train.fit_head:
        transfer.fit_head(
            config,
            train_split,
            eval_split,
            num_classes,
            run_dir,
            store,
            start.checkpoint,
            cache or features.Cache(run_dir / features.FOLDER, {}),
        )
        newest = 0
    elif newest is None:
        start = _whitened(config, train_split, run_dir, start)
    first_step = newest or 0
    if newest is not None:
        start = warm_start.Start(store.path(0) if first_step == 0 else "")
    state = (
        hooks.State() if newest is None else hooks.State.from_json(store.state(newest))
    )
    if is_head_only:
        return _head_only(config, num_classes, store, state)
    towers = devices.choose(config.train)
    chosen, reason = precision.resolve_for(config)
    engine = "" if onednn.is_on() else ", without oneDNN"
    _LOGGER.info("computing in %s%s: %s", chosen, engine, reason)
    schedule = schedules.make(
        config.schedule,
        base_rate=config.train.learning_rate,
        total_steps=plan.total_steps,
        steps_per_epoch=plan.steps_per_epoch,
    )
    history.measurements(run_dir).cut(first_step, keeps_step=state.is_measured)
    control = Control(run_dir, state.rate)
    control.resume(first_step)
    with (
        interruption.held() as held,
        tf.Graph().as_default(),
        evaluation.EvalSession(config, eval_split, num_classes) as eval_session,
    ):
        graph = _build(
            config, train_split, num_classes, first_step, towers, chosen, start, plan
        )
        if config.train.image_summaries and not first_step:
            summaries.write_stages(run_dir, train_split, config)
        parameters = sum(
            int(np.prod(variable.shape)) for variable in v1.trainable_variables()
        )
        measure = hooks.MeasureHook(
            graph,
            eval_session,
            store,
            run_dir,
            plan,
            config.train,
            state,
            rates.Patience.of(config.schedule, config.train),
            control,
            held,
        )
        if any(towers):
            _LOGGER.info("a tower on each of %s", ", ".join(towers))
        _run(
            graph,
            v1.train.Scaffold(
                saver=graph.saver,
                summary_op=v1.summary.merge_all(),
                init_fn=_restorer(graph.saver, store, first_step),
            ),
            [
                hooks.RateHook(graph, rates.Rate(schedule, state.rate), control),
                hooks.ReportHook(graph, history.losses(run_dir), plan, config.train),
                hooks.HugePagesHook(),
            ],
            measure,
            run_dir,
            devices.configure(precision.session_config(chosen), towers),
            config.train.learning_rate,
        )
    if state.best is None:
        raise TrainError("training ended before its first measurement")
    return TrainingResult(
        best=state.best,
        checkpoint=store.path(state.best.step),
        steps=measure.step,
        parameters=parameters,
        seconds=state.seconds,
        resumed_at=first_step,
        findings=(
            *([remark] if remark else ()),
            *_findings(config, eval_split, num_classes, store, measure),
        ),
    )


def _whitened(
    config: TrainerConfig,
    split: Split,
    run_dir: pathlib.Path,
    start: warm_start.Start,
) -> warm_start.Start:
    """`start` with whitening filters, where they are wanted and it has no weights."""
    layer = whitening.layer_of(config)
    if layer is None or start.checkpoint:
        return start
    images = (
        geometry.central_crop(batch, config.image_size_px)
        for batch, _ in split.batches()
    )
    checkpoint = run_dir / transfer.START_FOLDER / "whitening"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    values = {layer.weights: whitening.filters(images, layer)}
    checkpoints.write_values(str(checkpoint), values)
    _LOGGER.info(
        "the first convolution has %d whitening filters and is not trained",
        layer.count,
    )
    return warm_start.Start(str(checkpoint), is_partial=True, is_logged=False)


def _head_only(
    config: TrainerConfig,
    num_classes: int,
    store: checkpoints.CheckpointStore,
    state: hooks.State,
) -> TrainingResult:
    if state.best is None:
        raise TrainError("the class layer was fitted but not measured")
    return TrainingResult(
        best=state.best,
        checkpoint=store.path(0),
        steps=0,
        parameters=builder.count_parameters(
            variants.spec_of(config.model),
            num_classes,
            image_size_px=config.image_size_px,
            channels=config.preprocessing.channels,
        ),
        seconds=state.seconds,
    )


def _findings(
    config: TrainerConfig,
    eval_split: Split,
    num_classes: int,
    store: checkpoints.CheckpointStore,
    measure: hooks.MeasureHook,
) -> tuple[str, ...]:
    # A training that resumed when it was done has no new measurement.
    if not measure.measurements:
        return ()
    step = measure.measurements[0].step
    found = detector.findings(
        config, eval_split, num_classes, store.path(step), measure.measurements
    )
    for sentence in found:
        _LOGGER.warning(sentence)
    return tuple(found)


def _build(
    config: TrainerConfig,
    split: Split,
    num_classes: int,
    first_step: int,
    towers: Sequence[str],
    chosen: str,
    start: warm_start.Start,
    plan: Plan,
) -> graphs.TrainingGraph:
    v1.set_random_seed(config.train.seed)
    iterator = v1.data.make_initializable_iterator(
        input_pipeline.training_batches(split, config, num_classes, first_step)
    )
    v1.add_to_collection(v1.GraphKeys.TABLE_INITIALIZERS, iterator.initializer)
    images, labels = iterator.get_next()
    weights = None
    if config.train.class_weights == "balanced":
        weights = sampling.class_weights(split.labels, num_classes)
    graph = graphs.build_training(
        images,
        labels,
        num_classes,
        config,
        towers,
        weights,
        start=start,
        is_loss_scaled=chosen == precision.FLOAT16,
        plan=plan,
    )
    summaries.add(graph, config.train)
    return graph


def _run(
    graph: graphs.TrainingGraph,
    scaffold: v1.train.Scaffold,
    other_hooks: list[v1.train.SessionRunHook],
    measure: hooks.MeasureHook,
    run_dir: pathlib.Path,
    session_config: v1.ConfigProto,
    learning_rate: float,
) -> None:
    summary_hook = v1.train.SummarySaverHook(
        save_steps=SUMMARY_STEPS, output_dir=str(run_dir), scaffold=scaffold
    )
    try:
        # Checkpoints are the measuring hook's: the session's own have no commit record.
        with v1.train.MonitoredTrainingSession(
            scaffold=scaffold,
            hooks=[
                v1.train.NanTensorHook(graph.loss),
                summary_hook,
                *other_hooks,
                measure,  # last: its checkpoint must find what the others wrote
            ],
            save_checkpoint_secs=None,
            save_summaries_steps=None,
            save_summaries_secs=None,
            log_step_count_steps=None,
            config=session_config,
        ) as session:
            # A resumed training may be done already.
            while not measure.is_done:
                with input_pipeline.complete():
                    session.run(graph.train_op)
    except v1.train.NanLossDuringTrainingError as error:
        raise TrainError(
            "loss became NaN",
            found=f"learning rate {learning_rate}",
            tip=f"--set train.learning_rate={learning_rate / 10}",
        ) from error
    finally:
        # A later flush would change the artifact after its manifest is written.
        v1.summary.FileWriterCache.clear()


def _restorer(
    saver: v1.train.Saver, store: checkpoints.CheckpointStore, first_step: int
) -> Any:
    if not first_step:
        return None
    _LOGGER.info("resuming from step %d", first_step)

    def restore(scaffold: Any, session: v1.Session) -> None:
        del scaffold
        saver.restore(session, store.path(first_step))

    return restore
