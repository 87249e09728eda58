from dataclasses import replace

import tensorflow as tf

from trainer.config import ModelConfig
from trainer.nets import builder, geometry, inception_v2, registry, variants

# The table at 224 px, row by row.
SHAPES = {
    "images": (224, 224, 3),
    "layer1": (112, 112, 64),
    "layer2": (56, 56, 64),
    "layer3": (56, 56, 64),
    "layer4": (56, 56, 192),
    "layer5": (28, 28, 192),
    "3a": (28, 28, 256),
    "3b": (28, 28, 320),
    "3c": (14, 14, 576),
    "4a": (14, 14, 576),
    "4b": (14, 14, 576),
    "4c": (14, 14, 608),
    "4d": (14, 14, 608),
    "4e": (7, 7, 1056),
    "5a": (7, 7, 1024),
    "5b": (7, 7, 1024),
    "pool": (1024,),
    "dropout": (1024,),
    "logits": (10,),
}


def test_the_table_has_the_shapes_of_the_paper():
    rows = geometry.layer_rows(registry.find("inception_v2"))
    assert {row.name: row.shape for row in rows} == SHAPES


def test_the_last_module_pools_by_maximum_and_does_not_halve():
    blocks = {block.name: block for block in registry.find("inception_v2").blocks}
    pools = {
        name: blocks[name].branches[-1][0]
        for name in SHAPES
        if name[0].isdigit() and name[1:].isalpha()
    }
    assert {name for name, pool in pools.items() if pool.kind == "max"} == {
        "3c",
        "4e",
        "5b",
    }
    assert {name for name, pool in pools.items() if pool.stride == 2} == {"3c", "4e"}


def test_small_images_enter():
    spec = registry.find("inception_v2")
    assert geometry.smallest_input_px(spec) == 17
    assert geometry.layer_rows(spec, image_size_px=32)[-4].shape == (1, 1, 1024)


def test_the_faulty_3b_has_the_count_of_the_original():
    blocks = tuple(
        inception_v2.module("3b", 64, 64, 96, 64, 96, 64, 64)
        if block.name == "3b"
        else block
        for block in registry.find("inception_v2").blocks
    )
    spec = replace(registry.find("inception_v2"), blocks=blocks)
    assert builder.count_parameters(spec) == 10_203_554


def test_slim_form_has_its_own_widths_and_no_batch_norm_in_front():
    # Its logits are compared with tf-slim's in test_slim_peers.py.
    spec = registry.find("inception_v2_slim")
    rows = {row.name: row.shape for row in geometry.layer_rows(spec)}
    assert rows["4c"] == rows["4d"] == (14, 14, 576)
    assert rows["4e"] == (7, 7, 1024)
    with tf.Graph().as_default():
        builder.build(spec, tf.zeros([1, 32, 32, 3]), 10, is_training=False)
        names = {
            variable.op.name.removeprefix("inception_v2_slim/layer1/")
            for variable in tf.compat.v1.global_variables()
            if "/layer1/" in variable.op.name
        }
    assert names == {"depthwise_weights", "pointwise_weights", "biases"}


def test_without_batch_norm_each_convolution_has_a_bias():
    spec = variants.spec_of(ModelConfig(net="inception_v2", batch_norm=False))
    with tf.Graph().as_default():
        builder.build(spec, tf.zeros([1, 32, 32, 3]), 10, is_training=True)
        names = [v.op.name for v in tf.compat.v1.global_variables()]
        updates = tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.UPDATE_OPS)
    assert updates == []
    assert not [name for name in names if "BatchNorm" in name]
    # A bias where beta was: the trainable parameters are as many.
    assert builder.count_parameters(spec) == 10_253_762
