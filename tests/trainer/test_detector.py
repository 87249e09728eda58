"""Averages that are behind are told, those that serve are not."""

import dataclasses

import numpy as np
import pytest

from trainer import detector, training
from trainer.config import (
    ModelConfig,
    PreprocessingConfig,
    ScheduleConfig,
    TrainConfig,
    TrainerConfig,
)
from trainer.evaluation import Measurement
from trainer.input_pipeline import Split
from trainer.nets import registry

pytestmark = pytest.mark.usefixtures("small_net")

CONFIG = TrainerConfig(
    PreprocessingConfig(resize_px=8, crop_px=8, channels=1, standardise="per_image"),
    ModelConfig(net="resnet_8"),
    TrainConfig(batch_size=20, steps=30, learning_rate=0.02, ema_decay=0.5, seed=3),
    ScheduleConfig(name="constant", warmup_epochs=0),
)


def with_train(**changes):
    return dataclasses.replace(
        CONFIG, train=dataclasses.replace(CONFIG.train, **changes)
    )


@pytest.fixture(scope="module")
def split():
    random = np.random.default_rng(5)
    labels = np.arange(80, dtype=np.int64) % 2
    images = random.normal(0, 1, [80, 8, 8, 1]) * 3 + 4
    images += (labels * 2 - 1)[:, None, None, None] * 2
    # A class after the other, as files may lie.
    order = np.argsort(labels)
    images, labels = images[order].astype(np.float32), labels[order]
    return Split((), None, labels, images)


@pytest.fixture
def slow_norm(monkeypatch):
    """ResNet-8 whose moving averages forget a thousandth of their past a step."""
    spec = registry.NETS["resnet_8"]
    slow = dataclasses.replace(spec.defaults, norm_decay=0.9999)
    monkeypatch.setitem(
        registry.NETS, "resnet_8", dataclasses.replace(spec, defaults=slow)
    )


def test_a_sound_training_is_told_nothing(split, tmp_path):
    result = training.train(CONFIG, split, split, 2, tmp_path)
    assert result.best.top_1 > 0.9
    assert result.findings == ()


def test_batch_norm_that_does_not_follow(split, tmp_path, slow_norm):
    result = training.train(with_train(ema_decay=0), split, split, 2, tmp_path)
    (sentence,) = result.findings
    assert sentence.startswith("batch norm's moving averages do not follow the data")
    assert "train longer" in sentence


@pytest.mark.parametrize(("average", "is_told"), [(0.80, True), (0.86, False)])
def test_weights_far_behind(split, average, is_told):
    config = dataclasses.replace(
        with_train(ema_decay=0.999), model=ModelConfig(net="mlp_bn", batch_norm=False)
    )
    measured = [
        Measurement(30, "raw", 0.90, 0.3),
        Measurement(30, "ema", average, 0.5),
    ]
    found = detector.findings(config, split, 2, "", measured)
    assert bool(found) == is_told
    if is_told:
        assert found[0].startswith("the moving average of the weights is far behind")
        assert "0.800 with it and 0.900 without" in found[0]
        assert "--set train.ema_decay=0.995" in found[0]
