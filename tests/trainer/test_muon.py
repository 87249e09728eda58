"""Muon's updates, from the singular values and by hand."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_slim as slim

from common.errors import ConfigError
from trainer import layers, muon, optimizers, variable_groups
from trainer.config import ModelConfig, PreprocessingConfig, TrainConfig, TrainerConfig

v1 = tf.compat.v1

A, B, C = 3.4445, -4.7750, 2.0315
RATE, STEPS = 0.1, 3
SHAPES = {
    "net/stem/weights": [3, 3, 2, 24],  # more outputs than inputs
    "net/stem/BatchNorm/beta": [24],
    "net/conv/depthwise_weights": [3, 3, 24, 1],
    "net/conv/pointwise_weights": [1, 1, 24, 7],
    "net/fc/weights": [7, 5],
    "net/fc/biases": [5],
    "net/logits/weights": [5, 3],
    "net/logits/biases": [3],
}
KERNELS = ("net/stem/weights", "net/conv/pointwise_weights", "net/fc/weights")


def by_singular_values(matrix, steps):
    """The polynomial of the iteration, of the singular values one by one."""
    left, values, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    values /= np.sqrt(np.sum(values**2))
    for _ in range(steps):
        values = A * values + B * values**3 + C * values**5
    return (left * values) @ right


@pytest.mark.parametrize("shape", [(6, 6), (5, 40), (40, 5), (1, 7), (7, 1)])
@pytest.mark.parametrize("steps", [3, 5])
def test_singular_values_follow_the_polynomial(shape, steps):
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = muon.orthogonal(tf.constant(matrix), steps).numpy()
    np.testing.assert_allclose(found, by_singular_values(matrix, steps), atol=1e-4)
    peer = keras.optimizers.Muon(0.1)
    expected = np.array(peer.zeropower_via_newtonschulz5(matrix, steps))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_five_steps_make_a_matrix_nearly_orthogonal():
    matrix = np.random.default_rng(1).normal(size=(8, 20)).astype(np.float32)
    found = muon.orthogonal(tf.constant(100 * matrix), 5).numpy()
    values = np.linalg.svd(found, compute_uv=False)
    assert 0.6 < values.min() < values.max() < 1.3


def test_no_gradient_is_no_direction():
    assert not muon.orthogonal(tf.zeros([3, 5]), 3).numpy().any()


def starts():
    random = np.random.default_rng(3)
    return {
        name: random.normal(size=shape).astype(np.float32)
        for name, shape in SHAPES.items()
    }


def descend(train, values, steps=STEPS, is_loss_scaled=False, factors=(1.0,) * STEPS):
    """Variables after updates whose gradients are `factors` times (variable - 1)."""
    with tf.Graph().as_default(), v1.Session() as session:
        variables = {
            name: slim.model_variable(
                name,
                initializer=tf.constant(value),
                regularizer=layers.l2_regularizer(train.weight_decay)
                if train.weight_decay and name.endswith("weights")
                else None,
            )
            for name, value in values.items()
        }
        factor = v1.placeholder(tf.float32, [])
        for variable in variables.values():
            v1.losses.add_loss(factor * tf.reduce_sum((variable - 1) ** 2) / 2)
        step = v1.train.get_or_create_global_step()
        loss = optimizers.total_loss(train)
        update = optimizers.train_op(
            loss, train, tf.constant(RATE), step, is_loss_scaled=is_loss_scaled
        )
        session.run(v1.global_variables_initializer())
        for number in range(steps):
            session.run(update.op, {factor: factors[number]})
        assert session.run(step) == steps
        return session.run(variables)


def expected_kernel(value, rate, momentum, steps):
    """As the recipe has it: a row an output, its norm fixed before each update."""
    outputs = value.shape[-1]
    rows = value.reshape(-1, outputs).T.astype(np.float64)
    average = np.zeros_like(rows)
    for _ in range(STEPS):
        gradient = rows - 1
        average = momentum * average + gradient
        rows = rows * np.sqrt(outputs) / np.linalg.norm(rows)
        rows = rows - rate * by_singular_values(gradient + momentum * average, steps)
    return rows.T.reshape(value.shape)


@pytest.mark.parametrize("is_loss_scaled", [False, True])
def test_kernels_move_by_orthogonal_momentum_all_else_by_nesterovs(is_loss_scaled):
    train = TrainConfig(
        optimizer="muon",
        momentum=0.85,
        muon_momentum=0.6,
        muon_steps=4,
        weight_decay=0.0,
        first_rate_factor=0.5,
        head_rate_factor=2.0,
    )
    after = descend(train, starts(), is_loss_scaled=is_loss_scaled)
    for name, value in starts().items():
        group = variable_groups.group_of(name, "stem")
        rate = RATE * {"first": 0.5, "head": 2.0}.get(group, 1.0)
        if name in KERNELS:
            value = expected_kernel(value, rate, 0.6, 4)
        else:
            momentum = np.zeros_like(value)
            for _ in range(STEPS):
                gradient = value - 1
                momentum = 0.85 * momentum + gradient
                value = value - rate * (gradient + 0.85 * momentum)
        np.testing.assert_allclose(after[name], value, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("is_decoupled", [False, True])
def test_kernels_do_not_decay(is_decoupled):
    """Their norm is fixed; the others decay as with Nesterov's rule."""
    changes = {"weight_decay": 0.3, "decoupled_decay": is_decoupled}
    plain = descend(TrainConfig(optimizer="muon", weight_decay=0.0), starts())
    decaying = descend(TrainConfig(optimizer="muon", **changes), starts())
    nesterov = descend(TrainConfig(optimizer="nesterov", **changes), starts())
    for name in SHAPES:
        peer = plain if name in KERNELS else nesterov
        np.testing.assert_allclose(
            decaying[name], peer[name], rtol=1e-5, atol=1e-6, err_msg=name
        )


def test_an_update_that_overflows_is_left_out():
    train = TrainConfig(optimizer="muon", decoupled_decay=True, weight_decay=0.3)
    one = descend(train, starts(), steps=1, is_loss_scaled=True)
    both = descend(train, starts(), 2, is_loss_scaled=True, factors=(1.0, np.inf))
    for name, value in one.items():
        np.testing.assert_array_equal(both[name], value, err_msg=name)


def test_a_kernel_of_zeros_starts_with_its_first_update():
    values = {"net/fc/weights": np.zeros([4, 5], np.float32)}
    after = descend(TrainConfig(optimizer="muon"), values, steps=1)["net/fc/weights"]
    expected = -RATE * by_singular_values(-np.ones([4, 5]), 3)
    np.testing.assert_allclose(after, expected, atol=1e-5)


def test_muon_without_a_layer_to_train_is_a_sentence():
    config = TrainerConfig(
        PreprocessingConfig(resize_px=28, crop_px=28, channels=1),
        ModelConfig(net="mlp_bn"),
        TrainConfig(optimizer="muon", freeze=("fc1", "fc2", "fc3")),
    )
    with pytest.raises(ConfigError, match="none of them is trained") as info:
        variable_groups.check(config)
    assert info.value.found == "train.freeze fc1, fc2, fc3"
    assert info.value.tip == "--set train.optimizer=nesterov"
    for change in ({"optimizer": "nesterov"}, {"freeze": ("fc1", "fc2")}):
        train = dataclasses.replace(config.train, **change)
        variable_groups.check(dataclasses.replace(config, train=train))
