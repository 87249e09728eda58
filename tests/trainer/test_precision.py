import numpy as np
import pytest
import tensorflow as tf
import tf_slim as slim

from trainer import precision


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
    assert precision.resolve("auto", facts) == (chosen, reason)
    for wanted in ("float32", "bfloat16"):
        assert precision.resolve(wanted, facts) == (wanted, "as the setting asks")


def test_a_machine_that_says_nothing_computes_in_float32(tmp_path):
    assert precision.resolve("auto", tmp_path / "none")[0] == "float32"


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
