import pytest
import tensorflow as tf

from trainer.nets import builder, geometry, registry
from trainer.nets.blocks import Conv, Residual


@pytest.mark.parametrize("name", ["resnet_20", "resnet_32", "resnet_56"])
def test_cifar_nets_have_as_many_layers_as_their_name_says(name):
    spec = registry.find(name)
    convolutions = [
        block
        for row in spec.blocks
        for block in (row.body if isinstance(row, Residual) else (row,))
        if isinstance(block, Conv)
    ]
    assert name == f"resnet_{len(convolutions) + 1}"
    shapes = {row.name: row.shape for row in geometry.layer_rows(spec)}
    assert shapes["group1/unit1"] == (32, 32, 16)
    assert shapes["group2/unit1"] == (16, 16, 32)
    assert shapes["group3/unit1"] == (8, 8, 64)
    assert shapes["pool"] == (64,)


def test_cifar_shortcuts_have_no_weights():
    with tf.Graph().as_default():
        spec = registry.find("resnet_20")
        builder.build(spec, tf.zeros([1, 32, 32, 3]), 10, is_training=True)
        names = [v.op.name for v in tf.compat.v1.trainable_variables()]
    assert not [name for name in names if "shortcut" in name]


@pytest.mark.parametrize(
    ("name", "deepest"), [("resnet_18", 512), ("resnet_34", 512), ("resnet_50", 2048)]
)
def test_imagenet_nets_have_the_rows_of_the_paper(name, deepest):
    spec = registry.find(name)
    bodies = [len(row.body) for row in spec.blocks if isinstance(row, Residual)]
    assert name == f"resnet_{sum(bodies) + 2}"
    shapes = {row.name: row.shape for row in geometry.layer_rows(spec)}
    assert shapes["conv1"] == (112, 112, 64)
    assert shapes["pool1"] == (56, 56, 64)
    for group, side_px in enumerate((56, 28, 14, 7), 1):
        channels = deepest // 8 * 2 ** (group - 1)
        assert shapes[f"group{group}/unit1"] == (side_px, side_px, channels)
    assert shapes["pool"] == (deepest,)


def test_a_projection_stands_where_the_shape_changes_only():
    projected = {
        name: [
            row.name
            for row in registry.find(name).blocks
            if isinstance(row, Residual) and row.shortcut == "projection"
        ]
        for name in ("resnet_34", "resnet_50")
    }
    assert projected["resnet_34"] == [f"group{group}/unit1" for group in (2, 3, 4)]
    assert projected["resnet_50"] == [f"group{group}/unit1" for group in (1, 2, 3, 4)]
