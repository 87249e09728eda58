import numpy as np
import pytest
import tensorflow as tf

from trainer.nets import builder, geometry, registry


def test_mnist_net_has_the_shapes_of_the_system():
    rows = geometry.layer_rows(registry.find("resnet_34_mnist"))
    shapes = {row.name: row.shape for row in rows}
    assert shapes["pool1"] == (14, 14, 64)
    assert shapes["group2/halving"] == (7, 7, 32)
    assert shapes["group2/unit1"] == (7, 7, 128)
    assert shapes["group3/halving"] == (4, 4, 64)
    assert shapes["group4/unit3"] == (2, 2, 512)
    assert shapes["pool2"] == (512,)
    units = [
        len([n for n in shapes if n.startswith(f"group{g}/u")]) for g in range(1, 5)
    ]
    assert units == [3, 4, 6, 3]


def test_mnist_net_regularises_its_last_layer_only():
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        spec = registry.find("resnet_34_mnist")
        builder.build(spec, tf.zeros([1, 28, 28, 1]), 10, True, weight_decay=0.5)
        losses = tf.compat.v1.losses.get_regularization_losses()
        weights, biases = tf.compat.v1.trainable_variables("resnet_34_mnist/logits")
        session.run(tf.compat.v1.variables_initializer([weights, biases]))
        loss, weights, biases = session.run([losses, weights, biases])
    assert loss == pytest.approx([0.25 * (weights**2).sum()])
    assert abs(weights).max() <= 0.2
    np.testing.assert_array_equal(biases, np.full(10, 0.1, np.float32))
