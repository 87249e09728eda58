"""Towers on CPU devices; GPUs were not at hand."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_slim as slim

from common.errors import ConfigError
from trainer import devices, graphs, training
from trainer.config import (
    ModelConfig,
    PreprocessingConfig,
    ScheduleConfig,
    TrainConfig,
    TrainerConfig,
)
from trainer.input_pipeline import Split

pytestmark = pytest.mark.usefixtures("small_net")

v1 = tf.compat.v1

CONFIG = TrainerConfig(
    PreprocessingConfig(resize_px=8, crop_px=8, channels=1),
    ModelConfig(net="resnet_8"),
    TrainConfig(
        batch_size=8,
        steps=6,
        optimizer="nesterov",
        learning_rate=0.05,
        weight_decay=1e-3,
        ema_decay=0.9,
        device="cpu",
        precision="float32",
        seed=3,
    ),
    ScheduleConfig(name="constant", warmup_epochs=0),
)
TWO = ["/device:CPU:0", "/device:CPU:1"]


def with_train(**changes):
    return dataclasses.replace(
        CONFIG, train=dataclasses.replace(CONFIG.train, **changes)
    )


@pytest.fixture(scope="module")
def batch():
    random = np.random.default_rng(0)
    return random.normal(size=(8, 8, 8, 1)).astype(np.float32), np.arange(8) % 2


def train(config, towers, batch, steps=4):
    """Losses, variables and devices of the operations after some updates."""
    images, labels = batch
    session_config = devices.configure(v1.ConfigProto(), towers)
    with tf.Graph().as_default() as graph:
        v1.set_random_seed(1)
        training_graph = graphs.build_training(
            tf.constant(images), tf.constant(labels), 2, config, towers
        )
        counts = {
            "updates": len(graph.get_collection(v1.GraphKeys.UPDATE_OPS)),
            "losses": len(v1.losses.get_regularization_losses()),
            "model": len(slim.get_model_variables()),
        }
        where = {
            operation.device
            for operation in graph.get_operations()
            if operation.type in ("Conv2D", "Conv2DBackpropFilter")
        }
        variables = {v.device for v in v1.global_variables()}
        with v1.Session(config=session_config) as session:
            session.run(v1.global_variables_initializer())
            losses = [session.run(training_graph.train_op) for _ in range(steps)]
            values = session.run({v.op.name: v for v in v1.global_variables()})
        return losses, values, counts, where, variables


def test_two_towers_equal_one_big_batch(batch):
    # Without batch norm: each tower normalises by its own half.
    config = dataclasses.replace(
        with_train(learning_rate=0.01),
        model=ModelConfig(net="resnet_8", batch_norm=False),
    )
    one = train(config, [""], batch)
    two = train(config, TWO, batch)
    np.testing.assert_allclose(one[0], two[0], rtol=1e-4)
    assert one[1].keys() == two[1].keys()
    for name, value in one[1].items():
        np.testing.assert_allclose(value, two[1][name], atol=1e-5, err_msg=name)


def test_what_towers_share_and_what_they_have_alone(batch):
    _, _, counts, where, variables = train(CONFIG, TWO, batch, steps=1)
    _, _, single, _, _ = train(CONFIG, [""], batch, steps=1)
    # Batch norm's updates of the first tower, L2 and variables once.
    assert counts == single
    assert where == set(TWO)
    assert variables == {"/device:CPU:0"}


def test_two_towers_with_batch_norm_learn_from_halves_alike(batch):
    images, labels = batch
    twice = np.concatenate([images[:4]] * 2), np.concatenate([labels[:4]] * 2)
    half = images[:4], labels[:4]
    # The same half for both towers: statistics and gradients are those of the half.
    _, two, _, _, _ = train(CONFIG, TWO, twice)
    _, one, _, _, _ = train(with_train(batch_size=4), [""], half)
    for name, value in one.items():
        np.testing.assert_allclose(value, two[name], atol=1e-4, err_msg=name)


def test_a_whole_training_on_two_devices(tmp_path, batch):
    images, labels = batch
    split = Split((), None, labels, images)
    result = training.train(with_train(devices=2), split, split, 2, tmp_path)
    assert result.steps == 6


@pytest.mark.parametrize(
    ("changes", "gpus", "expected"),
    [
        ({"device": "auto"}, [], [""]),
        ({"device": "cpu"}, ["a"], ["/device:CPU:0"]),
        ({"device": "auto", "devices": 2}, [], TWO),
        (
            {"device": "auto", "devices": 2},
            ["a", "b", "c"],
            ["/device:GPU:0", "/device:GPU:1"],
        ),
        ({"device": "gpu"}, ["a"], ["/device:GPU:0"]),
    ],
)
def test_choice(changes, gpus, expected):
    assert devices.choose(with_train(**changes).train, gpus) == expected


def test_a_gpu_that_is_absent_is_a_sentence():
    with pytest.raises(ConfigError, match="asks for 1 GPU") as info:
        devices.choose(with_train(device="gpu").train, [])
    assert info.value.found == "no GPUs on this machine"
    assert info.value.tip == "--set train.device=cpu"
    with pytest.raises(ConfigError, match="asks for 4 GPUs") as info:
        devices.choose(with_train(device="auto", devices=4).train, ["a"])
    assert info.value.tip == "--set train.devices=1"


def test_a_batch_that_cannot_be_shared_is_a_sentence():
    with pytest.raises(ConfigError, match="cannot be shared") as info:
        devices.choose(with_train(devices=3).train, [])
    assert info.value.tip == "--set train.batch_size=9"
