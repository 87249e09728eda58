"""Rows that learn at rates of their own."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from trainer import graphs, variable_groups
from trainer.config import ModelConfig, PreprocessingConfig, TrainConfig, TrainerConfig

v1 = tf.compat.v1

CONFIG = TrainerConfig(
    PreprocessingConfig(resize_px=28, crop_px=28, channels=1),
    ModelConfig(net="mlp_bn"),
    TrainConfig(
        batch_size=4, ema_decay=0, learning_rate=0.1, momentum=0, weight_decay=0.01
    ),
)


def updates(**changes):
    """Change of each trainable variable in the first update, from the same start."""
    before, after = first_update(**changes)
    return {name: after[name] - before[name] for name in before}


def first_values():
    """The start of each trainable variable."""
    return first_update()[0]


def first_update(**changes):
    """Each trainable variable before and after the first update."""
    config = dataclasses.replace(
        CONFIG, train=dataclasses.replace(CONFIG.train, **changes)
    )
    images = np.random.default_rng(0).normal(size=(4, 28, 28, 1)).astype(np.float32)
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(1)
        labels = tf.constant([0, 1, 0, 1], tf.int64)
        training = graphs.build_training(tf.constant(images), labels, 2, config)
        session.run(v1.global_variables_initializer())
        variables = {v.op.name: v for v in v1.trainable_variables()}
        before = session.run(variables)
        session.run(training.train_op)
        after = session.run(variables)
        assert session.run(training.global_step) == 1
    return before, after


def test_factors_fall_from_the_class_layer_to_the_images():
    names = ["net/stem/weights", "net/group1/unit1/w", "net/group1/unit2/w"]
    names += ["net/head/weights", "net/logits/weights", "net/logits/biases"]
    train = TrainConfig(layer_rate_decay=0.5)
    assert variable_groups.rate_factors(names, "stem", train) == {
        "net/stem/weights": 0.125,
        "net/group1/unit1/w": 0.25,
        "net/group1/unit2/w": 0.25,
        "net/head/weights": 0.5,
        "net/logits/weights": 1.0,
        "net/logits/biases": 1.0,
    }


# AdamW is Adam with a decay of its own.
@pytest.mark.parametrize(
    "optimizer",
    ["momentum", "adamw", "rmsprop", pytest.param("adam", marks=pytest.mark.nightly)],
)
def test_each_row_moves_by_its_share(optimizer):
    alike = updates(optimizer=optimizer)
    falling = updates(optimizer=optimizer, layer_rate_decay=0.5)
    train = TrainConfig(layer_rate_decay=0.5)
    factors = variable_groups.rate_factors(list(alike), "fc1", train)
    assert sorted(set(factors.values())) == [0.125, 0.25, 0.5, 1.0]
    for name, factor in factors.items():
        assert np.abs(alike[name]).max() > 0
        np.testing.assert_allclose(
            falling[name], factor * alike[name], rtol=1e-3, atol=1e-7, err_msg=name
        )


def test_groups_of_a_net_move_by_their_shares():
    """From the gradients of a net, by hand: rate and L2 of each group."""
    groups = {"norm": 3.0, "head": 0.5, "first": 2.0, "body": 1.0}
    changes = {
        f"{name}_rate_factor": groups[name] for name in ("norm", "head", "first")
    }
    changes |= {"norm_decay_factor": 0.5, "head_decay_factor": 4.0}
    plain = updates(weight_decay=0.0)
    by_group = updates(weight_decay=0.1, **changes)
    starts = first_values()
    for name, change in plain.items():
        group = variable_groups.group_of(name, "fc1")
        decay = {"norm": 0.5, "head": 4.0}.get(group, 1.0)
        if name.endswith("/biases"):
            decay = 0.0
        expected = groups[group] * (change - 0.1 * 0.1 * decay * starts[name])
        np.testing.assert_allclose(
            by_group[name], expected, rtol=1e-4, atol=1e-6, err_msg=name
        )


def test_a_frozen_first_row_leaves_the_others_alone():
    plain = updates(freeze=("fc1",))
    factored = updates(freeze=("fc1",), first_rate_factor=7.0)
    for name, change in plain.items():
        assert np.any(change) == (not name.startswith("mlp_bn/fc1/"))
        np.testing.assert_array_equal(factored[name], change)
