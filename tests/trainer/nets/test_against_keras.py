"""Our nets and those of keras.applications give the same logits with the same weights.

The weights are random, batch norm's statistics and factors too, and go over by the rules of
each net's table.
"""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.nets import builder, registry
from trainer.nets.blocks import Dropout

APPLICATIONS = keras.applications


def plain(images):
    """Images of -1..1, as our nets and most of Keras's take them."""
    return images


def from_unit(images):
    """For a model that divides by 255 first."""
    return images * 255


def from_gray_levels(images):
    """For a model that brings 0..255 to -1..1 first."""
    return (images + 1) * 127.5


# Net -> Keras's class, its arguments, and what undoes the layers before the first convolution.
PEERS = {
    "efficientnet_b0": (APPLICATIONS.EfficientNetB0, {}, from_unit),
    "mobilenet_v1": (APPLICATIONS.MobileNet, {"dropout": 0}, plain),
    "mobilenet_v1_025": (APPLICATIONS.MobileNet, {"alpha": 0.25}, plain),
    "mobilenet_v1_050": (APPLICATIONS.MobileNet, {"alpha": 0.5}, plain),
    "mobilenet_v2": (APPLICATIONS.MobileNetV2, {}, plain),
    "mobilenet_v2_035": (APPLICATIONS.MobileNetV2, {"alpha": 0.35}, plain),
    "mobilenet_v2_050": (APPLICATIONS.MobileNetV2, {"alpha": 0.5}, plain),
    "mobilenet_v2_140": (APPLICATIONS.MobileNetV2, {"alpha": 1.4}, plain),
    "mobilenet_v3_large": (APPLICATIONS.MobileNetV3Large, {}, from_gray_levels),
}
# Between them every kind of their layers; the others at night.
QUICK = {"mobilenet_v2_035", "mobilenet_v3_large"}
KINDS = {"kernel": "weights", "bias": "biases"}


def randomise(model, images, generator):
    """Gives every variable random values with which images stay far apart to the end.

    Batch norm's statistics are those of `images`, disturbed: far from them, signals of so
    many layers would die.
    """
    for layer in model.layers:
        values = []
        for weight in layer.weights:
            shape = tuple(weight.shape)
            if weight.name == "kernel":
                is_depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
                inputs = np.prod(shape[:2] if is_depthwise else shape[:-1])
                values.append(generator.normal(0, inputs**-0.5, shape))
            elif weight.name in ("gamma", "moving_variance"):
                values.append(generator.uniform(0.8, 1.6, shape))
            else:
                values.append(generator.normal(0, 0.2, shape))
        if values and not isinstance(layer, keras.layers.Normalization):
            layer.set_weights(values)
    norms = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(images, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        gamma, beta, mean, variance = norm.get_weights()
        mean += generator.normal(0, 0.1, mean.shape) * variance**0.5
        variance *= generator.uniform(0.8, 1.25, variance.shape)
        norm.set_weights([gamma, beta, mean, variance])


def foreign_tensors(model):
    """The model's values by the names that the layout of Keras gives them."""
    tensors = {}
    for layer in model.layers:
        for weight in layer.weights:
            name = KINDS.get(weight.name, f"BatchNorm/{weight.name}")
            if isinstance(layer, keras.layers.DepthwiseConv2D) and name == "weights":
                name = "depthwise_weights"
            if not isinstance(layer, keras.layers.Normalization):
                tensors[f"{layer.name}/{name}"] = np.asarray(weight)
    return tensors


def of(names):
    """Parameters, nightly but for the quick ones."""
    return [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.nightly)
        for name in names
    ]


@pytest.fixture(scope="module", params=of(sorted(PEERS)))
def peer(request):
    name = request.param
    make, arguments, prepare = PEERS[name]
    keras.utils.set_random_seed(1)
    model = make(weights=None, classifier_activation=None, **arguments)
    generator = np.random.default_rng(2)
    colours = generator.uniform(-1, 1, (4, 7, 7, 3)).repeat(32, 1).repeat(32, 2)
    images = (colours + generator.normal(0, 0.3, colours.shape)).astype(np.float32)
    randomise(model, prepare(images), generator)
    (source,) = (s for s in registry.find(name).sources if s.layout == "keras")
    tensors = {
        source.renamed(foreign): value
        for foreign, value in foreign_tensors(model).items()
    }
    return name, model, tensors, prepare, images


def logits_of(name, tensors, images, **arguments):
    """Logits of our net with all its variables set to `tensors`, which must be all used."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        spec = registry.find(name)
        # What falls out differs from one library to the other.
        rows = tuple(row for row in spec.blocks if not isinstance(row, Dropout))
        spec = replace(spec, blocks=rows)
        logits, _ = builder.build(spec, tf.constant(images), 1000, **arguments)
        variables = {
            variable.op.name.removeprefix(f"{name}/"): variable
            for variable in tf.compat.v1.global_variables()
        }
        assert set(variables) == set(tensors)
        # A 1x1 convolution over a single px is a dense layer.
        values = {
            variable.initializer.inputs[1]: tensors[ours].reshape(variable.shape)
            for ours, variable in variables.items()
        }
        session.run([v.initializer for v in variables.values()], values)
        return session.run(logits)


def assert_alike(ours, theirs, tolerance=1e-4):
    assert theirs.std() > 0.01
    largest = abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, atol=tolerance * largest, rtol=0)


def test_trainable_parameters(peer):
    name, model, *_ = peer
    counts = [np.prod(weight.shape) for weight in model.trainable_weights]
    assert registry.find(name).parameters == sum(counts)


def test_logits_in_inference(peer):
    name, model, tensors, prepare, images = peer
    theirs = np.asarray(model(prepare(images), training=False))
    ours = logits_of(name, tensors, images, is_training=False)
    assert_alike(ours, theirs)
    # Another image, another answer: what is compared follows from all layers.
    assert abs(ours[0] - ours[1]).max() > 0.1 * abs(ours).max()


@pytest.mark.parametrize(
    "peer", of(["mobilenet_v1", "mobilenet_v2_035"]), indirect=True
)
def test_batch_statistics_in_training(peer):
    name, model, tensors, prepare, images = peer
    weights = model.get_weights()
    theirs = np.asarray(model(prepare(images), training=True))
    model.set_weights(weights)
    ours = logits_of(name, tensors, images, is_training=True)
    # From Keras's net in float64 both are 1e-4 to 3e-4 away: so do few images condition it.
    assert_alike(ours, theirs, tolerance=1e-3)
    in_inference = logits_of(name, tensors, images, is_training=False)
    assert abs(ours - in_inference).max() > 0.01 * abs(ours).max()
