"""Whitening filters of the first convolution, and that a training leaves them alone."""

import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from common.errors import ConfigError
from trainer import training, whitening
from trainer.checkpoints import CheckpointStore
from trainer.config import (
    ModelConfig,
    PreprocessingConfig,
    ScheduleConfig,
    TrainConfig,
    TrainerConfig,
)
from trainer.input_pipeline import Split

pytestmark = pytest.mark.usefixtures("small_net")

LAYER = whitening.Layer("net/first/weights", (2, 2), 24)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Smooth images, as photos are: neighbours in space and in colour are alike."""
    random = np.random.default_rng(8)
    noise = random.normal(size=(60, 11, 11, 1)) + 0.5 * random.normal(
        size=(60, 11, 11, 3)
    )
    sums = noise.cumsum(axis=1).cumsum(axis=2)
    smooth = sums[:, 3:, 3:] - sums[:, :-3, 3:] - sums[:, 3:, :-3] + sums[:, :-3, :-3]
    return (smooth / smooth.std()).astype(np.float32)


def config(**model: object) -> TrainerConfig:
    return TrainerConfig(
        PreprocessingConfig(resize_px=8, crop_px=8, channels=3),
        ModelConfig(**{"net": "resnet_8", "whitening": True} | model),
        TrainConfig(batch_size=8, steps=4, ema_decay=0.9, weight_decay=0.01),
        ScheduleConfig(name="constant", warmup_epochs=0),
    )


def responses(images: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """[patches, filters], by TensorFlow's own convolution."""
    outputs = tf.nn.conv2d(images, filters, strides=1, padding="VALID").numpy()
    return outputs.reshape(-1, filters.shape[-1])


def test_responses_are_white(images: np.ndarray) -> None:
    filters = whitening.filters([images], LAYER)
    assert filters.shape == (2, 2, 3, 24)
    outputs = responses(images, filters)[:, :12].astype(np.float64)
    moments = outputs.T @ outputs / len(outputs)
    np.testing.assert_allclose(moments - np.diag(np.diag(moments)), 0, atol=1e-4)
    # Along directions in which patches vary enough for epsilon not to matter.
    np.testing.assert_allclose(np.diag(moments)[:6], 1, atol=0.02)
    np.testing.assert_array_equal(filters[..., 12:], -filters[..., :12])


def test_the_first_filters_are_those_along_which_patches_vary_most(
    images: np.ndarray,
) -> None:
    few = whitening.filters([images], dataclasses.replace(LAYER, count=7))
    whole = whitening.filters([images], LAYER)
    norms = np.linalg.norm(whole[..., :12].reshape(12, 12), axis=0)
    assert list(norms) == sorted(norms)
    np.testing.assert_array_equal(few[..., :4], whole[..., :4])
    np.testing.assert_array_equal(few[..., 4:], -whole[..., :3])


def test_batches_add_up_to_so_many_images(
    images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whitening, "IMAGES", 25)
    parts = (images[start : start + 10] for start in range(0, 60, 10))
    found = np.abs(whitening.filters(parts, LAYER))
    expected = np.abs(whitening.filters([images[:25]], LAYER))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_training_keeps_them_and_they_are_exported(
    images: np.ndarray, tmp_path
) -> None:
    labels = np.arange(40, dtype=np.int64) % 2
    split = Split(files=(), transform=None, images=images[:40], labels=labels)
    result = training.train(config(), split, split, 2, tmp_path)
    layer = whitening.layer_of(config())
    assert layer is not None
    expected = whitening.filters([split.images], layer)
    reader = tf.train.load_checkpoint(result.checkpoint)
    average = f"{layer.weights}/ExponentialMovingAverage"
    np.testing.assert_array_equal(reader.get_tensor(layer.weights), expected)
    np.testing.assert_allclose(reader.get_tensor(average), expected, rtol=1e-6)
    other = "resnet_8/group1/unit1/conv_1/weights"
    assert not np.allclose(
        reader.get_tensor(other), reader.get_tensor(f"{other}/ExponentialMovingAverage")
    )


def test_a_training_that_goes_on_ends_as_an_unbroken_one(
    images: np.ndarray, tmp_path: pathlib.Path
) -> None:
    labels = np.arange(40, dtype=np.int64) % 2
    split = Split(files=(), transform=None, images=images[:40], labels=labels)
    wanted = config(activation="gelu", weight_init="dirac", logits_scale=0.5)
    first = dataclasses.replace(
        wanted, train=dataclasses.replace(wanted.train, steps=2)
    )
    training.train(first, split, split, 2, tmp_path / "broken")
    ends = []
    for folder in ("broken", "whole"):
        training.train(wanted, split, split, 2, tmp_path / folder)
        newest = CheckpointStore(tmp_path / folder / "checkpoints")
        reader = tf.train.load_checkpoint(newest.path(newest.latest()))
        names = reader.get_variable_to_shape_map()
        ends.append({name: reader.get_tensor(name).tobytes() for name in names})
    assert len(ends[0]) > 20
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    ("net", "message"),
    [
        ("mlp_bn", "needs a net that begins with a convolution"),
        ("vgg_16", "needs a first convolution with fewer filters"),
    ],
)
def test_what_has_no_place_for_them_is_refused(net: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        whitening.layer_of(config(net=net))


def test_off_by_default() -> None:
    assert whitening.layer_of(config(whitening=False)) is None
