"""The loop: updates in order, exact evaluation, best checkpoint, early stop, resume."""

import dataclasses
import gc
import logging
import pathlib
import signal
import weakref

import numpy as np
import pytest
import tensorflow as tf
import tf_slim as slim

from common.errors import TrainError
from trainer import (
    checkpoints,
    evaluation,
    graphs,
    history,
    hooks,
    interruption,
    summaries,
    training,
)
from trainer.config import (
    AugmentationConfig,
    ModelConfig,
    PreprocessingConfig,
    ScheduleConfig,
    TrainConfig,
    TrainerConfig,
)
from trainer.input_pipeline import Split

v1 = tf.compat.v1

CONFIG = TrainerConfig(
    PreprocessingConfig(resize_px=8, crop_px=8, channels=1, standardise="per_image"),
    ModelConfig(net="mlp_bn"),
    TrainConfig(
        batch_size=8,
        steps=10,
        learning_rate=0.01,
        ema_decay=0.9,
        seed=3,
    ),
    ScheduleConfig(name="constant", warmup_epochs=0),
    AugmentationConfig(flip_left_right=True, pad_crop_px=1),
)


def with_train(**changes: object) -> TrainerConfig:
    return dataclasses.replace(
        CONFIG, train=dataclasses.replace(CONFIG.train, **changes)
    )


def with_schedule(config: TrainerConfig, **changes: object) -> TrainerConfig:
    return dataclasses.replace(
        config, schedule=dataclasses.replace(config.schedule, **changes)
    )


@pytest.fixture(scope="module")
def split() -> Split:
    """40 images of two gray levels with noise, already preprocessed."""
    random = np.random.default_rng(5)
    labels = np.arange(40, dtype=np.int64) % 2
    images = random.normal(0, 1, [40, 8, 8, 1]) + (labels * 2 - 1)[:, None, None, None]
    return Split(
        files=(),
        transform=None,
        images=images.astype(np.float32),
        labels=labels,
    )


@pytest.fixture
def training_graph(split: Split):
    """(graph handles, session) of a training graph on one fixed batch."""
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(1)
        graph = graphs.build_training(
            tf.constant(split.images[:8]),
            tf.constant(split.labels[:8]),
            2,
            with_train(weight_decay=1e-3),
        )
        session.run(v1.global_variables_initializer())
        yield graph, session


