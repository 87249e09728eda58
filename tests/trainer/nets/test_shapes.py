"""Rows of the references' own tables; each family's paper prints them."""

import pytest

from trainer.nets import geometry, registry

SHAPES = {
    "alexnet": {
        "conv1": (55, 55, 96),
        "pool1": (27, 27, 96),
        "conv2": (27, 27, 256),
        "pool2": (13, 13, 256),
        "conv5": (13, 13, 256),
        "pool5": (6, 6, 256),
        "flatten": (9216,),
    },
    "cnn_all_tricks": {
        "conv4": (28, 28, 512),
        "concat5": (14, 14, 1024),
        "concat6": (7, 7, 1024),
        "pool": (1024,),
    },
    "cnn_sigmoid": {
        "conv1": (224, 224, 64),
        "conv6": (7, 7, 1024),
        "flatten": (50176,),
        "fc1": (1024,),
    },
    "googlenet": {
        "conv1": (112, 112, 64),
        "pool1": (56, 56, 64),
        "conv2": (56, 56, 192),
        "pool2": (28, 28, 192),
        "3a": (28, 28, 256),
        "3b": (28, 28, 480),
        "pool3": (14, 14, 480),
        "4a": (14, 14, 512),
        "4b": (14, 14, 512),
        "4c": (14, 14, 512),
        "4d": (14, 14, 528),
        "4e": (14, 14, 832),
        "pool4": (7, 7, 832),
        "5a": (7, 7, 832),
        "5b": (7, 7, 1024),
        "pool5": (1024,),
    },
    "hw_net": {
        "conv_stack1/conv1": (100, 100, 64),
        "conv_stack1/conv2": (50, 50, 128),
        "pool1": (25, 25, 128),
        "inception2": (25, 25, 320),
        "pool2": (13, 13, 320),
        "inception3": (13, 13, 192),
        "pool3": (7, 7, 192),
        "flatten": (9408,),
        "dense1": (256,),
    },
    "inception_resnet_v1": {
        "stem/conv6": (35, 35, 256),
        "a5": (35, 35, 256),
        "reduction_a": (17, 17, 896),
        "b10": (17, 17, 896),
        "reduction_b": (8, 8, 1792),
        "c5": (8, 8, 1792),
        "pool": (1792,),
    },
    "inception_resnet_v2": {
        "stem/mixed3": (35, 35, 384),
        "a5": (35, 35, 384),
        "reduction_a": (17, 17, 1152),
        "b10": (17, 17, 1152),
        "reduction_b": (8, 8, 2144),
        "c5": (8, 8, 2144),
        "pool": (2144,),
    },
    "inception_v4": {
        "stem/conv1": (149, 149, 32),
        "stem/conv3": (147, 147, 64),
        "stem/mixed1": (73, 73, 160),
        "stem/mixed2": (71, 71, 192),
        "stem/mixed3": (35, 35, 384),
        "a4": (35, 35, 384),
        "reduction_a": (17, 17, 1024),
        "b7": (17, 17, 1024),
        "reduction_b": (8, 8, 1536),
        "c3": (8, 8, 1536),
        "pool": (1536,),
    },
    "lenet": {"conv3": (50, 50, 120), "flatten": (300_000,), "fc4": (84,)},
    "lenet_5": {
        "c1": (28, 28, 6),
        "s2": (14, 14, 6),
        "c3": (10, 10, 16),
        "s4": (5, 5, 16),
        "c5": (1, 1, 120),
        "f6": (84,),
    },
    "mlp_bn": {"flatten": (784,), "fc3": (100,)},
    "vgg_16": {
        "conv2": (224, 224, 64),
        "pool1": (112, 112, 64),
        "pool2": (56, 56, 128),
        "pool3": (28, 28, 256),
        "pool4": (14, 14, 512),
        "pool5": (7, 7, 512),
        "flatten": (25_088,),
        "fc7": (4096,),
    },
}


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_rows_of_the_reference(name):
    shapes = {row.name: row.shape for row in geometry.layer_rows(registry.find(name))}
    assert {row: shapes[row] for row in SHAPES[name]} == SHAPES[name]


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("alexnet", 1_131),
        ("googlenet", 1_582),
        ("resnet_18", 1_814),
        ("resnet_34", 3_664),
        ("resnet_50", 4_089),
        ("vgg_16", 15_466),
    ],
)
def test_multiply_adds(name, millions):
    """At 224 px; a head of other classes than the reference's changes less than this shows."""
    rows = geometry.layer_rows(registry.find(name))
    assert round(sum(row.cost.multiply_adds for row in rows) / 1e6) == millions


def test_vgg_has_as_many_layers_with_weights_as_its_name_says():
    for name in ("vgg_13", "vgg_16", "vgg_19"):
        rows = geometry.layer_rows(registry.find(name))
        assert name == f"vgg_{sum(row.cost.parameters > 0 for row in rows)}"


def test_batch_norm_stands_where_the_system_puts_it():
    def before_norms(name):
        rows = [row.name for row in geometry.layer_rows(registry.find(name))]
        return [rows[place - 1] for place, row in enumerate(rows) if "norm" in row]

    assert before_norms("vgg_13_bn") == ["conv4", "conv9"]
    assert before_norms("googlenet_bn") == ["pool1", "pool3", "pool5"]
    assert before_norms("cnn_bn") == [f"conv{place}" for place in range(1, 7)]


def test_inception_v4_cannot_take_mnist():
    """The size that its system failed with, and the one at which it worked."""
    spec = registry.find("inception_v4")
    assert 28 < geometry.smallest_input_px(spec) == 75
    assert geometry.layer_rows(spec, image_size_px=299, channels=1)[-1].shape == (10,)
