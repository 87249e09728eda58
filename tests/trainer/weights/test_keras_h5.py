"""Files that Keras 3 and tf_keras wrote, each in a process that has only that one."""

import json
import pathlib
import subprocess
import sys

import h5py
import numpy as np
import pytest

from common.errors import ConfigError
from trainer.weights import keras_h5

# A net with every kind of layer that is read, saved in all forms that Keras offers.
WRITE = """
import json, sys
import numpy as np
keras = __import__(sys.argv[1])
layers, folder = keras.layers, sys.argv[2]
inputs = keras.Input((8, 8, 3))
x = layers.Conv2D(4, 3, use_bias=False, name="stem")(inputs)
x = layers.BatchNormalization(scale=False, name="stem_bn")(x)
x = layers.DepthwiseConv2D(3, name="deep")(x)
x = layers.BatchNormalization(name="deep_bn")(x)
x = layers.SeparableConv2D(6, 3, name="apart")(x)
x = layers.GlobalAveragePooling2D()(x)
x = layers.Dense(5, name="predictions")(x)
model = keras.Model(inputs, x)
random = np.random.default_rng(0)
model.set_weights([random.normal(size=w.shape) for w in model.get_weights()])
model.compile("adam", "mse")
model.optimizer.build(model.trainable_variables)
model.save(f"{folder}/full.h5")
model.save_weights(f"{folder}/new.weights.h5")
if sys.argv[1] == "tf_keras":
    model.save_weights(f"{folder}/old.h5")
values = {l.name: [w.tolist() for w in l.get_weights()] for l in model.layers}
json.dump(values, open(f"{folder}/values.json", "w"))
"""
KINDS = {
    "stem": ("kernel",),
    "stem_bn": ("beta", "moving_mean", "moving_variance"),
    "deep": ("depthwise_kernel", "bias"),
    "deep_bn": ("gamma", "beta", "moving_mean", "moving_variance"),
    "apart": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "predictions": ("kernel", "bias"),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Folder of files and the expected tensors, by the package that wrote them."""
    found = {}
    for package in ("keras", "tf_keras"):
        folder = tmp_path_factory.mktemp(package)
        subprocess.run(
            [sys.executable, "-c", WRITE, package, str(folder)],
            check=True,
            capture_output=True,
        )
        values = json.loads((folder / "values.json").read_text())
        found[package] = (
            folder,
            {
                f"{layer}/{kind}": np.array(value, np.float32)
                for layer, kinds in KINDS.items()
                for kind, value in zip(kinds, values[layer], strict=True)
            },
        )
    return found


@pytest.mark.parametrize(
    ("package", "file"),
    [
        ("keras", "full.h5"),
        ("keras", "new.weights.h5"),
        ("tf_keras", "full.h5"),
        ("tf_keras", "old.h5"),
    ],
)
def test_reads_what_keras_writes(written, package, file) -> None:
    folder, expected = written[package]
    found = keras_h5.read(folder / file)
    if package == "keras" and file == "full.h5":
        # Keras 3 calls that kernel as any other there.
        found["deep/depthwise_kernel"] = found.pop("deep/kernel")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_weights_without_names_of_layers_are_a_sentence(written) -> None:
    folder, _ = written["tf_keras"]
    with pytest.raises(ConfigError, match="does not say which layers") as info:
        keras_h5.read(folder / "new.weights.h5")
    assert "'.h5'" in info.value.message


def test_the_old_form_with_names_of_fixed_length(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "vgg16_weights_tf_dim_ordering_tf_kernels.h5"
    kernel = np.arange(54, dtype=np.float32).reshape(3, 3, 3, 2)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"input_1", b"block1_conv1"]
        file.create_group("input_1").attrs["weight_names"] = []
        group = file.create_group("block1_conv1")
        names = [b"block1_conv1_W_1:0", b"block1_conv1_b_1:0"]
        group.attrs["weight_names"] = names
        group[names[0]] = kernel
        group[names[1]] = np.ones(2, np.float32)
    found = keras_h5.read(path)
    assert found.keys() == {"block1_conv1/kernel", "block1_conv1/bias"}
    np.testing.assert_array_equal(found["block1_conv1/kernel"], kernel)


def test_big_endian_and_half_precision(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "net.h5"
    values = np.linspace(-1, 1, 7)
    with h5py.File(path, "w") as file:
        file["a/a/kernel:0"] = values.astype(">f4")
        file["b/b/kernel:0"] = values.astype("<f2")
    found = keras_h5.read(path)
    np.testing.assert_array_equal(found["a/kernel"], values.astype(np.float32))
    np.testing.assert_array_equal(found["b/kernel"], values.astype(np.float16))
