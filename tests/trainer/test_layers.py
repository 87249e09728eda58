import functools

import numpy as np
import pytest
import tensorflow as tf
import tf_slim as slim

from trainer import layers

COLLECTIONS = (
    tf.compat.v1.GraphKeys.GLOBAL_VARIABLES,
    tf.compat.v1.GraphKeys.MODEL_VARIABLES,
    tf.compat.v1.GraphKeys.TRAINABLE_VARIABLES,
    tf.compat.v1.GraphKeys.MOVING_AVERAGE_VARIABLES,
    tf.compat.v1.GraphKeys.REGULARIZATION_LOSSES,
)


@pytest.fixture
def slim_batch_norm(legacy_layers):
    return slim.batch_norm


def run_layer(batch_norm, images, is_training, **arguments):
    """Outputs, gradient, variables after two updates, and collections, by plain names."""
    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        inputs = tf.constant(images)
        outputs = batch_norm(
            inputs, is_training=is_training, decay=0.9, epsilon=0.01, **arguments
        )
        variables = {v.op.name: v for v in tf.compat.v1.global_variables()}
        session.run(tf.compat.v1.global_variables_initializer())
        for place, (_, variable) in enumerate(sorted(variables.items())):
            session.run(variable.assign(np.linspace(0.5, 1.5, 3) + 0.1 * place))
        loss = tf.reduce_sum(outputs * tf.cast(tf.range(3), tf.float32))
        trainable = sorted(
            tf.compat.v1.trainable_variables(), key=lambda variable: variable.name
        )
        gradients = tf.gradients(loss, [inputs, *trainable])
        updates = graph.get_collection(tf.compat.v1.GraphKeys.UPDATE_OPS)
        results = session.run([outputs, *gradients])
        for _ in range(2):
            session.run(updates)
        values = session.run(variables)
        collections = {
            key: sorted(item.op.name for item in graph.get_collection(key))
            for key in COLLECTIONS
        }
        return results, values, collections, len(updates)


@pytest.mark.parametrize("shape", [(4, 5, 6, 3), (7, 3)], ids=["rank4", "rank2"])
@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("scale", [True, False])
def test_equals_slim(slim_batch_norm, shape, is_training, scale):
    images = np.random.default_rng(5).normal(2.0, 3.0, shape).astype(np.float32)
    ours = run_layer(layers.batch_norm, images, is_training, scale=scale)
    theirs = run_layer(slim_batch_norm, images, is_training, scale=scale)
    for our_value, their_value in zip(ours[0], theirs[0], strict=True):
        np.testing.assert_allclose(our_value, their_value, rtol=1e-5, atol=1e-5)
    assert ours[1].keys() == theirs[1].keys()
    for name, value in ours[1].items():
        np.testing.assert_allclose(value, theirs[1][name], rtol=1e-6, err_msg=name)
    assert ours[2] == theirs[2]
    assert ours[3] == theirs[3] == (2 if is_training else 0)


