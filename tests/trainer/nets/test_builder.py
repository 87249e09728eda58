from typing import get_args

import numpy as np
import pytest
import tensorflow as tf

from common import errors
from serving.local_server import ops
from trainer.nets import builder, geometry, registry
from trainer.nets.blocks import (
    DIRAC,
    Activate,
    BatchNorm,
    Conv,
    Defaults,
    Dense,
    DepthwiseConv,
    Dropout,
    Flatten,
    GlobalPool,
    Logits,
    Mixed,
    NetSpec,
    Pool,
    Residual,
    Scale,
    SeparableConv,
    SqueezeExcite,
    WeightInit,
)
from trainer.nets.primitives import Activation

PLAIN = Defaults(norm=False, activation="linear")


def spec(*blocks, defaults=PLAIN, head=None, size_px=4, channels=1):
    return NetSpec(
        "toy",
        family="toy",
        image_size_px=size_px,
        channels=channels,
        num_classes=2,
        parameters=0,
        reference="none",
        blocks=blocks,
        defaults=defaults,
        head=head or Logits(),
    )


def run(table, images, *, is_training=False, end_point="block", **values):
    """The end point, all variables set to ones or to `values` by the end of their names."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.set_random_seed(2)
        inputs = tf.constant(np.asarray(images, np.float32))
        _, end_points = builder.build(table, inputs, 2, is_training)
        session.run(tf.compat.v1.global_variables_initializer())
        for variable in tf.compat.v1.global_variables():
            value = next(
                (v for name, v in values.items() if variable.op.name.endswith(name)),
                1.0,
            )
            session.run(variable.assign(np.broadcast_to(value, variable.shape)))
        return session.run(end_points[end_point])


def names_of(table, **arguments):
    with tf.Graph().as_default():
        size_px, channels = table.image_size_px, table.channels
        images = tf.zeros([2, size_px, size_px, channels])
        builder.build(table, images, 2, is_training=True, **arguments)
        variables = {
            v.op.name: tuple(v.shape.as_list())
            for v in tf.compat.v1.trainable_variables()
        }
        losses = [
            loss.op.name for loss in tf.compat.v1.losses.get_regularization_losses()
        ]
        return variables, losses


def grid(*rows):
    """One image of one channel."""
    return np.array(rows, np.float32)[None, :, :, None]


# Blocks, by values computed by hand.


def test_conv_with_bias():
    images = grid([1, 2], [3, 4])
    outputs = run(spec(Conv(1, 2, padding="VALID", name="block"), Flatten()), images)
    assert outputs.ravel().tolist() == [1 + 2 + 3 + 4 + 1]


def test_conv_with_padding_is_centred_on_every_second_px():
    images = np.zeros((1, 4, 4, 1), np.float32)
    images[0, 2, 2] = 1.0
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[1, 1] = 1.0
    table = spec(Conv(1, 3, 2, 1, bias=False, name="block"), Flatten())
    outputs = run(table, images, **{"block/weights": kernel})
    assert outputs[0, :, :, 0].tolist() == [[0, 0], [0, 1]]


def test_mean_pool_leaves_out_the_padding():
    images = grid([1, 2], [3, 4])
    outputs = run(spec(Pool("avg", 3, name="block"), Flatten()), images)
    assert outputs.ravel().tolist() == [2.5] * 4


def test_max_pool():
    images = grid([1, 2, 3, 4], [5, 6, 7, 8], [0, 0, 0, 0], [0, 9, 0, 0])
    outputs = run(spec(Pool("max", 2, 2, name="block"), Flatten()), images)
    assert outputs.ravel().tolist() == [6, 8, 9, 0]


def test_separable_conv():
    images = np.ones((1, 1, 1, 2), np.float32) * [2.0, 3.0]
    table = spec(
        SeparableConv(1, 1, depth_multiplier=2, bias=False, name="block"),
        Flatten(),
        channels=2,
    )
    assert run(table, images).ravel().tolist() == [2 * 2 + 2 * 3]
    variables, _ = names_of(table)
    assert variables["toy/block/depthwise_weights"] == (1, 1, 2, 2)
    assert variables["toy/block/pointwise_weights"] == (1, 1, 4, 1)


def test_depthwise_conv():
    images = np.ones((1, 1, 1, 2), np.float32) * [2.0, 3.0]
    block = DepthwiseConv(1, multiplier=2, name="block")
    table = spec(block, Flatten(), channels=2)
    values = {"depthwise_weights": [[[[1, 10], [100, 1000]]]]}
    assert run(table, images, **values).ravel().tolist() == [3, 21, 301, 3001]
    assert names_of(table)[0]["toy/block/depthwise_weights"] == (1, 1, 2, 2)
    table = spec(block, Flatten(), channels=2, defaults=Defaults())
    names = {f"toy/block/{n}" for n in ("BatchNorm/beta", "BatchNorm/gamma")}
    assert names < set(names_of(table)[0])
    assert "toy/block/biases" not in names_of(table)[0]


def test_padding_before_and_behind():
    kernel = np.zeros((2, 2, 1, 1), np.float32)
    kernel[1, 1] = 1.0
    for block in (
        Conv(1, 2, 2, (1, 0), bias=False, name="block"),
        DepthwiseConv(2, 2, (1, 0), bias=False, name="block"),
    ):
        outputs = run(
            spec(block, Flatten()),
            grid([1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]),
            **{"block/weights": kernel, "depthwise_weights": kernel},
        )
        assert outputs[0, :, :, 0].tolist() == [[1, 3], [9, 11]]


def test_max_pool_leaves_out_the_padding():
    table = spec(Pool("max", 3, 2, 1, name="block"), Flatten())
    outputs = run(table, grid([-1, -2], [-3, -4]))
    assert outputs.ravel().tolist() == [-1]
    with pytest.raises(ValueError, match="not a number of px"):
        Pool("avg", 3, 2, 1)


def test_squeeze_and_excite():
    images = np.array([[[1.0, 2.0], [3.0, 6.0]]], np.float32)[None]
    block = SqueezeExcite(1, gate="linear", name="block")
    table = spec(block, Flatten(), channels=2)
    values = {
        "reduce/weights": [[[[1], [2]]]],
        "reduce/biases": 0.5,
        "expand/weights": [[[[1, 10]]]],
        "expand/biases": [-0.5, 5.0],
    }
    # Means 2 and 4: 2 + 2 * 4 + 0.5 = 10.5, then 10 and 110.
    assert run(table, images, **values).ravel().tolist() == [10, 220, 30, 660]
    names = {name.removeprefix("toy/block/") for name in names_of(table)[0]}
    assert set(values) < names


def test_im2col_in_place_of_the_kernel():
    images = np.random.default_rng(1).normal(size=(2, 9, 9, 3))
    weights = np.random.default_rng(2).normal(size=(3, 3, 3, 5))
    outputs = [
        run(
            spec(
                Conv(5, 3, 2, 1, name="block"),
                Flatten(),
                channels=3,
                defaults=Defaults(conv_impl=conv_impl),
            ),
            images,
            **{"block/weights": weights},
        )
        for conv_impl in ("conv2d", "im2col")
    ]
    assert outputs[0].shape == (2, 5, 5, 5)
    np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-4)


def test_mixed_joins_in_order_and_may_nest():
    inner = Mixed(((Pool("max", 1),), (Conv(1, 1),)))
    table = spec(Mixed(((inner,), ()), name="block"), Flatten())
    assert run(table, grid([5])).ravel().tolist() == [5, 6, 5]
    variables, _ = names_of(table)
    assert "toy/block/branch_1/mixed_1/branch_2/conv_1/weights" in variables


@pytest.mark.parametrize(
    ("shortcut", "expected"),
    [("pad_after", [7, -8, 0, 0]), ("pad_symmetric", [0, 7, -8, 0])],
)
def test_residual_pads_channels(shortcut, expected):
    images = np.zeros((1, 2, 2, 2), np.float32)
    images[0, 0, 0] = [7, -8]
    body = (Conv(4, 1, 2, bias=False),)
    table = spec(Residual(body, shortcut, 2, name="block"), Flatten(), channels=2)
    outputs = run(table, images, weights=0.0)
    assert outputs.shape == (1, 1, 1, 4)
    assert outputs.ravel().tolist() == expected


def test_residual_activates_after_the_sum():
    body = (Conv(1, 1, bias=False),)
    for activation, expected in (("relu", 0), ("linear", -6)):
        table = spec(Residual(body, activation=activation, name="block"), Flatten())
        assert run(table, grid([-3])).ravel().tolist() == [expected]


def test_residual_scales_its_body_only():
    body = (Conv(1, 1, bias=False),)
    scaled = Defaults(norm=False, activation="linear", residual_scale=0.25)
    table = spec(Residual(body, name="block"), Flatten(), defaults=scaled)
    values = {"conv_1/weights": 8.0}
    assert run(table, grid([3]), **values).ravel().tolist() == [3 + 0.25 * 8 * 3]


def test_a_scale_of_the_net_takes_the_place_of_the_blocks_own():
    body = (Conv(1, 1, bias=False),)
    table = spec(Residual(body, scale=0.5, name="block"), Flatten())
    assert run(table, grid([2])).ravel().tolist() == [2 + 0.5 * 2]
    net = Defaults(norm=False, activation="linear", residual_scale=0.25)
    table = spec(Residual(body, scale=0.5, name="block"), Flatten(), defaults=net)
    assert run(table, grid([2])).ravel().tolist() == [2 + 0.25 * 2]


def test_identity_takes_every_second_px():
    body = (Conv(1, 1, 2, bias=False),)
    table = spec(Residual(body, stride=2, name="block"), Flatten())
    outputs = run(table, grid([1, 2, 3], [4, 5, 6], [7, 8, 9]), weights=0.0)
    assert outputs.ravel().tolist() == [1, 3, 7, 9]


@pytest.mark.parametrize(
    ("shortcut", "expected"),
    [("identity", -3 + 0), ((Conv(1, 1, bias=False, name="skip"),), 0 + 0)],
    ids=["identity", "weights"],
)
def test_a_shortcut_with_weights_begins_behind_the_entry(shortcut, expected):
    entry = (BatchNorm(name="preact"), Activate("relu", name="relu"))
    block = Residual((Conv(1, 1, bias=False),), shortcut, entry=entry, name="block")
    table = spec(block, Flatten())
    values = {"moving_mean": 0.0, "beta": 0.0}
    assert run(table, grid([-3]), **values).item() == expected
    names = {"toy/block/preact/gamma", "toy/block/conv_1/weights"}
    assert names < set(names_of(table)[0])


def test_residual_projects():
    body = (Conv(3, 1, bias=False),)
    table = spec(Residual(body, "projection", name="block"), Flatten())
    values = {"conv_1/weights": 2.0, "shortcut/weights": 10.0, "shortcut/biases": 0.5}
    assert run(table, grid([1]), **values).ravel().tolist() == [12.5] * 3


def test_global_pool_may_keep_its_axes():
    table = spec(GlobalPool(keep_dims=True, name="block"), Flatten())
    assert run(table, grid([1, 2], [3, 6])).tolist() == [[[[3]]]]


def test_global_pool_and_dense():
    table = spec(GlobalPool(), Dense(2, name="block"))
    assert run(table, grid([1, 2], [3, 6])).tolist() == [[4, 4]]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("relu", 0.0),
        ("relu6", 0.0),
        ("leaky_relu", -0.02),
        ("sigmoid", 0.268941),
        ("hard_sigmoid", 1 / 3),
        ("swish", -0.268941),
        ("hard_swish", -1 / 3),
        # By the normal distribution itself, not by the tanh that comes near it.
        ("gelu", -0.1586553),
        ("tanh", -0.761594),
        ("linear", -1.0),
    ],
)
def test_activate(kind, expected):
    outputs = run(spec(Activate(kind, name="block"), Flatten()), grid([-1]))
    assert outputs.item() == pytest.approx(expected, abs=1e-6)


def test_activations_that_end():
    for kind, expected in (("relu6", 6.0), ("hard_sigmoid", 1.0), ("hard_swish", 7.0)):
        outputs = run(spec(Activate(kind, name="block"), Flatten()), grid([7]))
        assert outputs.item() == pytest.approx(expected, abs=1e-6)


def test_the_local_server_allows_what_activations_need():
    kinds = [Activate(kind) for kind in get_args(Activation)]
    with tf.Graph().as_default() as graph:
        builder.build(spec(*kinds, Flatten()), tf.zeros([1, 4, 4, 1]), 2, False)
        needed = {operation.type for operation in graph.get_operations()}
    assert needed - ops.ALLOWED == set(), "see serving/local_server/operations.txt"


def test_factors_of_batch_norm_may_begin_at_zero():
    table = spec(
        Conv(2, 1, norm=True, gamma_init=0.0),
        Conv(2, 1, norm=True, bias=True, gamma_init=0.5),
        BatchNorm(0.25),
        Flatten(),
    )
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        builder.build(table, tf.zeros([1, 4, 4, 1]), 2, is_training=True)
        session.run(tf.compat.v1.global_variables_initializer())
        gammas = [v for v in tf.compat.v1.global_variables() if "gamma" in v.op.name]
        assert [value.tolist() for value in session.run(gammas)] == [
            [0, 0],
            [0.5, 0.5],
            [0.25, 0.25],
        ]


def test_batch_norm_alone():
    table = spec(BatchNorm(name="block"), Flatten(), size_px=1)
    outputs = run(table, np.array([1.0, 3.0]).reshape(2, 1, 1, 1), is_training=True)
    assert outputs.ravel().tolist() == pytest.approx([0.0, 2.0], abs=1e-4)


def test_dropout_in_training_only():
    images = np.ones((1, 40, 40, 1), np.float32)
    table = spec(Dropout(0.75, name="block"), Flatten())
    np.testing.assert_array_equal(run(table, images), images)
    outputs = run(table, images, is_training=True)
    assert sorted(set(outputs.ravel())) == pytest.approx([0.0, 1 / 0.75])
    assert 0.7 < (outputs > 0).mean() < 0.8


def test_spatial_dropout_takes_whole_maps():
    images = np.ones((50, 3, 3, 8), np.float32)
    table = spec(Dropout(0.5, spatial=True, name="block"), Flatten(), channels=8)
    maps = run(table, images, is_training=True).transpose(0, 3, 1, 2).reshape(400, 9)
    assert (maps == maps[:, :1]).all()
    assert 0.4 < (maps[:, 0] > 0).mean() < 0.6


# Defaults, and blocks that depart from them.


@pytest.mark.parametrize(
    ("norm", "bias", "expected"),
    [
        (True, None, {"weights", "BatchNorm/beta", "BatchNorm/gamma"}),
        (
            True,
            True,
            {"weights", "BiasAdd/biases", "BatchNorm/beta", "BatchNorm/gamma"},
        ),
        (False, None, {"weights", "biases"}),
        (False, False, {"weights"}),
    ],
)
@pytest.mark.parametrize("from_defaults", [True, False])
def test_norm_and_bias(norm, bias, expected, from_defaults):
    if from_defaults:
        table = spec(Conv(3, 1), Flatten(), defaults=Defaults(norm=norm, bias=bias))
    else:
        opposite = Defaults(norm=not norm)
        table = spec(Conv(3, 1, norm=norm, bias=bias), Flatten(), defaults=opposite)
    variables, _ = names_of(table)
    assert set(variables) == {f"toy/conv_1/{name}" for name in expected} | {
        "toy/logits/weights",
        "toy/logits/biases",
    }


def test_the_net_decides_activation_and_a_block_may_depart():
    images = grid([-2])
    relu = Defaults(norm=False, bias=False)
    values = {"conv_1/weights": 1.0}
    for activation, expected in ((None, 0.0), ("linear", -2.0)):
        table = spec(
            Conv(1, 1, activation=activation, name="block"), Flatten(), defaults=relu
        )
        assert run(table, images, **values).item() == expected


def test_logits_are_linear():
    table = spec(Flatten(), defaults=Defaults())
    outputs = run(table, grid([-50]), end_point="logits")
    assert outputs.tolist() == [[-49, -49]]


def test_weight_decay_is_on_weights_only():
    table = spec(
        Conv(2, 3),
        SeparableConv(2, 3),
        Residual((Conv(4, 3),), "projection"),
        Flatten(),
        Dense(3),
        defaults=Defaults(),
    )
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        builder.build(table, tf.zeros([2, 4, 4, 1]), 2, True, weight_decay=0.1)
        session.run(tf.compat.v1.global_variables_initializer())
        values = session.run({v.op.name: v for v in tf.compat.v1.global_variables()})
        loss = session.run(tf.compat.v1.losses.get_regularization_loss())
    weights = [value for name, value in values.items() if name.endswith("weights")]
    assert len(weights) == 7
    expected = 0.1 * 0.5 * sum((value**2).sum() for value in weights)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert names_of(table)[1] == []


@pytest.mark.parametrize("default", [True, False])
def test_a_block_may_depart_in_weight_decay(default):
    table = spec(
        Conv(2, 3, regularised=not default),
        Conv(2, 3),
        Flatten(),
        defaults=Defaults(norm=False, regularised=default),
        head=Logits(regularised=not default),
    )
    _, losses = names_of(table, weight_decay=0.1)
    regularised = {"/".join(loss.split("/")[:2]) for loss in losses}
    expected = {"toy/conv_2"} if default else {"toy/conv_1", "toy/logits"}
    assert regularised == expected
    assert names_of(table, weight_decay=0.0)[1] == []


@pytest.mark.parametrize(
    ("weight_init", "variance", "largest"),
    [
        (WeightInit("he_normal"), 2 / 200, None),
        (WeightInit("xavier_uniform"), 2 / (200 + 600), (6 / 800) ** 0.5),
        # Cut at two standard deviations, the variance shrinks by 0.774.
        (WeightInit("truncated_normal", 0.1), 0.01 * 0.774, 0.2),
        (WeightInit("fan_in_uniform"), 1 / 600, (1 / 200) ** 0.5),
        (WeightInit("dirac"), 1 / 600, (1 / 200) ** 0.5),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_weight_init(weight_init, variance, largest):
    table = spec(Flatten(), Dense(600, weight_init=weight_init), channels=200)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.set_random_seed(1)
        builder.build(table, tf.zeros([1, 1, 1, 200]), 2, is_training=True)
        session.run(tf.compat.v1.global_variables_initializer())
        weights = session.run(tf.compat.v1.trainable_variables()[0])
    assert weights.var() == pytest.approx(variance, rel=0.05)
    if largest:
        assert abs(weights).max() <= largest * 1.0001


@pytest.mark.parametrize(
    ("weight_init", "variance"),
    [
        # Cut at two standard deviations, the variance shrinks by 0.774.
        (WeightInit("he_normal"), 2 / 9 * 0.774),
        (WeightInit("xavier_uniform"), 1 / 9),
        (WeightInit("fan_in_uniform"), 1 / 27),
        (WeightInit("dirac"), 1 / 27),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_a_depthwise_filter_begins_as_one_of_few_inputs(weight_init, variance):
    table = spec(DepthwiseConv(3, weight_init=weight_init), Flatten(), channels=900)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.set_random_seed(1)
        builder.build(table, tf.zeros([1, 4, 4, 900]), 2, is_training=True)
        session.run(tf.compat.v1.global_variables_initializer())
        weights = session.run(tf.compat.v1.trainable_variables()[0])
    assert weights.var() == pytest.approx(variance, rel=0.05)


@pytest.mark.parametrize("filters", [2, 3, 5])
def test_dirac_filters_pass_channels_on(filters):
    table = spec(
        Conv(filters, 3, weight_init=DIRAC, name="block"), Flatten(), channels=3
    )
    images = np.random.default_rng(2).normal(size=(2, 4, 4, 3))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.set_random_seed(1)
        inputs = tf.constant(images, tf.float32)
        _, end_points = builder.build(table, inputs, 2, is_training=False)
        session.run(tf.compat.v1.global_variables_initializer())
        outputs = session.run(end_points["block"])
        weights = session.run(tf.compat.v1.trainable_variables()[0])
    passing = min(filters, 3)
    np.testing.assert_allclose(outputs[..., :passing], images[..., :passing], rtol=1e-6)
    others = weights[..., passing:]
    assert np.all(np.abs(others) <= (1 / 27) ** 0.5)
    assert others.size == 0 or others.std() > 0.05


def test_scale_is_a_factor_on_logits_without_bias():
    table = spec(
        Flatten(),
        Scale(0.25, name="block"),
        head=Logits(has_bias=False),
        size_px=1,
    )
    images = np.array([2.0]).reshape(1, 1, 1, 1)
    assert run(table, images).tolist() == [[0.5]]
    assert run(table, images, end_point="logits").tolist() == [[0.5, 0.5]]
    assert [row.description for row in geometry.layer_rows(table)][2] == "times 0.25"
    assert set(names_of(table)[0]) == {"toy/logits/weights"}


def test_norm_settings_reach_the_layer():
    defaults = Defaults(norm_decay=0.5, norm_epsilon=3.0, norm_scale=False)
    table = spec(Conv(1, 1, name="block"), Flatten(), defaults=defaults, size_px=1)
    outputs = run(table, grid([2]), beta=0.0, moving_mean=0.0)
    assert outputs.item() == pytest.approx(2 / (1 + 3) ** 0.5)
    variables, _ = names_of(table)
    assert "toy/block/BatchNorm/gamma" not in variables


# The contract.


def test_published_count_of_another_net():
    """LeNet-5 at 32 px, 61,706 parameters: flatten, dense, no padding."""
    table = spec(
        Conv(6, 5, padding="VALID"),
        Pool("avg", 2, 2),
        Conv(16, 5, padding="VALID"),
        Pool("avg", 2, 2),
        Flatten(),
        Dense(120),
        Dense(84),
        defaults=Defaults(norm=False, activation="sigmoid"),
        size_px=32,
    )
    assert builder.count_parameters(table, 10) == 61_706
    assert geometry.smallest_input_px(table) == 15
    assert builder.count_parameters(table, 10, image_size_px=15) < 61_706


@pytest.mark.parametrize("channels", [1, 3])
def test_resnet_20_at_8_px(channels):
    with tf.Graph().as_default():
        images = tf.compat.v1.placeholder(tf.float32, [None, 8, 8, channels])
        logits, end_points = builder.build(registry.find("resnet_20"), images, 2, True)
        assert logits.shape.as_list() == [None, 2]
        assert list(end_points)[-1] == "logits"
        assert end_points["logits"] is logits


def test_a_second_tower_shares_the_variables():
    table = spec(Conv(2, 3), Flatten(), defaults=Defaults())
    with tf.Graph().as_default():
        for reuse in (False, True):
            with tf.compat.v1.variable_scope(
                tf.compat.v1.get_variable_scope(), reuse=reuse
            ):
                builder.build(table, tf.zeros([2, 4, 4, 1]), 2, is_training=True)
        names = [v.op.name for v in tf.compat.v1.global_variables()]
        assert len(set(names)) == len(names) == 7


def test_nothing_is_left_behind_in_the_default_graph():
    before = len(tf.compat.v1.get_default_graph().get_operations())
    builder.count_parameters(spec(Conv(2, 3), Flatten()))
    assert len(tf.compat.v1.get_default_graph().get_operations()) == before
    assert tf.executing_eagerly()


@pytest.mark.parametrize("num_classes", [1, 0])
def test_refuses_fewer_than_two_classes(num_classes):
    with pytest.raises(errors.ConfigError, match="'toy' needs at least two") as info:
        builder.build(spec(Flatten()), tf.zeros([1, 4, 4, 1]), num_classes, False)
    assert info.value.found == f"num_classes={num_classes}"


def test_refuses_negative_weight_decay():
    with pytest.raises(errors.ConfigError, match="must not be negative"):
        builder.build(spec(Flatten()), tf.zeros([1, 4, 4, 1]), 2, True, -0.1)


def test_refuses_a_training_switch_in_the_graph():
    with tf.Graph().as_default(), pytest.raises(TypeError, match="Python bool"):
        builder.build(spec(Flatten()), tf.zeros([1, 4, 4, 1]), 2, tf.constant(True))


@pytest.mark.parametrize("shape", [[1, 4, 4], [1, None, 4, 1], [1, 4, 4, None]])
def test_refuses_unknown_shapes(shape):
    with tf.Graph().as_default():
        images = tf.compat.v1.placeholder(tf.float32, shape)
        with pytest.raises(ValueError, match="all but the batch static"):
            builder.build(spec(Flatten()), images, 2, is_training=True)
