"""The airbench net against one of Keras's layers, put together as the paper prints it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.nets import builder, registry

v1 = tf.compat.v1
WIDTHS = {"airbench94": (64, 256, 256), "airbench95": (128, 384, 384)}


def peer(widths):
    """arXiv:2404.00498, listing 2: whitening, three groups, pool, dense times 1/9."""
    layers = keras.layers

    def norm(values):
        return layers.BatchNormalization(momentum=0.6, epsilon=1e-5, scale=False)(
            values
        )

    def conv(filters, values):
        return layers.Conv2D(filters, 3, padding="same", use_bias=False)(values)

    def gelu(values):
        return keras.activations.gelu(values, approximate=False)

    images = keras.Input([32, 32, 3])
    values = gelu(layers.Conv2D(24, 2)(images))
    for width in widths:
        values = gelu(norm(layers.MaxPooling2D(2)(conv(width, values))))
        values = gelu(norm(conv(width, values)))
    values = layers.Flatten()(layers.MaxPooling2D(3)(values))
    return keras.Model(images, layers.Dense(10, use_bias=False)(values) / 9)


@pytest.mark.parametrize("name", sorted(WIDTHS))
def test_equal_weights_give_equal_logits(name):
    random = np.random.default_rng(4)
    images = random.normal(size=(4, 32, 32, 3)).astype(np.float32)
    model = peer(WIDTHS[name])
    assert model.count_params() == registry.find(name).parameters + 2 * sum(
        width * 2 for width in WIDTHS[name]
    )
    values = [
        random.uniform(0.5, 2, weight.shape)
        if "variance" in weight.path
        else random.normal(
            0, (2 / max(np.prod(weight.shape[:-1]), 2)) ** 0.5, weight.shape
        )
        for weight in model.weights
    ]
    model.set_weights(values)
    expected = model(images, training=False).numpy()
    with tf.Graph().as_default(), v1.Session() as session:
        logits, _ = builder.build(
            registry.find(name), tf.constant(images), 10, is_training=False
        )
        # In the order of the layers, and within a batch norm offset, mean, variance.
        variables = v1.global_variables()
        assert [v.shape.as_list() for v in variables] == [
            list(value.shape) for value in values
        ]
        for variable, value in zip(variables, values, strict=True):
            variable.load(value, session)
        found = session.run(logits)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
