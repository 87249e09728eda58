"""Checkpoints of TensorFlow 1's Saver, both forms, with and without averages."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from common.errors import ConfigError
from trainer.weights import checkpoints, opening, tf_checkpoint

v1 = tf.compat.v1


def save(path: pathlib.Path, *, has_averages: bool, version: int) -> str:
    with tf.Graph().as_default(), v1.Session() as session:
        weights = v1.get_variable("net/fc/weights", initializer=tf.ones([2, 3]))
        biases = v1.get_variable("net/fc/biases", initializer=tf.zeros([3]))
        step = v1.train.get_or_create_global_step()
        loss = tf.reduce_sum(weights) + tf.reduce_sum(biases)
        update = v1.train.AdamOptimizer(0.1).minimize(loss, global_step=step)
        if has_averages:
            with tf.control_dependencies([update]):
                average = tf.train.ExponentialMovingAverage(0.5)
                update = average.apply([weights])
        session.run(v1.global_variables_initializer())
        session.run(update)
        form = {1: v1.train.SaverDef.V1, 2: v1.train.SaverDef.V2}[version]
        return v1.train.Saver(write_version=form).save(
            session, str(path), write_state=False
        )


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("has_averages", [False, True])
def test_reads_both_forms(tmp_path, version, has_averages) -> None:
    path = save(tmp_path / "model.ckpt", has_averages=has_averages, version=version)
    found, note = tf_checkpoint.read(pathlib.Path(path))
    assert found.keys() == {"net/fc/weights", "net/fc/biases"}
    assert note == (tf_checkpoint.AVERAGES_TAKEN if has_averages else "")
    # Adam's first step is the learning rate, 0.1; the average goes half of the way.
    np.testing.assert_allclose(found["net/fc/biases"], -0.1, rtol=1e-5)
    expected = 0.95 if has_averages else 0.9
    np.testing.assert_allclose(found["net/fc/weights"], expected, rtol=1e-5)


@pytest.mark.parametrize("form", ["prefix", "index", "folder", "data"])
def test_a_checkpoint_has_several_names(tmp_path, form) -> None:
    prefix = pathlib.Path(save(tmp_path / "a.ckpt", has_averages=False, version=2))
    path = {
        "prefix": prefix,
        "index": prefix.with_name("a.ckpt.index"),
        "folder": tmp_path,
        "data": prefix.with_name("a.ckpt.data-00000-of-00001"),
    }[form]
    if form == "data":
        with pytest.raises(ConfigError, match="not a file of weights"):
            opening.read(path)
        return
    opened = opening.read(path)
    assert opened.format == "tf_checkpoint"
    assert opened.tensors.keys() == {"net/fc/weights", "net/fc/biases"}
    files = [tmp_path / "a.ckpt.data-00000-of-00001", tmp_path / "a.ckpt.index"]
    assert opened.sha256 == opening.sha256(*files)


def test_a_v1_checkpoint_is_recognised(tmp_path) -> None:
    path = save(tmp_path / "inception_v2.ckpt", has_averages=False, version=1)
    assert not pathlib.Path(f"{path}.index").exists()
    assert opening.recognise(pathlib.Path(path)) == "tf_checkpoint"
    assert checkpoints.checkpoint_in(path) == path
    assert opening.read(pathlib.Path(path)).sha256 == opening.sha256(pathlib.Path(path))


def test_two_checkpoints_in_a_folder_are_named(tmp_path) -> None:
    for name in ("a.ckpt", "b.ckpt"):
        save(tmp_path / name, has_averages=False, version=2)
    with pytest.raises(ConfigError, match=r"folder holds a.ckpt, b.ckpt"):
        opening.read(tmp_path)


def test_an_empty_folder_is_a_sentence(tmp_path) -> None:
    with pytest.raises(ConfigError, match="holds no checkpoint"):
        opening.read(tmp_path)


def test_a_checkpoint_of_objects_is_a_sentence(tmp_path) -> None:
    path = tf.train.Checkpoint(w=tf.Variable([1.0])).write(str(tmp_path / "tf2"))
    with pytest.raises(ConfigError, match="checkpoint of objects"):
        opening.read(pathlib.Path(path))


def test_a_lost_part_is_a_sentence(tmp_path) -> None:
    path = save(tmp_path / "a.ckpt", has_averages=False, version=2)
    pathlib.Path(f"{path}.data-00000-of-00001").unlink()
    with pytest.raises(ConfigError, match="as a TensorFlow checkpoint"):
        opening.read(pathlib.Path(path))


@pytest.mark.parametrize("version", [1, 2])
def test_every_cut_is_a_sentence(tmp_path, version) -> None:
    path = pathlib.Path(save(tmp_path / "a.ckpt", has_averages=True, version=version))
    for file in checkpoints.files_of(path):
        content = file.read_bytes()
        for end in range(0, len(content), max(1, len(content) // 12)):
            file.write_bytes(content[:end])
            with pytest.raises(ConfigError):
                opening.read(path)
        file.write_bytes(content)
    assert opening.read(path).tensors
