"""One update, by hand."""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_slim as slim

from trainer import layers, optimizers
from trainer.config import TrainConfig

v1 = tf.compat.v1


def update_once(train, rate, *, weight=3.0, bias=1.0, weight_decay=0.0):
    """Weight and bias after one update of the loss 4 * weight + 3 * bias, and the norm.

    The gradient is (4, 3), its norm 5; with L2 the weight's grows by weight_decay * weight.
    """
    with tf.Graph().as_default(), v1.Session() as session:
        weights = slim.model_variable(
            "weights",
            initializer=tf.constant([weight]),
            regularizer=layers.l2_regularizer(weight_decay) if weight_decay else None,
        )
        biases = slim.model_variable("biases", initializer=tf.constant([bias]))
        v1.losses.add_loss(tf.reduce_sum(4 * weights + 3 * biases))
        loss = optimizers.total_loss(train)
        step = v1.train.get_or_create_global_step()
        update = optimizers.train_op(loss, train, tf.constant(rate), step)
        session.run(v1.global_variables_initializer())
        _, norm = session.run([update.op, update.gradient_norm])
        assert session.run(step) == 1
        return session.run(weights)[0], session.run(biases)[0], norm


def test_gradient_descent():
    train = TrainConfig(optimizer="gradient_descent")
    assert update_once(train, 0.1) == pytest.approx((3 - 0.4, 1 - 0.3, 5))


@pytest.mark.parametrize(("limit", "share"), [(1.0, 0.2), (2.5, 0.5), (100.0, 1.0)])
def test_clipping_keeps_the_direction_and_tells_the_norm_before(limit, share):
    train = TrainConfig(optimizer="gradient_descent", clip_norm=limit)
    expected = (3 - 0.4 * share, 1 - 0.3 * share, 5)
    assert update_once(train, 0.1) == pytest.approx(expected)


def test_l2_goes_through_the_gradient():
    train = TrainConfig(optimizer="gradient_descent", weight_decay=0.5)
    weight, bias, _ = update_once(train, 0.1, weight_decay=0.5)
    assert (weight, bias) == pytest.approx((3 - 0.1 * (4 + 0.5 * 3), 1 - 0.3))


def test_adamw_takes_the_decay_off_the_weights_alone():
    # Adam's first step is the rate, whatever the gradient.
    train = TrainConfig(optimizer="adamw", weight_decay=0.5)
    weight, bias, norm = update_once(train, 0.1, weight_decay=0.5)
    assert weight == pytest.approx(3 - 0.1 - 0.1 * 0.5 * 3, rel=1e-5)
    assert bias == pytest.approx(1 - 0.1, rel=1e-5)
    assert norm == pytest.approx(5)  # no L2 in it


def test_adam_has_it_in_the_gradient():
    train = TrainConfig(optimizer="adam", weight_decay=0.5)
    weight, _, norm = update_once(train, 0.1, weight_decay=0.5)
    assert weight == pytest.approx(3 - 0.1, rel=1e-5)
    assert norm == pytest.approx(np.hypot(4 + 1.5, 3))


@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
@pytest.mark.parametrize("rate_factor", [1.0, 0.5])
def test_a_scaled_loss_gives_the_same_updates_and_leaves_out_what_overflows(
    tmp_path, optimizer, rate_factor
):
    """With what a session restores: the scale is a variable of the checkpoint."""
    weights = {}
    for is_scaled in (False, True):
        with tf.Graph().as_default(), v1.Session() as session:
            factor = v1.placeholder(tf.float32, [])
            weight = slim.model_variable(
                "weight",
                initializer=tf.constant([3.0]),
                # Of a weight that decays.
                regularizer=layers.l2_regularizer(0.1)
                if optimizer == "adamw"
                else None,
            )
            v1.losses.add_loss(tf.reduce_sum(factor * weight))
            train = TrainConfig(
                optimizer=optimizer,
                clip_norm=1.5,
                weight_decay=0.1,
                first_rate_factor=rate_factor,
            )
            step = v1.train.get_or_create_global_step()
            update = optimizers.train_op(
                optimizers.total_loss(train),
                train,
                tf.constant(0.1),
                step,
                is_loss_scaled=is_scaled,
            )
            saver = v1.train.Saver()
            session.run(v1.global_variables_initializer())
            told = [update.op, update.gradient_norm]
            norms = [session.run(told, {factor: value})[1] for value in (1, 2)]
            assert norms == [1, 2]
            weights[is_scaled] = session.run(weight)
            if is_scaled:
                before = session.run(weight)
                session.run(update.op, {factor: np.inf})
                np.testing.assert_array_equal(session.run(weight), before)
                assert session.run(step) == 3
                path = saver.save(session, str(tmp_path / "model"))
    np.testing.assert_allclose(weights[True], weights[False], rtol=1e-6)
    scales = [
        tf.train.load_variable(path, name)
        for name, _ in tf.train.list_variables(path)
        if "loss_scale" in name
    ]
    assert scales == [32768 / 2]  # halved by the overflow


# A net of all groups. The gradient of each variable is its distance from 1.
SHAPES = {
    "net/stem/weights": [3, 3, 2, 4],
    "net/stem/biases": [4],
    "net/conv/weights": [1, 1, 4, 6],
    "net/conv/BatchNorm/beta": [6],
    "net/logits/weights": [6, 3],
    "net/logits/biases": [3],
}
REGULARISED = [name for name in SHAPES if name.endswith("/weights")]
RATE, STEPS = 0.1, 4


