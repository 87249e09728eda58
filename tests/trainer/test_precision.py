import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_slim as slim
from sklearn import datasets
from tensorflow.core.protobuf import rewriter_config_pb2

from common.errors import ConfigError
from pipeline import experiments
from trainer import precision, training
from trainer.input_pipeline import Split
from trainer.nets import geometry, registry


@pytest.mark.parametrize(
    ("flags", "chosen", "reason"),
    [
        ("fpu avx512_bf16 amx_bf16", "bfloat16", "this processor has amx_bf16"),
        ("fpu avx512_bf16", "bfloat16", "this processor has avx512_bf16"),
        ("fpu avx2", "float32", "this processor has no bfloat16 products"),
    ],
)
def test_auto_looks_at_the_processor(tmp_path, flags, chosen, reason):
    facts = tmp_path / "cpuinfo"
    facts.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: amx_bf16\n")
    assert precision.resolve("auto", (), facts) == (chosen, reason)
    for wanted in ("float32", "bfloat16"):
        assert precision.resolve(wanted, (), facts) == (wanted, "as the setting asks")


@pytest.mark.parametrize(
    ("limit", "chosen"),
    [
        ("AVX2", "float32"),
        ("avx512_core_vnni", "float32"),
        ("AVX512_CORE_BF16", "bfloat16"),
        ("avx512_core_amx", "bfloat16"),
        ("DEFAULT", "bfloat16"),
        ("", "bfloat16"),
    ],
)
def test_auto_knows_how_far_onednn_may_go(tmp_path, monkeypatch, limit, chosen):
    facts = tmp_path / "cpuinfo"
    facts.write_text("flags: amx_bf16\n")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    found, reason = precision.resolve("auto", (), facts)
    assert found == chosen
    assert (f"ONEDNN_MAX_CPU_ISA={limit}" in reason) == (chosen == "float32")


def test_nets_of_depthwise_convolutions_compute_in_float32(tmp_path):
    facts = tmp_path / "cpuinfo"
    facts.write_text("flags: amx_bf16\n")
    shares = {
        name: geometry.depthwise_share(registry.find(name))
        for name in ("efficientnet_lite0", "efficientnet_b0", "inception_v2")
    }
    assert shares["efficientnet_lite0"] == pytest.approx(16 / (16 + 15 + 16 + 2))
    chosen = {
        name: precision.resolve("auto", (), facts, depthwise_share=share)[0]
        for name, share in shares.items()
    }
    assert chosen == {
        "efficientnet_lite0": "float32",
        "efficientnet_b0": "float32",
        "inception_v2": "bfloat16",
    }


def test_a_machine_that_says_nothing_computes_in_float32(tmp_path):
    assert precision.resolve("auto", (), tmp_path / "none")[0] == "float32"


@pytest.mark.parametrize(
    ("capabilities", "chosen"),
    [([(8, 0)], "float16"), ([(7, 0), (6, 1)], "float32"), ([None], "float32")],
)
def test_auto_looks_at_the_gpus(capabilities, chosen):
    gpus = [{"compute_capability": one} if one else {} for one in capabilities]
    assert precision.resolve("auto", gpus)[0] == chosen


@pytest.mark.parametrize(
    ("begun", "gpus"), [("float32", [{}]), ("float16", [{}]), ("bfloat16", [])]
)
def test_auto_goes_on_as_a_training_was_begun(begun, gpus):
    chosen, reason = precision.resolve("auto", gpus, begun=begun)
    assert chosen == begun
    assert reason == "an unfinished training of these settings was begun in it"


@pytest.mark.parametrize(("begun", "gpus"), [("float16", []), ("bfloat16", [{}])])
def test_a_training_that_cannot_go_on_here_stops(begun, gpus):
    with pytest.raises(
        ConfigError, match=f"begun in {begun}, which this machine lacks"
    ):
        precision.resolve("auto", gpus, begun=begun)


def test_a_setting_is_left_as_it_is():
    config = experiments.digits_resnet_20().trainer
    train = dataclasses.replace(config.train, precision="float32")
    config = dataclasses.replace(config, train=train)
    assert precision.decide(config, begun="bfloat16") == config


@pytest.mark.parametrize(
    ("wanted", "gpus", "tip"),
    [
        ("float16", [], "--set train.precision=auto"),
        ("bfloat16", [{}], "--set train.precision=float16"),
    ],
)
def test_a_format_that_the_device_has_not_is_a_sentence(wanted, gpus, tip):
    with pytest.raises(ConfigError, match=f"is {wanted}, which is for") as info:
        precision.resolve(wanted, gpus)
    assert info.value.tip == tip


def test_float16_is_the_pass_for_cuda():
    rewrites = precision.session_config("float16").graph_options.rewrite_options
    assert rewrites.auto_mixed_precision == rewriter_config_pb2.RewriterConfig.ON


def test_bfloat16_computes_products_coarsely_and_keeps_variables():
    images = np.random.default_rng(0).normal(size=(4, 16, 16, 8)).astype(np.float32)
    outputs = {}
    for name in ("float32", "bfloat16"):
        config = precision.session_config(name)
        with tf.Graph().as_default(), tf.compat.v1.Session(config=config) as session:
            tf.compat.v1.set_random_seed(1)
            images_in = tf.compat.v1.placeholder(tf.float32, images.shape)
            result = slim.conv2d(images_in, 16, 3)
            assert {v.dtype.base_dtype for v in slim.get_model_variables()} == {
                tf.float32
            }
            session.run(tf.compat.v1.global_variables_initializer())
            outputs[name] = session.run(result, {images_in: images})
    difference = np.abs(outputs["float32"] - outputs["bfloat16"]).max()
    # bfloat16 keeps 8 bits of a number.
    assert 1e-4 < difference < 0.1


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.skipif(
    precision.resolve("auto")[0] != "bfloat16", reason="no products of bfloat16 here"
)
@pytest.mark.parametrize("has_fast_tools", [False, True])
def test_bfloat16_costs_no_accuracy(tmp_path, has_fast_tools):
    """Within half a point of float32 on the images left out, over three seeds."""
    images, labels = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    parts = np.split(order, [1347])
    images = images.reshape(-1, 8, 8, 1).astype(np.float32)
    images = (images - images[parts[0]].mean()) / images[parts[0]].std()
    splits = [Split((), None, labels[part].astype(int), images[part]) for part in parts]
    config = experiments.digits_resnet_20().trainer
    if has_fast_tools:
        config = _with_fast_tools(config)
    top_1 = {"float32": [], "bfloat16": []}
    for seed in range(3):
        for name, values in top_1.items():
            train = dataclasses.replace(
                config.train, precision=name, seed=seed, epochs=12, eval_every_epochs=12
            )
            result = training.train(
                dataclasses.replace(config, train=train),
                *splits,
                10,
                tmp_path / f"{name}_{seed}",
            )
            values.append(result.best.top_1)
    assert min(top_1["float32"]) > 0.97
    assert abs(np.mean(top_1["float32"]) - np.mean(top_1["bfloat16"])) <= 0.005


def _with_fast_tools(config):
    """The default experiment with what makes `cifar10_fast` quick."""
    return dataclasses.replace(
        config,
        model=dataclasses.replace(
            config.model, activation="gelu", weight_init="dirac", whitening=True
        ),
        train=dataclasses.replace(
            config.train,
            optimizer="muon",
            learning_rate=0.05,
            muon_momentum=0.6,
            momentum=0.85,
            norm_rate_factor=20.0,
            label_smoothing=0.2,
            lookahead_steps=5,
            accumulate_steps=2,
        ),
    )