def test_moving_average_follows_its_formula_after_the_update(training_graph) -> None:
    graph, session = training_graph
    weights = slim.get_model_variables()[0]
    average = f"{weights.op.name}/ExponentialMovingAverage"
    (shadow,) = [v for v in v1.global_variables() if v.op.name == average]
    expected = session.run(shadow)
    np.testing.assert_array_equal(expected, session.run(weights))
    for step in range(1, 5):
        session.run(graph.train_op)
        # The weights read here are those after the update of this step.
        decay = min(CONFIG.train.ema_decay, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * session.run(weights)
        np.testing.assert_allclose(session.run(shadow), expected, atol=1e-6)


def test_each_step_runs_the_batch_norm_updates(training_graph) -> None:
    graph, session = training_graph
    moving = [v for v in slim.get_model_variables() if "moving_" in v.op.name]
    assert len(v1.get_collection(v1.GraphKeys.UPDATE_OPS)) == len(moving) > 0
    before = session.run(moving)
    session.run(graph.train_op)
    after = session.run(moving)
    assert all(np.any(x != y) for x, y in zip(before, after, strict=True))


def test_loss_is_cross_entropy_plus_l2_of_weights_only(training_graph) -> None:
    graph, session = training_graph
    regularised = v1.losses.get_regularization_losses()
    weights = [v for v in v1.trainable_variables() if v.op.name.endswith("/weights")]
    assert len(regularised) == len(weights)
    values = session.run(weights)
    expected = 1e-3 * sum(np.sum(value**2) / 2 for value in values)
    np.testing.assert_allclose(sum(session.run(regularised)), expected, rtol=1e-4)
    total, (cross_entropy,) = session.run([graph.loss, v1.losses.get_losses()])
    np.testing.assert_allclose(total, cross_entropy + expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("optimizer", "rate", "slots"),
    [
        ("momentum", 0.01, {"Momentum"}),
        ("nesterov", 0.01, {"Momentum"}),
        ("adam", 0.001, {"Adam", "Adam_1"}),
        ("adamw", 0.001, {"Adam", "Adam_1"}),
        ("rmsprop", 0.0003, {"RMSProp", "RMSProp_1"}),
        ("gradient_descent", 0.01, set()),
    ],
)
def test_every_optimizer_lowers_the_loss(
    split: Split, optimizer: str, rate: float, slots: set[str]
) -> None:
    config = with_train(optimizer=optimizer, learning_rate=rate, ema_decay=0.0)
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(1)
        graph = graphs.build_training(
            tf.constant(split.images[:8]),
            tf.constant(split.labels[:8]),
            2,
            config,
        )
        session.run(v1.global_variables_initializer())
        losses = [session.run(graph.train_op) for _ in range(8)]
        names = {v.op.name.rpartition("/")[2] for v in v1.global_variables()}
    assert losses[-1] < losses[0]
    assert names & {"Momentum", "Adam", "Adam_1", "RMSProp", "RMSProp_1"} == slots
    # With a decay of 0 there are no averages to keep.
    assert "ExponentialMovingAverage" not in names


def test_evaluation_leaves_the_weights_alone(split: Split, tmp_path) -> None:
    result = training.train(with_train(steps=2), split, split, 2, tmp_path)
    with evaluation.EvalSession(CONFIG, split, 2) as eval_session:
        first = eval_session.measure(result.checkpoint, 2)
        again = eval_session.measure(result.checkpoint, 2)
        variables = eval_session._session.graph.get_collection(
            v1.GraphKeys.GLOBAL_VARIABLES
        )
        values = eval_session._session.run(variables)
    assert first == again
    stored = tf.train.load_checkpoint(result.checkpoint)
    for variable, value in zip(variables, values, strict=True):
        name = f"{variable.op.name}/ExponentialMovingAverage"
        np.testing.assert_array_equal(value, stored.get_tensor(name))


def test_evaluation_is_one_exact_pass(split: Split, tmp_path) -> None:
    result = training.train(with_train(steps=3), split, split, 2, tmp_path)
    # 33 images: the last batch is smaller than the others.
    odd = dataclasses.replace(split, images=split.images[:33], labels=split.labels[:33])
    with evaluation.EvalSession(CONFIG, odd, 2) as eval_session:
        for measurement in eval_session.measure(result.checkpoint, 3):
            probabilities = eval_session.probabilities(
                result.checkpoint, measurement.weights, odd.images
            )
            right = probabilities.argmax(axis=1) == odd.labels
            assert measurement.top_1 == right.mean()
            expected = -np.log(probabilities[np.arange(33), odd.labels]).mean()
            assert measurement.cross_entropy == pytest.approx(expected, rel=1e-4)


def test_a_prediction_does_not_depend_on_its_batch_mates(
    split: Split, tmp_path
) -> None:
    result = training.train(with_train(steps=3), split, split, 2, tmp_path)
    with evaluation.EvalSession(CONFIG, split, 2) as eval_session:
        for weights in ("raw", "ema"):
            many = eval_session.probabilities(result.checkpoint, weights, split.images)
            for index in (0, 7, 39):
                one = eval_session.probabilities(
                    result.checkpoint, weights, split.images[index : index + 1]
                )
                np.testing.assert_allclose(one[0], many[index], atol=1e-5)


def test_learns_and_keeps_the_best_checkpoint(split: Split, tmp_path) -> None:
    result = training.train(with_train(steps=40), split, split, 2, tmp_path)
    assert result.best.top_1 >= 0.9
    assert pathlib.Path(f"{result.checkpoint}.index").exists()
    rows = list(history.read(history.measurements(tmp_path)))
    assert [row["step"] for row in rows] == [5, 10, 15, 20, 25, 30, 35, 40]
    best = max(max(row["eval_top_1_raw"], row["eval_top_1_ema"]) for row in rows)
    assert result.best.top_1 == best


def test_stops_early_without_gain(split: Split, tmp_path) -> None:
    config = with_train(steps=200, patience=2, learning_rate=1e-9)
    result = training.train(config, split, split, 2, tmp_path)
    assert result.steps < 200


@pytest.mark.parametrize(
    "augmentation",
    [
        AugmentationConfig(
            pad_crop_px=2,
            fill="reflect",
            random_resized_crop=0.5,
            alternating_flip=True,
            random_erasing=0.5,
            random_erasing_fill="noise",
            mixup_alpha=0.4,
            cutmix_alpha=1.0,
        ),
        pytest.param(
            AugmentationConfig(rand_augment_layers=2, fill="edge"),
            marks=pytest.mark.nightly,
        ),
        pytest.param(
            AugmentationConfig(trivial_augment=True), marks=pytest.mark.nightly
        ),
    ],
    ids=["alternating", "rand_augment", "trivial_augment"],
)
def test_resumed_training_equals_an_unbroken_one(
    split: Split, tmp_path, augmentation: AugmentationConfig
) -> None:
    broken = tmp_path / "broken"
    # The cosine depends on the planned length, so the first half plans all ten steps.
    config = dataclasses.replace(with_train(steps=10), augmentation=augmentation)
    whole = training.train(config, split, split, 2, tmp_path / "whole_constant")
    half = dataclasses.replace(config, train=dataclasses.replace(config.train, steps=5))
    training.train(half, split, split, 2, broken)
    resumed = training.train(config, split, split, 2, broken)
    assert resumed.steps == whole.steps == 10
    one = tf.train.load_checkpoint(
        str(tmp_path / "whole_constant/checkpoints/model.ckpt-10")
    )
    two = tf.train.load_checkpoint(str(broken / "checkpoints/model.ckpt-10"))
    for name in one.get_variable_to_shape_map():
        np.testing.assert_allclose(
            one.get_tensor(name), two.get_tensor(name), atol=1e-5, err_msg=name
        )


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGINT, marks=pytest.mark.nightly), signal.SIGTERM],
)
def test_an_interrupted_training_resumes_exactly(
    split: Split, tmp_path, monkeypatch, caplog, number
) -> None:
    """The signal comes in the middle of step 8, which is no step that is measured."""
    monkeypatch.setattr(hooks, "REPORT_SECONDS", 0.0)
    caplog.set_level(logging.INFO, "slimline.progress")
    whole = training.train(with_train(), split, split, 2, tmp_path / "whole")

    class Interrupt(logging.Handler):
        def emit(self, record):
            if record.getMessage() == "train" and record.fields["step"] == 8:
                signal.raise_signal(number)

    progress, interrupt = logging.getLogger("slimline.progress"), Interrupt()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    progress.addHandler(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            training.train(with_train(), split, split, 2, tmp_path / "broken")
    finally:
        progress.removeHandler(interrupt)
        signal.signal(signal.SIGTERM, before)
    store = checkpoints.CheckpointStore(tmp_path / "broken" / "checkpoints")
    assert store.latest() == 8
    resumed = training.train(with_train(), split, split, 2, tmp_path / "broken")
    assert (resumed.resumed_at, resumed.best.step) == (8, whole.best.step)
    for table in (history.measurements, history.losses):
        first, second = (
            list(history.read(table(tmp_path / name))) for name in ("whole", "broken")
        )
        assert [row["step"] for row in first] == [row["step"] for row in second]
    one, two = (
        tf.train.load_checkpoint(str(tmp_path / name / "checkpoints/model.ckpt-10"))
        for name in ("whole", "broken")
    )
    for name in one.get_variable_to_shape_map():
        np.testing.assert_allclose(
            one.get_tensor(name), two.get_tensor(name), atol=1e-5, err_msg=name
        )


def test_a_second_ctrl_c_does_not_wait() -> None:
    with pytest.raises(KeyboardInterrupt), interruption.held() as held:
        signal.raise_signal(signal.SIGINT)
        assert held.number == signal.SIGINT
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not reached")


def test_a_batch_larger_than_the_split_is_made_to_fit(split: Split, tmp_path) -> None:
    config = with_train(batch_size=64, steps=1)
    result = training.train(config, split, split, 2, tmp_path)
    assert result.steps == 1
    assert "fewer than a batch of 64" in result.findings[0]


@pytest.mark.filterwarnings("ignore")
def test_a_loss_that_is_no_number_is_a_sentence(split: Split, tmp_path) -> None:
    broken = dataclasses.replace(split, images=split.images * np.nan)
    with pytest.raises(TrainError, match="loss became NaN") as caught:
        training.train(CONFIG, broken, split, 2, tmp_path)
    assert "train.learning_rate=0.001" in caught.value.tip


def test_tensorboard_shows_weights_gradients_and_stages(split: Split, tmp_path) -> None:
    config = with_train(steps=2, histograms=True, image_summaries=3)
    training.train(config, split, split, 2, tmp_path)
    kinds: dict[str, set[str]] = {}
    for file in tmp_path.glob("events*"):
        for event in v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                plugin = value.metadata.plugin_data.plugin_name
                kind = plugin or value.WhichOneof("value")
                kinds.setdefault(kind, set()).add(value.tag)
    tags = set().union(*kinds.values())
    assert {"loss", "accuracy", "learning_rate", "gradient_norm"} <= tags
    assert any(tag.startswith("weights/") for tag in tags)
    assert any(tag.startswith("gradients/") for tag in tags)
    stages = {tag for tag in tags if "/image" in tag}
    assert stages == {
        f"{stage}/image/{place}"
        for stage in ("0_preprocessed", "1_pad_crop", "2_flip_left_right")
        for place in range(3)
    }


def test_tensorboard_shows_the_stages_of_policies(split: Split, tmp_path) -> None:
    augmentation = AugmentationConfig(
        random_resized_crop=0.5,
        alternating_flip=True,
        trivial_augment=True,
        random_erasing=0.5,
    )
    config = dataclasses.replace(
        with_train(image_summaries=1), augmentation=augmentation
    )
    summaries.write_stages(tmp_path, split, config)
    v1.summary.FileWriterCache.clear()
    tags = {
        value.tag
        for file in tmp_path.glob("events*")
        for event in v1.train.summary_iterator(str(file))
        for value in event.summary.value
    }
    names = [
        "preprocessed",
        "random_resized_crop",
        "alternating_flip",
        "trivial_augment",
        "random_erasing",
    ]
    assert tags == {f"{stage}_{name}/image" for stage, name in enumerate(names)}


def test_mixed_weighted_and_smoothed_batches_train(split: Split, tmp_path) -> None:
    config = dataclasses.replace(
        with_train(
            steps=60,
            learning_rate=0.1,
            label_smoothing=0.1,
            class_weights="balanced",
        ),
        augmentation=AugmentationConfig(mixup_alpha=0.2),
    )
    result = training.train(config, split, split, 2, tmp_path)
    assert result.best.top_1 > 0.9


def test_the_images_of_a_training_go_with_it(split: Split, small_net, tmp_path) -> None:
    """What TensorFlow keeps for the whole process holds no graph, and no images by it."""
    model = ModelConfig(net=small_net, activation="gelu")
    config = dataclasses.replace(with_train(steps=1), model=model)
    own = dataclasses.replace(split, images=split.images.copy())
    images = weakref.ref(own.images)
    training.train(config, own, own, 2, tmp_path)
    del own
    gc.collect()
    assert images() is None
