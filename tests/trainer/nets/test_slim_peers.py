"""Nets as tf-slim publishes them against tf-slim's own: equal weights, equal logits.

Its net gets random weights and statistics and is saved as tf-slim's checkpoints are; ours
imports that file. An error of order, stride or padding changes the logits by far more than
the tolerance.
"""

import dataclasses
import inspect

import numpy as np
import pytest
import tensorflow as tf
import tf_slim as slim
from tf_slim.nets import (
    alexnet,
    inception_v1,
    inception_v2,
    inception_v3,
    resnet_v1,
    resnet_v2,
    vgg,
)

from trainer.nets import builder, registry
from trainer.nets.blocks import Dropout
from trainer.weights import mapping, opening

v1 = tf.compat.v1
CLASSES = 7


@dataclasses.dataclass(frozen=True)
class Peer:
    """A net of tf-slim and the images to compare with.

    Odd sides, in px, and even ones pad strided windows in different ways.
    """

    net: object
    arg_scope: object
    side: int


PEERS = {
    # The last pool of tf-slim's takes 7 x 7 maps, and its dense layers are convolutions
    # over whole maps.
    "alexnet_slim": Peer(alexnet.alexnet_v2, alexnet.alexnet_v2_arg_scope, 224),
    "vgg_16": Peer(vgg.vgg_16, vgg.vgg_arg_scope, 224),
    "inception_v1_slim": Peer(
        inception_v1.inception_v1, inception_v1.inception_v1_arg_scope, 193
    ),
    "inception_v2_slim": Peer(
        inception_v2.inception_v2, inception_v2.inception_v2_arg_scope, 96
    ),
    "inception_v3": Peer(
        inception_v3.inception_v3, inception_v3.inception_v3_arg_scope, 128
    ),
    "resnet_v1_50": Peer(resnet_v1.resnet_v1_50, resnet_v1.resnet_arg_scope, 97),
    "resnet_v2_50": Peer(resnet_v2.resnet_v2_50, resnet_v2.resnet_arg_scope, 96),
}
RANGES = {
    "gamma": (0.5, 1.5),
    "moving_variance": (0.5, 1.5),
    "moving_mean": (-0.3, 0.3),
    "beta": (-0.3, 0.3),
    "biases": (-0.3, 0.3),
}


def of(names: list[str], *, quick: str) -> list[object]:
    """Parameters, nightly but for the quick one."""
    return [
        pytest.param(name, marks=() if name == quick else pytest.mark.nightly)
        for name in names
    ]


def random_images(side: int, batch: int = 2) -> np.ndarray:
    """Coarse patterns of colour under noise: images that a net tells apart."""
    random = np.random.default_rng(5)
    places = -(-side // 32)
    colours = random.uniform(-1, 1, (batch, places, places, 3)).repeat(32, 1)
    colours = colours.repeat(32, 2)[:, :side, :side]
    noise = random.uniform(-0.5, 0.5, colours.shape)
    return (colours + noise).astype(np.float32)


def assign(session, values: dict[str, np.ndarray]) -> None:
    """Sets variables by name, all in one run."""
    variables = [v for v in v1.global_variables() if v.op.name in values]
    feed = {v.initializer.inputs[1]: values[v.op.name] for v in variables}
    session.run([variable.initializer for variable in variables], feed)


def random_values() -> dict[str, np.ndarray]:
    """Values among which images stay apart up to the logits."""
    random = np.random.default_rng(7)
    values = {}
    for variable in v1.global_variables():
        shape = variable.shape.as_list()
        kind = variable.op.name.rpartition("/")[2]
        if kind in RANGES:
            values[variable.op.name] = random.uniform(*RANGES[kind], shape)
        else:
            inputs = np.prod(shape[:2] if kind == "depthwise_weights" else shape[:-1])
            weights = random.standard_normal(shape, np.float32)
            values[variable.op.name] = weights * np.float32(2 / inputs) ** 0.5
    return values


def run(logits, images, session) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits, and batch norm's averages after the update ops."""
    updates = v1.get_collection(v1.GraphKeys.UPDATE_OPS)
    outputs, _ = session.run([logits, updates])
    averages = [v for v in v1.global_variables() if "/moving_" in v.op.name]
    values = session.run({variable.op.name: variable for variable in averages})
    return outputs.reshape(len(images), CLASSES), values


def run_peer(peer: Peer, images: np.ndarray, path: str, is_training: bool = False):
    """As `run`; the checkpoint holds the averages before the update."""
    with (
        tf.Graph().as_default(),
        v1.Session() as session,
        slim.arg_scope(peer.arg_scope()),
    ):
        drops = "dropout_keep_prob" in inspect.signature(peer.net).parameters
        keep = {"dropout_keep_prob": 1.0} if drops else {}
        inputs = tf.constant(images)
        logits, _ = peer.net(inputs, CLASSES, is_training=is_training, **keep)
        assign(session, random_values())
        v1.train.Saver().save(session, path, write_meta_graph=False)
        return run(logits, images, session)


def run_ours(spec, arrays, images: np.ndarray, is_training: bool = False):
    """As `run`, without dropout."""
    rows = tuple(row for row in spec.blocks if not isinstance(row, Dropout))
    spec = dataclasses.replace(spec, blocks=rows)
    with tf.Graph().as_default(), v1.Session() as session:
        inputs = tf.constant(images)
        logits, _ = builder.build(spec, inputs, CLASSES, is_training=is_training)
        assign(session, arrays)
        trainable = sum(v.shape.num_elements() for v in v1.trainable_variables())
        features = arrays[f"{spec.name}/logits/weights"].shape[0]
        missing = (spec.num_classes - CLASSES) * (features + 1)
        assert trainable + missing == spec.parameters
        return run(logits, images, session)


def assert_equal(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Within 1e-4 of the largest logit, which differs from image to image."""
    largest = np.abs(theirs).max()
    assert np.abs(theirs[0] - theirs[1]).max() > 0.01 * largest
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * largest)


@pytest.mark.slow
@pytest.mark.parametrize("name", of(sorted(PEERS), quick="resnet_v2_50"))
def test_logits_are_those_of_tf_slim(name, tmp_path, legacy_layers):
    peer, spec = PEERS[name], registry.find(name)
    images = random_images(peer.side)
    path = str(tmp_path / "model.ckpt")
    theirs, _ = run_peer(peer, images, path)
    mapped = mapping.convert(opening.read(tmp_path), spec)
    assert mapped.num_classes == CLASSES
    ours, _ = run_ours(spec, mapped.arrays, images)
    assert_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", of(["inception_v2_slim", "resnet_v1_50"], quick="inception_v2_slim")
)
def test_training_mode_is_that_of_tf_slim(name, tmp_path, legacy_layers):
    spec = registry.find(name)
    # Statistics of a batch need more than the last px of two images.
    images = random_images(64, batch=8)
    path = str(tmp_path / "model.ckpt")
    theirs, averages = run_peer(PEERS[name], images, path, is_training=True)
    opened = opening.read(tmp_path)
    mapped = mapping.convert(opened, spec)
    ours, our_averages = run_ours(spec, mapped.arrays, images, is_training=True)
    assert_equal(ours, theirs)
    moved = mapping.convert(
        dataclasses.replace(opened, tensors=opened.tensors | averages), spec
    ).arrays
    assert our_averages
    for variable, value in our_averages.items():
        assert np.abs(value - mapped.arrays[variable]).max() > 1e-5, variable
        np.testing.assert_allclose(value, moved[variable], rtol=1e-4, atol=1e-5)