@pytest.mark.parametrize("normalizer", [layers.batch_norm, layers.bias_batch_norm])
@pytest.mark.parametrize(
    "convolve",
    [
        functools.partial(slim.conv2d, num_outputs=6, kernel_size=[3, 2], stride=2),
        functools.partial(slim.conv2d, num_outputs=6, kernel_size=3, rate=2),
        functools.partial(layers.im2col_conv2d, num_outputs=6, kernel_size=[3, 3]),
        functools.partial(
            slim.separable_conv2d, num_outputs=None, kernel_size=3, padding="VALID"
        ),
        functools.partial(
            slim.separable_conv2d,
            num_outputs=None,
            kernel_size=[3, 3],
            depth_multiplier=2,
            stride=2,
        ),
    ],
    ids=["stride", "dilation", "im2col", "depthwise", "depthwise_times_2"],
)
def test_inference_behind_a_convolution_is_that_of_the_kernel(convolve, normalizer):
    random = np.random.default_rng(7)
    images = random.normal(1.0, 2.0, [2, 9, 8, 3]).astype(np.float32)
    seen = []

    def normalize(inputs, **_):
        seen.append(inputs)
        return normalizer(inputs, is_training=False, scale=True, epsilon=0.01)

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        found = convolve(
            tf.constant(images),
            normalizer_fn=normalize,
            activation_fn=tf.nn.relu6,
        )
        by_name = {
            variable.op.name.rpartition("/")[2]: variable
            for variable in tf.compat.v1.global_variables()
        }
        for variable in by_name.values():
            value = random.uniform(0.2, 1.5, variable.shape).astype(np.float32)
            session.run(variable.assign(value))
        (before,) = seen
        if normalizer is layers.bias_batch_norm:
            before += by_name["biases"]
        expected = tf.nn.relu6(
            tf.nn.batch_normalization(
                before,
                by_name["moving_mean"],
                by_name["moving_variance"],
                by_name["beta"],
                by_name["gamma"],
                0.01,
            )
        )
        found, expected = session.run([found, expected])
    assert np.mean((expected > 0) & (expected < 6)) > 0.02
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_tensor_read_before_batch_norm_keeps_its_values():
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        before = tf.nn.conv2d(tf.ones([1, 2, 2, 1]), tf.ones([1, 1, 1, 1]), 1, "SAME")
        layers.batch_norm(before, is_training=False, epsilon=3.0)
        session.run(tf.compat.v1.global_variables_initializer())
        np.testing.assert_array_equal(session.run(before), np.ones([1, 2, 2, 1]))


@pytest.mark.parametrize("shape", [(2, 1), (1, 2, 1, 1)])
def test_values_by_hand(shape):
    """Values 1 and 3: mean 2, variance 1 to normalise with, 2 to remember."""
    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        images = tf.constant([1.0, 3.0], shape=shape)
        outputs = layers.batch_norm(
            images, is_training=True, decay=0.75, epsilon=0.0001
        )
        session.run(tf.compat.v1.global_variables_initializer())
        values = session.run(outputs).ravel()
        session.run(graph.get_collection(tf.compat.v1.GraphKeys.UPDATE_OPS))
        moving = {
            variable.op.name: session.run(variable).item()
            for variable in tf.compat.v1.global_variables()
        }
    assert values == pytest.approx([-0.99995, 0.99995], abs=1e-6)
    assert moving["BatchNorm/moving_mean"] == pytest.approx(0.25 * 2)
    assert moving["BatchNorm/moving_variance"] == pytest.approx(0.75 * 1 + 0.25 * 2)


def test_takes_the_arg_scope():
    with (
        tf.Graph().as_default(),
        slim.arg_scope([layers.batch_norm], is_training=False, scale=True),
    ):
        slim.conv2d(tf.zeros([1, 4, 4, 3]), 2, 1, normalizer_fn=layers.batch_norm)
        names = {variable.op.name for variable in tf.compat.v1.global_variables()}
        assert "Conv/BatchNorm/gamma" in names
        assert "Conv/biases" not in names
        assert not tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.UPDATE_OPS)


def test_a_scope_with_a_regulariser_leaves_batch_norm_alone():
    with tf.Graph().as_default():
        with tf.compat.v1.variable_scope("net", regularizer=slim.l2_regularizer(0.1)):
            layers.batch_norm(tf.zeros([2, 3]), scale=True)
        assert not tf.compat.v1.losses.get_regularization_losses()


def test_reuse_shares_variables():
    with tf.Graph().as_default():
        for reuse in (False, True):
            with tf.compat.v1.variable_scope("net", reuse=reuse):
                layers.batch_norm(tf.zeros([2, 3]), scope="norm")
        assert len(tf.compat.v1.global_variables()) == 3


def test_half_precision_keeps_float32_variables():
    with tf.Graph().as_default():
        outputs = layers.batch_norm(tf.zeros([2, 4, 4, 3], tf.bfloat16), scale=True)
        assert outputs.dtype == tf.bfloat16
        kinds = {v.dtype.base_dtype for v in tf.compat.v1.global_variables()}
        assert kinds == {tf.float32}


