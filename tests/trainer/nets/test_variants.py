import numpy as np
import pytest
import tensorflow as tf

from common import errors
from trainer.config import ModelConfig
from trainer.nets import builder, registry, variants
from trainer.nets.blocks import Scale


def variables_of(spec, size_px):
    with tf.Graph().as_default():
        images = tf.zeros([2, size_px, size_px, spec.channels])
        builder.build(spec, images, 3, is_training=True)
        updates = tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.UPDATE_OPS)
        names = {v.op.name for v in tf.compat.v1.global_variables()}
        return names, len(updates)


@pytest.mark.parametrize("name", sorted(registry.NETS))
def test_without_switches_it_is_the_table_itself(name):
    assert variants.spec_of(ModelConfig(net=name)) == registry.find(name)


@pytest.mark.parametrize(
    "name", ["cnn_bn", "googlenet_bn", "mlp_bn", "resnet_20", "vgg_13_bn"]
)
def test_batch_norm_goes_wherever_it_stands(name):
    spec = variants.spec_of(ModelConfig(net=name, batch_norm=False))
    names, updates = variables_of(spec, 17)
    assert updates == 0
    assert not [name for name in names if "norm" in name.lower().split("/", 1)[1]]
    layers = {name.rsplit("/", 1)[0] for name in names}
    assert {f"{layer}/biases" for layer in layers} <= names


def test_batch_norm_goes_from_inside_residual_units():
    spec = variants.spec_of(ModelConfig(net="resnet_50", batch_norm=False))
    names, updates = variables_of(spec, 17)
    assert updates == 0
    assert "resnet_50/group1/unit1/shortcut/biases" in names
    assert "resnet_50/group1/unit1/conv_2/biases" in names


def test_a_bias_left_out_for_another_reason_stays_out():
    spec = variants.spec_of(ModelConfig(net="hw_net", batch_norm=False))
    names, updates = variables_of(spec, 17)
    assert updates == 0
    assert "hw_net/inception2/branch_2/conv_1/weights" in names
    assert "hw_net/inception2/branch_2/conv_1/biases" not in names


def test_residual_scale():
    net = "inception_resnet_v1"
    own = variants.spec_of(ModelConfig(net=net))
    assert own.defaults.residual_scale == 0.2
    given = variants.spec_of(ModelConfig(net=net, residual_scale=0.1))
    assert given.defaults.residual_scale == 0.1
    assert given.blocks == own.blocks


def test_activation_and_start_of_weights():
    own = variants.spec_of(ModelConfig(net="airbench94"))
    given = variants.spec_of(
        ModelConfig(net="airbench94", activation="relu", weight_init="he_normal")
    )
    assert (own.defaults.activation, own.defaults.weight_init.kind) == ("gelu", "dirac")
    assert given.defaults.activation == "relu"
    assert given.defaults.weight_init.kind == "he_normal"
    assert given.blocks == own.blocks
    with tf.Graph().as_default() as graph:
        builder.build(given, tf.zeros([1, 32, 32, 3]), 2, is_training=True)
        kinds = {operation.type for operation in graph.get_operations()}
    assert "Relu" in kinds
    assert "Erf" not in kinds


def test_one_factor_on_the_logits():
    for net in ("airbench94", "resnet_20"):
        own = variants.spec_of(ModelConfig(net=net))
        given = variants.spec_of(ModelConfig(net=net, logits_scale=0.5))
        scales = [block for block in given.blocks if isinstance(block, Scale)]
        assert [scale.factor for scale in scales] == [0.5]
        assert isinstance(given.blocks[-1], Scale)
        others = [block for block in given.blocks if not isinstance(block, Scale)]
        assert others == [block for block in own.blocks if not isinstance(block, Scale)]


def test_a_checkpoint_fits_both_kinds_of_convolution(tmp_path):
    images = np.random.default_rng(0).normal(size=(2, 20, 20, 3)).astype(np.float32)
    logits = []
    for conv_impl in ("conv2d", "im2col"):
        spec = variants.spec_of(ModelConfig(net="hw_net", conv_impl=conv_impl))
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            tf.compat.v1.set_random_seed(1)
            outputs, _ = builder.build(spec, tf.constant(images), 3, is_training=False)
            saver = tf.compat.v1.train.Saver()
            path = str(tmp_path / "model.ckpt")
            if conv_impl == "conv2d":
                session.run(tf.compat.v1.global_variables_initializer())
                saver.save(session, path)
            saver.restore(session, path)
            logits.append(session.run(outputs))
    assert np.ptp(logits[0]) > 0.01
    np.testing.assert_allclose(*logits, rtol=1e-4, atol=1e-4)


def test_unknown_net():
    with pytest.raises(errors.ConfigError, match="unknown net 'resnet_21'") as info:
        variants.spec_of(ModelConfig(net="resnet_21"))
    assert info.value.tip == "did you mean 'resnet_20'?"
