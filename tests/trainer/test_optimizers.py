"""One update, by hand."""

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
        op, norm = optimizers.train_op(loss, train, tf.constant(rate), step)
        session.run(v1.global_variables_initializer())
        _, norm = session.run([op, norm])
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
            train = TrainConfig(optimizer=optimizer, clip_norm=1.5, weight_decay=0.1)
            step = v1.train.get_or_create_global_step()
            op, norm = optimizers.train_op(
                *(optimizers.total_loss(train), train, tf.constant(0.1), step),
                is_loss_scaled=is_scaled,
                factors={weight.op.name: rate_factor},
            )
            saver = v1.train.Saver()
            session.run(v1.global_variables_initializer())
            norms = [session.run([op, norm], {factor: value})[1] for value in (1, 2)]
            assert norms == [1, 2]
            weights[is_scaled] = session.run(weight)
            if is_scaled:
                before = session.run(weight)
                session.run(op, {factor: np.inf})
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
