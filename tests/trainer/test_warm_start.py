"""A training that begins with the weights of another, whole or in part."""

import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tf_slim as slim

from common.errors import ConfigError
from trainer import graphs, warm_start
from trainer.config import (
    ModelConfig,
    PreprocessingConfig,
    TrainConfig,
    TrainerConfig,
)
from trainer.weights import checkpoints

pytestmark = pytest.mark.usefixtures("small_net")

v1 = tf.compat.v1

CONFIG = TrainerConfig(
    PreprocessingConfig(resize_px=8, crop_px=8, channels=1),
    ModelConfig(net="resnet_8"),
    TrainConfig(batch_size=4, ema_decay=0.9, learning_rate=0.1, optimizer="adamw"),
)
IMAGES = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype(np.float32)


def with_train(**changes):
    return dataclasses.replace(
        CONFIG, train=dataclasses.replace(CONFIG.train, **changes)
    )


def values_of(config, *, classes=2, seed=1, updates=0, save_to=None):
    """All variables by name after some updates on one batch, and the update targets."""
    with tf.Graph().as_default() as graph, v1.Session() as session:
        v1.set_random_seed(seed)
        labels = tf.constant([0, 1, 0, 1], tf.int64)
        training = graphs.build_training(tf.constant(IMAGES), labels, classes, config)
        session.run(v1.global_variables_initializer())
        for _ in range(updates):
            session.run(training.train_op)
        if save_to:
            v1.train.Saver(slim.get_model_variables()).save(session, save_to)
        updates_of_norm = graph.get_collection(v1.GraphKeys.UPDATE_OPS)
        model = {v.op.name for v in slim.get_model_variables()}
        values = session.run({v.op.name: v for v in v1.global_variables()})
        return values, model, len(updates_of_norm)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Checkpoint and values of a short training."""
    path = str(tmp_path_factory.mktemp("source") / "model.ckpt-3")
    values, model, _ = values_of(CONFIG, updates=3, save_to=path)
    return path, {name: values[name] for name in model}


def test_all_variables_and_their_averages_begin_with_those_of_the_checkpoint(source):
    path, expected = source
    values, model, _ = values_of(with_train(weights=path), seed=99)
    for name in model:
        np.testing.assert_array_equal(values[name], expected[name], err_msg=name)
        average = values[f"{name}/ExponentialMovingAverage"]
        np.testing.assert_array_equal(average, expected[name], err_msg=name)


def test_excluded_rows_begin_anew(source):
    path, expected = source
    config = with_train(weights=path, weights_exclude=("logits", "group3"))
    fresh, model, _ = values_of(CONFIG, seed=99)
    values, _, _ = values_of(config, seed=99)
    for name in model:
        _, row, *_ = name.split("/")
        is_new = row in ("logits", "group3")
        wanted = fresh if is_new else expected
        np.testing.assert_array_equal(values[name], wanted[name], err_msg=name)


def test_another_number_of_classes_needs_a_word(source, caplog):
    path, expected = source
    with pytest.raises(ConfigError, match="for another number of classes") as info:
        values_of(with_train(weights=path), classes=5)
    assert (info.value.found, info.value.expected) == ("2 classes", "5")
    assert "weights_exclude=[logits]" in info.value.tip
    config = with_train(weights=path, weights_exclude=("logits",))
    with caplog.at_level("INFO", "slimline.train"):
        values, model, _ = values_of(config, classes=5)
    assert values["resnet_8/logits/weights"].shape == (64, 5)
    name = "resnet_8/group3/unit1/conv_2/weights"
    np.testing.assert_array_equal(values[name], expected[name])
    sentence = f"restored {len(model) - 2} of {len(model)} variables from {path}"
    assert sentence in caplog.text
    assert "initialised from scratch: resnet_8/logits/" in caplog.text


@pytest.fixture
def two_biases(tmp_path):
    """A checkpoint of other names, in which a single variable fits by chance."""
    path = str(tmp_path / "other.ckpt")
    with tf.Graph().as_default(), v1.Session() as session:
        v1.get_variable("resnet_8/logits/biases", initializer=tf.fill([2], 7.0))
        v1.get_variable("resnet_v1_20/conv1/weights", initializer=tf.zeros([3, 3]))
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, path)
    return path


def test_a_chance_fit_is_a_sentence(two_biases):
    with pytest.raises(ConfigError, match=r"fit 1 of the \d+ variables") as info:
        values_of(with_train(weights=two_biases))
    assert "resnet_8/conv1/weights (missing)" in info.value.found
    assert "train.weights_partial=true" in info.value.tip


def test_a_part_is_restored_where_that_is_asked_for(two_biases, caplog):
    config = with_train(weights=two_biases, weights_partial=True)
    with caplog.at_level("INFO", "slimline.train"):
        values, model, _ = values_of(config)
    np.testing.assert_array_equal(values["resnet_8/logits/biases"], [7.0, 7.0])
    assert f"restored 1 of {len(model)} variables" in caplog.text


def test_shapes_are_compared_before_a_run(source):
    path, _ = source
    config = with_train(weights=path)
    warm_start.check(config)
    warm_start.check(config, 2)
    with pytest.raises(ConfigError, match="another number of classes"):
        warm_start.check(config, 3)
    model = ModelConfig(net="resnet_8", batch_norm=False)
    with pytest.raises(ConfigError, match="variables to restore") as info:
        warm_start.check(dataclasses.replace(config, model=model))
    assert "resnet_8/conv1/biases (missing)" in info.value.found
    size = PreprocessingConfig(resize_px=8, crop_px=8, channels=3)
    with pytest.raises(ConfigError) as info:
        warm_start.check(dataclasses.replace(config, preprocessing=size))
    assert "has shape [3, 3, 1, 16], not [3, 3, 3, 16]" in info.value.found


@pytest.mark.parametrize("version", [1, 2])
def test_the_index_and_v1_checkpoints_are_sources_too(tmp_path, version):
    path = str(tmp_path / "model.ckpt")
    with tf.Graph().as_default(), v1.Session() as session:
        graphs.build_inference(tf.constant(IMAGES), 2, CONFIG)
        variables = slim.get_model_variables()
        session.run(v1.global_variables_initializer())
        session.run([variable.assign_add(variable + 3.0) for variable in variables])
        expected = session.run({v.op.name: v for v in variables})
        form = {1: v1.train.SaverDef.V1, 2: v1.train.SaverDef.V2}[version]
        v1.train.Saver(variables, write_version=form).save(session, path)
    given = path if version == 1 else f"{path}.index"
    values, model, _ = values_of(with_train(weights=given))
    assert model == expected.keys()
    for name in model:
        np.testing.assert_array_equal(values[name], expected[name], err_msg=name)


def test_a_damaged_checkpoint_is_a_sentence(source, tmp_path):
    path = tmp_path / "model.ckpt.index"
    content = pathlib.Path(f"{source[0]}.index").read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(ConfigError, match="as a TensorFlow checkpoint"):
        warm_start.check(with_train(weights=str(path)))


def test_frozen_rows_stand_still(source):
    path, expected = source
    config = with_train(
        weights=path, freeze=("conv1", "group1", "group2"), weight_decay=0.1
    )
    _, _, all_updates = values_of(CONFIG)
    values, model, updates = values_of(config, updates=2)
    assert 0 < updates < all_updates
    for name in model:
        _, row, *_ = name.split("/")
        is_same = np.array_equal(values[name], expected[name])
        assert is_same == (row in ("conv1", "group1", "group2")), name


def test_a_saved_model_is_a_source_too(source, tmp_path):
    path, expected = source
    folder = tmp_path / "17" / "variables"
    folder.mkdir(parents=True)
    for ending in (".index", ".data-00000-of-00001"):
        with open(path + ending, "rb") as file:  # noqa: PTH123
            (folder / f"variables{ending}").write_bytes(file.read())
    values, _, _ = values_of(with_train(weights=str(tmp_path / "17")), seed=99)
    name = "resnet_8/conv1/weights"
    np.testing.assert_array_equal(values[name], expected[name])


def test_weights_of_another_net_are_a_sentence(source):
    config = dataclasses.replace(
        with_train(weights=source[0]), model=ModelConfig(net="mlp_bn")
    )
    with pytest.raises(ConfigError, match="those of another net") as info:
        values_of(config)
    assert info.value.found == "resnet_8"
    assert info.value.expected == "mlp_bn"


def test_no_weights_are_a_sentence(tmp_path):
    with pytest.raises(ConfigError, match="no weights in"):
        checkpoints.checkpoint_in(str(tmp_path / "nothing"))


def test_an_unknown_row_names_the_nearest():
    with pytest.raises(ConfigError, match="'resnet_8' has no row 'group_1'") as info:
        values_of(with_train(freeze=("group_1",)))
    assert info.value.tip.startswith("did you mean 'group1'?")


def test_everything_frozen_is_a_sentence():
    everything = ("conv1", "group1", "group2", "group3", "logits")
    with pytest.raises(ConfigError, match="leaves nothing to train"):
        values_of(with_train(freeze=everything))