def starts() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    return {
        name: random.normal(size=shape).astype(np.float32)
        for name, shape in SHAPES.items()
    }


def descend(
    train: TrainConfig,
    values: dict[str, np.ndarray],
    steps: int = STEPS,
    fixed: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """The variables after some updates."""
    with tf.Graph().as_default(), v1.Session() as session:
        variables = {
            name: slim.model_variable(
                name,
                initializer=tf.constant(value),
                trainable=name not in fixed,
                regularizer=layers.l2_regularizer(train.weight_decay)
                if train.weight_decay and name in REGULARISED
                else None,
            )
            for name, value in values.items()
        }
        for variable in variables.values():
            v1.losses.add_loss(tf.reduce_sum((variable - 1) ** 2) / 2)
        step = v1.train.get_or_create_global_step()
        loss = optimizers.total_loss(train)
        update = optimizers.train_op(loss, train, tf.constant(RATE), step)
        session.run(v1.global_variables_initializer())
        for _ in range(steps):
            session.run(update.op)
        return session.run(variables)


@pytest.mark.parametrize("is_decoupled", [False, True])
def test_groups_have_rates_and_decays_of_their_own(is_decoupled):
    """Nesterov's rule by hand, from the definition of both kinds of decay."""
    train = TrainConfig(
        optimizer="nesterov",
        momentum=0.8,
        weight_decay=0.3,
        decoupled_decay=is_decoupled,
        norm_rate_factor=4,
        head_rate_factor=0.5,
        first_rate_factor=2,
        norm_decay_factor=0.25,
        head_decay_factor=2,
        first_decay_factor=0.5,
        bias_decay_factor=0.1,
    )
    groups = {  # factor on the rate, factor on the decay
        "net/stem/weights": (2, 0.5),
        "net/stem/biases": (2, 0.5 * 0.1),
        "net/conv/weights": (1, 1),
        "net/conv/BatchNorm/beta": (4, 0.25),
        "net/logits/weights": (0.5, 2),
        "net/logits/biases": (0.5, 2 * 0.1),
    }
    after = descend(train, starts())
    for name, value in starts().items():
        rate, decay = RATE * groups[name][0], 0.3 * groups[name][1]
        momentum = np.zeros_like(value)
        for _ in range(STEPS):
            gradient = value - 1 + (0 if is_decoupled else decay * value)
            momentum = 0.8 * momentum + gradient
            if is_decoupled:
                value = value - rate * decay * value
            value = value - rate * (gradient + 0.8 * momentum)
        np.testing.assert_allclose(after[name], value, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("optimizer", ["momentum", "nesterov"])
def test_decoupled_decay_is_that_of_keras(optimizer):
    train = TrainConfig(
        optimizer=optimizer, momentum=0.9, weight_decay=0.4, decoupled_decay=True
    )
    peer = keras.optimizers.SGD(
        RATE, momentum=0.9, nesterov=optimizer == "nesterov", weight_decay=0.4
    )
    name = "net/conv/weights"
    values = {name: starts()[name]}
    variable = keras.Variable(values[name])
    for _ in range(STEPS):
        peer.apply([variable - 1], [variable])
    after = descend(train, values)
    np.testing.assert_allclose(after[name], np.array(variable), atol=1e-5)
    # It is not L2: that goes through the momentum.
    through = descend(dataclasses.replace(train, decoupled_decay=False), values)
    assert np.abs(through[name] - after[name]).max() > 0.01


def test_adamw_is_adam_with_decoupled_decay():
    adamw = descend(TrainConfig(optimizer="adamw", weight_decay=0.4), starts())
    adam = descend(
        TrainConfig(optimizer="adam", weight_decay=0.4, decoupled_decay=True), starts()
    )
    for name, value in adamw.items():
        np.testing.assert_array_equal(adam[name], value)


def test_the_loss_has_the_l2_of_each_group():
    values = starts()
    train = TrainConfig(weight_decay=0.3, head_decay_factor=2, norm_decay_factor=0.5)
    with tf.Graph().as_default(), v1.Session() as session:
        for name, value in values.items():
            slim.model_variable(
                name,
                initializer=tf.constant(value),
                regularizer=layers.l2_regularizer(0.3) if name in REGULARISED else None,
            )
        v1.losses.add_loss(tf.constant(7.0))
        loss = optimizers.total_loss(train)
        session.run(v1.global_variables_initializer())
        factors = {
            "net/stem/weights": 1,
            "net/conv/weights": 1,
            "net/logits/weights": 2,
            "net/conv/BatchNorm/beta": 0.5,
        }
        expected = sum(
            factor * 0.3 * np.sum(values[name] ** 2) / 2
            for name, factor in factors.items()
        )
        assert session.run(loss) == pytest.approx(7 + expected, rel=1e-5)


def test_frozen_weights_with_a_trained_bias_leave_the_bias_its_factors():
    """As a first layer of fixed filters: its weights neither move nor decay."""
    train = TrainConfig(
        optimizer="gradient_descent",
        weight_decay=0.3,
        decoupled_decay=True,
        first_rate_factor=2,
        first_decay_factor=0.5,
        bias_decay_factor=0.1,
    )
    after = descend(train, starts(), steps=1, fixed=["net/stem/weights"])
    np.testing.assert_array_equal(
        after["net/stem/weights"], starts()["net/stem/weights"]
    )
    bias = starts()["net/stem/biases"]
    expected = bias - 2 * RATE * (bias - 1 + 0.3 * 0.5 * 0.1 * bias)
    np.testing.assert_allclose(after["net/stem/biases"], expected, atol=1e-6)
