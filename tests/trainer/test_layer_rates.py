"""Rows that learn at rates of their own."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from trainer import graphs, optimizers
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
    return {name: after[name] - before[name] for name in variables}


def test_factors_fall_from_the_class_layer_to_the_images():
    names = ["net/stem/weights", "net/group1/unit1/w", "net/group1/unit2/w"]
    names += ["net/head/weights", "net/logits/weights", "net/logits/biases"]
    assert optimizers.rate_factors(names, 0.5) == {
        "net/stem/weights": 0.125,
        "net/group1/unit1/w": 0.25,
        "net/group1/unit2/w": 0.25,
        "net/head/weights": 0.5,
        "net/logits/weights": 1.0,
        "net/logits/biases": 1.0,
    }


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "adamw", "rmsprop"])
def test_each_row_moves_by_its_share(optimizer):
    alike = updates(optimizer=optimizer)
    falling = updates(optimizer=optimizer, layer_rate_decay=0.5)
    factors = optimizers.rate_factors(list(alike), 0.5)
    assert sorted(set(factors.values())) == [0.125, 0.25, 0.5, 1.0]
    for name, factor in factors.items():
        assert np.abs(alike[name]).max() > 0
        np.testing.assert_allclose(
            falling[name], factor * alike[name], rtol=1e-3, atol=1e-7, err_msg=name
        )
