"""Nets as keras.applications publishes them against Keras's own: equal weights and logits.

Each model gets random weights and statistics and is saved by Keras; ours imports the file.
"""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from trainer.nets import builder, registry
from trainer.weights import mapping, opening

v1 = tf.compat.v1
CLASSES = 7


@dataclasses.dataclass(frozen=True)
class Peer:
    """A model, the side of the images to compare at, in px, and the form of the file."""

    module: object
    model: str
    side: int
    suffix: str


PEERS = {
    "inception_resnet_v2_slim": Peer(keras, "InceptionResNetV2", 128, ".h5"),
    "inception_v3": Peer(keras, "InceptionV3", 97, ".weights.h5"),
    "resnet_50_keras": Peer(keras, "ResNet50", 96, ".weights.h5"),
    "vgg_16": Peer(tf_keras, "VGG16", 64, ".h5"),
    "vgg_19": Peer(keras, "VGG19", 64, ".h5"),
}
# The others take long to build.
QUICK = {"vgg_16"}
RANGES = {
    "gamma": (0.5, 1.5),
    "moving_variance": (0.5, 1.5),
    "moving_mean": (-0.3, 0.3),
    "beta": (-0.3, 0.3),
    "bias": (-0.3, 0.3),
}


def random_images(side: int) -> np.ndarray:
    """Coarse patterns of colour under noise: images that a net tells apart."""
    random = np.random.default_rng(5)
    places = -(-side // 32)
    colours = random.uniform(-1, 1, (2, places, places, 3)).repeat(32, 1)
    colours = colours.repeat(32, 2)[:, :side, :side]
    noise = random.uniform(-0.5, 0.5, colours.shape)
    return (colours + noise).astype(np.float32)


def make(peer: Peer):
    """The model with random values, among which images stay apart up to the logits."""
    peer.module.utils.set_random_seed(1)
    # The numbers of unnamed layers go on from the last model of the process.
    peer.module.layers.BatchNormalization().build((None, 8, 8, 1))
    model = getattr(peer.module.applications, peer.model)(
        weights=None,
        input_shape=(peer.side, peer.side, 3),
        classes=CLASSES,
        classifier_activation=None,
    )
    random = np.random.default_rng(7)
    for variable in model.weights:
        kind = variable.name.rpartition("/")[2].removesuffix(":0")
        if kind == "kernel":
            values = random.standard_normal(variable.shape, np.float32)
            values *= (2 / np.prod(variable.shape[:-1])) ** 0.5
        else:
            values = random.uniform(*RANGES[kind], variable.shape)
        variable.assign(values)
    return model


def run_ours(spec, arrays, images: np.ndarray) -> np.ndarray:
    with tf.Graph().as_default(), v1.Session() as session:
        inputs = tf.constant(images)
        logits, _ = builder.build(spec, inputs, CLASSES, is_training=False)
        variables = v1.global_variables()
        feed = {v.initializer.inputs[1]: arrays[v.op.name] for v in variables}
        session.run([variable.initializer for variable in variables], feed)
        return session.run(logits)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.nightly)
        for name in sorted(PEERS)
    ],
)
def test_logits_are_those_of_keras(name, tmp_path):
    peer, spec = PEERS[name], registry.find(name)
    model = make(peer)
    path = tmp_path / f"model{peer.suffix}"
    if peer.suffix == ".h5" and peer.module is keras:
        model.save(path)
    else:
        model.save_weights(path)
    if spec.family == "vgg":
        # Its dense layers fit one size of images only.
        spec = dataclasses.replace(spec, image_size_px=peer.side)
    mapped = mapping.convert(opening.read(path), spec)
    assert mapped.num_classes == CLASSES
    images = random_images(peer.side)
    expected = images[..., ::-1] if mapped.source.reversed_channels else images
    theirs = np.asarray(model(expected, training=False))
    largest = np.abs(theirs).max()
    assert np.abs(theirs[0] - theirs[1]).max() > 0.01 * largest
    ours = run_ours(spec, mapped.arrays, images)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * largest)
