"""A training for other classes keeps the rows of those that stay, by name."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
import pytest
import tensorflow as tf
import tf_slim as slim

from common.errors import ConfigError
from trainer import checkpoints, class_rows, graphs, transfer, warm_start
from trainer.config import (
    ModelConfig,
    PreprocessingConfig,
    TrainConfig,
    TrainerConfig,
)

v1 = tf.compat.v1

CONFIG = TrainerConfig(
    PreprocessingConfig(resize_px=8, crop_px=8, channels=1),
    ModelConfig(net="mlp_bn"),
    TrainConfig(batch_size=4),
)
BEFORE = ("cow", "bee", "dog")
WEIGHTS, BIASES = "mlp_bn/logits/weights", "mlp_bn/logits/biases"


@pytest.fixture
def pushed(tmp_path: pathlib.Path) -> pathlib.Path:
    """A version's folder with the checkpoint and the class names of a trained net."""
    folder = tmp_path / "17"
    (folder / "variables").mkdir(parents=True)
    (folder / "assets").mkdir()
    (folder / "assets" / "labels.txt").write_text("".join(f"{n}\n" for n in BEFORE))
    with tf.Graph().as_default(), v1.Session() as session:
        graphs.build_inference(tf.zeros([1, 8, 8, 1]), len(BEFORE), CONFIG)
        session.run(v1.global_variables_initializer())
        for variable in slim.get_model_variables():
            variable.load(np.random.default_rng(0).normal(size=variable.shape), session)
        saver = v1.train.Saver(slim.get_model_variables())
        saver.save(session, str(folder / "variables" / "variables"))
    return folder


def with_weights(folder: pathlib.Path, **changes: object) -> TrainerConfig:
    train = dataclasses.replace(CONFIG.train, weights=str(folder), **changes)
    return dataclasses.replace(CONFIG, train=train)


def initial_values(config: TrainerConfig, labels: Sequence[str], run_dir: pathlib.Path):
    """Values of the net with which a training for `labels` starts."""
    run_dir.mkdir()
    start = transfer.start_of(config.train, labels, run_dir)
    with tf.Graph().as_default(), v1.Session() as session:
        graphs.build_training(
            tf.zeros([4, 8, 8, 1]),
            tf.zeros([4], tf.int64),
            len(labels),
            config,
            start=start,
        )
        session.run(v1.global_variables_initializer())
        return session.run({v.op.name: v for v in slim.get_model_variables()})


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (
            ("ant", "bee", "cow", "dog"),
            "kept 3 of 3 class rows by name; initialised from scratch: ant",
        ),
        # As many classes as before, so that shapes tell nothing.
        (
            ("ant", "bee", "cow"),
            "kept 2 of 3 class rows by name; initialised from scratch: ant; dropped: dog",
        ),
        (("bee", "dog"), "kept 2 of 3 class rows by name; dropped: cow"),
        (("bee", "cow", "dog"), "kept 3 of 3 class rows by name"),
        (
            ("ant", "owl"),
            "kept 0 of 3 class rows by name; initialised from scratch: ant, owl; dropped:"
            " cow, bee, dog",
        ),
    ],
)
def test_rows_follow_the_names(
    pushed: pathlib.Path,
    tmp_path: pathlib.Path,
    caplog: pytest.LogCaptureFixture,
    labels: tuple[str, ...],
    sentence: str,
) -> None:
    expected = tf.train.load_checkpoint(str(pushed / "variables" / "variables"))
    config = with_weights(pushed)
    warm_start.check(config, len(labels))
    with caplog.at_level("INFO", "slimline.train"):
        values = initial_values(config, labels, tmp_path / "run")
    assert sentence in [record.getMessage() for record in caplog.records]
    for name in (WEIGHTS, BIASES):
        before = expected.get_tensor(name)
        for number, label in enumerate(labels):
            row = (
                before[..., BEFORE.index(label)]
                if label in BEFORE
                else np.zeros(before.shape[:-1])
            )
            np.testing.assert_array_equal(values[name][..., number], row)
    for name in values.keys() - {WEIGHTS, BIASES}:
        np.testing.assert_array_equal(values[name], expected.get_tensor(name))


def test_the_same_classes_in_the_same_order_are_restored_as_they_are(
    pushed: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    start = transfer.start_of(with_weights(pushed).train, BEFORE, tmp_path)
    assert start.checkpoint == str(pushed / "variables" / "variables")


def test_an_excluded_class_layer_is_not_rearranged(
    pushed: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    config = with_weights(pushed, weights_exclude=("logits",))
    start = transfer.start_of(config.train, ("ant", "bee"), tmp_path)
    assert start.checkpoint == str(pushed / "variables" / "variables")


def test_class_names_that_are_not_those_of_the_weights_are_a_sentence(
    tmp_path: pathlib.Path,
) -> None:
    source = str(tmp_path / "source")
    checkpoints.write_values(source, {BIASES: np.zeros(4, np.float32)})
    with pytest.raises(ConfigError, match="do not fit the class names") as info:
        class_rows.write(str(tmp_path / "target"), source, BEFORE, ("ant", "bee"))
    assert (info.value.found, info.value.expected) == (
        "mlp_bn/logits/biases of shape [4]",
        "3 classes",
    )
