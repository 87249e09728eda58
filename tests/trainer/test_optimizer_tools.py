"""A training with all tools of the optimizer at once, and what reads its checkpoints."""

import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tf_slim as slim

from trainer import (
    class_rows,
    evaluation,
    graphs,
    history,
    plan,
    training,
    warm_start,
)
from trainer.config import (
    ModelConfig,
    PreprocessingConfig,
    ScheduleConfig,
    TrainConfig,
    TrainerConfig,
)
from trainer.input_pipeline import Split
from trainer.weights import tf_checkpoint

pytestmark = pytest.mark.usefixtures("small_net")

v1 = tf.compat.v1

PLAIN = TrainerConfig(
    PreprocessingConfig(resize_px=8, crop_px=8, channels=1),
    ModelConfig(net="resnet_8"),
    TrainConfig(
        batch_size=8, steps=10, learning_rate=0.02, ema_decay=0.9, device="cpu"
    ),
    ScheduleConfig(name="constant", warmup_epochs=0),
)
# Eval is measured at steps 5 and 10, which are no multiples of 3.
TOOLS = dataclasses.replace(
    PLAIN,
    train=dataclasses.replace(
        PLAIN.train,
        optimizer="muon",
        decoupled_decay=True,
        norm_rate_factor=2.0,
        head_rate_factor=0.5,
        norm_decay_factor=1.0,
        accumulate_steps=2,
        devices=2,
        freeze=("conv1",),
        precision="float32",
        ema_every_steps=2,
        lookahead_steps=3,
        lookahead_power=0.0,
        lookahead_decay=0.8,
        lookahead_start_epochs=0.4,
    ),
)


@pytest.fixture(scope="module")
def split():
    random = np.random.default_rng(5)
    labels = np.arange(40, dtype=np.int64) % 2
    images = random.normal(0, 1, [40, 8, 8, 1]) + (labels * 2 - 1)[:, None, None, None]
    return Split((), None, labels, images.astype(np.float32))


@pytest.fixture(scope="module")
def trained(split, tmp_path_factory):
    """(folder, result) of a training."""
    folder = tmp_path_factory.mktemp("tools")
    return folder, training.train(TOOLS, split, split, 2, folder)


@pytest.fixture(scope="module")
def checkpoint(trained):
    return str(trained[0] / "checkpoints" / "model.ckpt-5")


@pytest.fixture(scope="module")
def model_variables():
    with tf.Graph().as_default():
        graphs.build_inference(tf.zeros([1, 8, 8, 1]), 2, PLAIN)
        return [variable.op.name for variable in slim.get_model_variables()]


def test_it_learns(trained):
    folder, result = trained
    assert result.steps == 10
    losses = [row["loss"] for row in history.read(history.losses(folder))]
    assert losses[-1] < 0.7 * losses[0]


def test_what_is_measured_are_the_slow_weights(checkpoint, model_variables):
    values = tf_checkpoint.values_in(checkpoint)
    slow = {f"{name}/Lookahead" for name in model_variables}
    assert slow <= values.keys()
    for name in model_variables:
        np.testing.assert_array_equal(values[name], values[f"{name}/Lookahead"])


def test_frozen_rows_stand_still(trained, checkpoint, model_variables):
    first, last = (
        tf_checkpoint.values_in(checkpoint.replace("-5", f"-{step}"))
        for step in (5, 10)
    )
    frozen = [name for name in model_variables if name.startswith("resnet_8/conv1/")]
    assert frozen
    for name in model_variables:
        is_alike = np.array_equal(first[name], last[name])
        assert is_alike == (name in frozen), name


def test_a_training_without_tools_starts_from_it(checkpoint, model_variables):
    values = tf_checkpoint.values_in(checkpoint)
    with tf.Graph().as_default(), v1.Session() as session:
        start = warm_start.Start(checkpoint)
        images, labels = tf.zeros([4, 8, 8, 1]), tf.constant([0, 1, 0, 1], tf.int64)
        graphs.build_training(images, labels, 2, PLAIN, start=start)
        session.run(v1.global_variables_initializer())
        for variable in slim.get_model_variables():
            found = session.run(variable)
            np.testing.assert_array_equal(found, values[variable.op.name])


def test_it_starts_from_one_without_tools(tmp_path, model_variables):
    checkpoint = str(tmp_path / "model.ckpt")
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(7)
        graphs.build_inference(tf.zeros([1, 8, 8, 1]), 2, PLAIN)
        session.run(v1.global_variables_initializer())
        v1.train.Saver(slim.get_model_variables()).save(session, checkpoint)
    values = tf_checkpoint.values_in(checkpoint)
    tools = dataclasses.replace(
        TOOLS, train=dataclasses.replace(TOOLS.train, devices=1)
    )
    with tf.Graph().as_default(), v1.Session() as session:
        images, labels = tf.zeros([8, 8, 8, 1]), tf.constant([0, 1] * 4, tf.int64)
        graphs.build_training(
            *(images, labels, 2, tools),
            start=warm_start.Start(checkpoint),
            plan=plan.make_plan(tools.train, 40),
        )
        session.run(v1.global_variables_initializer())
        found = session.run({each.op.name: each for each in v1.global_variables()})
    for name in model_variables:
        for kind in ("", "/Lookahead", "/ExponentialMovingAverage"):
            np.testing.assert_array_equal(found[name + kind], values[name])


def test_evaluation_without_tools_reads_it(split, checkpoint):
    with (
        evaluation.EvalSession(PLAIN, split, 2) as plain,
        evaluation.EvalSession(TOOLS, split, 2) as tools,
    ):
        assert plain.measure(checkpoint, 5) == tools.measure(checkpoint, 5)


def test_published_forms_leave_the_slots_out(checkpoint, model_variables):
    found, _ = tf_checkpoint.read(pathlib.Path(checkpoint))
    assert sorted(found) == sorted(model_variables)


def test_its_class_layer_is_rearranged_by_name(checkpoint, tmp_path):
    target = str(tmp_path / "model.ckpt")
    class_rows.write(target, checkpoint, ("auk", "emu"), ("emu", "kea", "auk"))
    before, after = map(tf_checkpoint.values_in, (checkpoint, target))
    assert before.keys() == after.keys()
    for name in ("resnet_8/logits/weights", "resnet_8/logits/weights/Lookahead"):
        np.testing.assert_array_equal(after[name][:, [2, 0]], before[name])
        assert not after[name][:, 1].any()