def test_bias_batch_norm_has_a_bias_without_effect():
    images = np.random.default_rng(5).normal(size=(8, 3)).astype(np.float32)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        outputs = layers.bias_batch_norm(tf.constant(images))
        names = {v.op.name: v for v in tf.compat.v1.trainable_variables()}
        assert set(names) == {"BiasAdd/biases", "BatchNorm/beta"}
        session.run(tf.compat.v1.global_variables_initializer())
        before = session.run(outputs)
        session.run(names["BiasAdd/biases"].assign([1.0, -2.0, 3.0]))
        np.testing.assert_allclose(before, session.run(outputs), atol=1e-5)


def test_is_training_must_be_a_bool():
    with (
        tf.Graph().as_default(),
        pytest.raises(TypeError, match="must be a Python bool"),
    ):
        layers.batch_norm(tf.zeros([2, 3]), is_training=tf.constant(True))


@pytest.mark.parametrize("shape", [[2, 3, 4], [2, None], [2, 4, 4, None]])
def test_refuses_other_shapes(shape):
    with tf.Graph().as_default(), pytest.raises(ValueError, match="Received shape"):
        layers.batch_norm(tf.compat.v1.placeholder(tf.float32, shape))


# im2col_conv2d: by hand, and against TensorFlow's kernel.


def convolve(convolution, images, kernel, **arguments):
    """Outputs of a linear convolution without bias whose weights are `kernel`."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        outputs = convolution(
            tf.constant(np.asarray(images, np.float32)),
            kernel.shape[3],
            kernel.shape[:2],
            activation_fn=None,
            biases_initializer=None,
            weights_initializer=tf.compat.v1.constant_initializer(kernel),
            **arguments,
        )
        session.run(tf.compat.v1.global_variables_initializer())
        return session.run(outputs)


def test_im2col_of_2_px_by_hand():
    images = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]]).reshape(1, 3, 3, 1)
    kernel = np.array([[1, 10], [100, 1000]], np.float32).reshape(2, 2, 1, 1)
    outputs = convolve(layers.im2col_conv2d, images, kernel, padding="VALID")
    assert outputs.reshape(2, 2).tolist() == [
        [1 + 20 + 400 + 5000, 2 + 30 + 500 + 6000],
        [4 + 50 + 700 + 8000, 5 + 60 + 800 + 9000],
    ]


@pytest.mark.parametrize(("padding", "stride"), [("SAME", 1), ("VALID", 2)])
def test_im2col_equals_the_kernel(padding, stride):
    random = np.random.default_rng(3)
    images = random.normal(size=(5, 50, 50, 3))
    kernel = random.normal(size=(5, 5, 3, 7)).astype(np.float32)
    ours, theirs = (
        convolve(convolution, images, kernel, padding=padding, stride=stride)
        for convolution in (layers.im2col_conv2d, slim.conv2d)
    )
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_im2col_finds_edges_with_sobel():
    """A bright right half: the only edge is between columns 3 and 4."""
    images = np.zeros((1, 8, 8, 1))
    images[:, :, 4:] = 1
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32)
    kernel = sobel.reshape(3, 3, 1, 1)
    outputs = convolve(layers.im2col_conv2d, images, kernel, padding="VALID")
    assert outputs[0, :, :, 0].tolist() == [[0, 0, 4, 4, 0, 0]] * 6
    np.testing.assert_array_equal(
        outputs, convolve(slim.conv2d, images, kernel, padding="VALID")
    )


@pytest.mark.parametrize("normalizer", [None, layers.batch_norm])
def test_im2col_has_the_variables_of_slim(normalizer):
    found = []
    for convolution in (layers.im2col_conv2d, slim.conv2d):
        with tf.Graph().as_default():
            outputs = convolution(
                tf.zeros([2, 8, 8, 3]),
                4,
                [3, 3],
                normalizer_fn=normalizer,
                weights_regularizer=slim.l2_regularizer(0.1),
                scope="conv",
            )
            variables = {
                v.op.name: tuple(v.shape) for v in tf.compat.v1.global_variables()
            }
            losses = len(tf.compat.v1.losses.get_regularization_losses())
            found.append((variables, losses, tuple(outputs.shape)))
    assert found[0] == found[1]
    assert found[0][1] == 1
