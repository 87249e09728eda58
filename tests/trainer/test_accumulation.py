"""Gradients of microbatches: their mean is the gradient of the batch."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf
import tf_slim as slim

from common.errors import ConfigError
from trainer import devices, graphs, optimizers, plan
from trainer.config import ModelConfig, PreprocessingConfig, TrainConfig, TrainerConfig

pytestmark = pytest.mark.usefixtures("small_net")

v1 = tf.compat.v1

CONFIG = TrainerConfig(
    PreprocessingConfig(resize_px=8, crop_px=8, channels=1),
    ModelConfig(net="resnet_8", batch_norm=False),
    TrainConfig(
        batch_size=8,
        optimizer="nesterov",
        learning_rate=0.01,
        weight_decay=1e-2,
        clip_norm=1.0,
        label_smoothing=0.1,
        ema_decay=0.9,
        device="cpu",
    ),
)
NORMED = dataclasses.replace(CONFIG, model=ModelConfig(net="resnet_8"))
TWO = ["/device:CPU:0", "/device:CPU:1"]


def accumulated(config, steps):
    train = dataclasses.replace(config.train, accumulate_steps=steps)
    return dataclasses.replace(config, train=train)


def batch(seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(8, 8, 8, 1)).astype(np.float32), np.arange(8) % 2


def train(config, images, labels, towers=("",), steps=3, weights=None):
    """What each step tells, and the variables at the end."""
    session_config = devices.configure(v1.ConfigProto(), towers)
    with tf.Graph().as_default(), v1.Session(config=session_config) as session:
        v1.set_random_seed(1)
        graph = graphs.build_training(
            tf.constant(images), tf.constant(labels), 2, config, towers, weights
        )
        told = [graph.train_op, graph.loss, graph.accuracy, graph.gradient_norm]
        session.run(v1.global_variables_initializer())
        rows = [session.run(told) for _ in range(steps)]
        variables = {v.op.name: v for v in v1.global_variables()}
        return np.array(rows), session.run(variables)


@functools.cache
def of_one_batch(is_weighted):
    """As `train`, with the weights of classes that it was given."""
    weights = np.array([0.5, 1.5], np.float32) if is_weighted else None
    return *train(CONFIG, *batch(), weights=weights), weights


@pytest.mark.parametrize(
    ("steps", "towers", "is_weighted"),
    [(4, [""], False), (2, [""], True), (2, TWO, True)],
)
def test_microbatches_equal_one_batch_without_batch_norm(steps, towers, is_weighted):
    images, labels = batch()
    rows, whole, weights = of_one_batch(is_weighted)
    parts, found = train(
        accumulated(CONFIG, steps), images, labels, towers, weights=weights
    )
    np.testing.assert_allclose(parts, rows, rtol=1e-4)
    assert whole.keys() == found.keys()
    for name, value in whole.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)


def test_batch_norm_sees_each_microbatch_alone():
    """Equal halves give the update of one; its statistics count twice."""
    images, labels = batch()
    halves = np.concatenate([images[:4]] * 2), np.concatenate([labels[:4]] * 2)
    _, before = train(NORMED, images[:4], labels[:4], steps=0)
    _, one = train(NORMED, images[:4], labels[:4], steps=1)
    _, both = train(accumulated(NORMED, 2), *halves, steps=1)
    assert one.keys() == both.keys()
    moved = 0
    for name, value in one.items():
        expected = value
        if name.rpartition("/")[2] in ("moving_mean", "moving_variance"):
            # Once more the way to the statistics of the half, with the net's decay.
            share = 0.9
            expected = value + share * (value - before[name])
            moved += bool(np.any(value != before[name]))
        elif "moving_" in name:
            continue  # the moving average of those
        np.testing.assert_allclose(both[name], expected, atol=1e-4, err_msg=name)
    assert moved > 10


def test_a_microbatch_waits_for_the_gradients_before_it():
    """Else all would be in memory together."""
    images, labels = batch()
    with tf.Graph().as_default() as graph:
        graphs.build_training(
            tf.constant(images), tf.constant(labels), 2, accumulated(NORMED, 2)
        )
        forward = [each for each in graph.get_operations() if each.type == "Conv2D"]
        backward = [
            each
            for each in graph.get_operations()
            if each.type.startswith(("Conv2DBackprop", "FusedBatchNormGrad"))
        ]
        half = len(forward) // 2
        waited_for = ancestors(forward[half])
        assert set(backward[: len(backward) // 2]) <= waited_for
        assert not set(backward) & ancestors(forward[half - 1])
        assert len(v1.get_collection(v1.GraphKeys.UPDATE_OPS)) > 0


def ancestors(operation):
    found, left = set(), [operation]
    while left:
        here = left.pop()
        for each in (*(tensor.op for tensor in here.inputs), *here.control_inputs):
            if each not in found:
                found.add(each)
                left.append(each)
    return found


def test_the_mean_of_gradients_and_an_overflow_in_any_part():
    """The gradient of a part is its factor, the rate 0.1."""
    train_config = TrainConfig(
        optimizer="gradient_descent", decoupled_decay=True, weight_decay=0.0
    )
    with tf.Graph().as_default(), v1.Session() as session:
        weight = slim.model_variable("net/w/weights", initializer=tf.constant([3.0]))
        factors = v1.placeholder(tf.float32, [3])
        step = v1.train.get_or_create_global_step()

        def part(number):
            return lambda: tf.reduce_sum(factors[number] * weight)

        update = optimizers.train_op(
            part(0)(),
            train_config,
            tf.constant(0.1),
            step,
            later=[part(1), part(2)],
            is_loss_scaled=True,
        )
        told = [update.op, update.loss, update.gradient_norm, update.is_applied]
        session.run(v1.global_variables_initializer())
        assert session.run(told, {factors: [1, 2, 6]}) == [9, 9, 3, True]
        assert session.run(weight) == pytest.approx([3 - 0.1 * 3])
        for factor in ([np.inf, 2, 6], [1, np.inf, 6], [1, 2, np.inf]):
            before = session.run(weight)
            assert not session.run(told, {factors: factor})[3]
            np.testing.assert_array_equal(session.run(weight), before)
        assert session.run(step) == 4


def test_a_batch_that_cannot_be_parted_is_a_sentence():
    config = TrainConfig(batch_size=20, devices=2, accumulate_steps=3)
    with pytest.raises(ConfigError, match="devices and microbatches") as info:
        plan.check_batch(config)
    assert info.value.found == "20 images for 2 devices of 3 microbatches each"
    assert info.value.tip == "--set train.batch_size=24"


def test_a_batch_made_to_fit_can_be_parted():
    config = TrainConfig(batch_size=64, devices=2, accumulate_steps=2)
    fitted, _ = plan.fit_batch(config, 40)
    assert fitted.batch_size == 8
    plan.check_batch(fitted)
