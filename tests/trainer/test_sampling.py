import dataclasses

import numpy as np
import pytest
from sklearn.utils import class_weight

from common.errors import ConfigError
from trainer import sampling
from trainer.config import TrainConfig

# 2, 30 and 68 images of three classes, mixed.
LABELS = np.random.default_rng(1).permutation(np.repeat([0, 1, 2], [2, 30, 68]))


def test_class_weights_are_those_of_scikit_learn():
    expected = class_weight.compute_class_weight(
        "balanced", classes=np.arange(3), y=LABELS
    )
    weights = sampling.class_weights(LABELS, 3)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert weights.dtype == np.float32
    assert weights[LABELS].mean() == pytest.approx(1)


def test_a_class_without_images_weighs_nothing():
    weights = sampling.class_weights(LABELS, 5)
    assert weights[3:].tolist() == [0, 0]
    assert weights[LABELS].mean() == pytest.approx(1)


@pytest.mark.parametrize("epoch", [0, 1, 17])
def test_classes_are_drawn_equally_often(epoch):
    repeats = sampling.balanced_repeats(LABELS, 3, epoch)
    drawn = np.bincount(LABELS, weights=repeats)
    assert drawn.tolist() == [33, 33, 33]
    for label in range(3):
        of_class = repeats[label == LABELS]
        assert of_class.max() - of_class.min() <= 1


def test_every_image_of_a_large_class_comes_in_some_epoch():
    seen = sum(sampling.balanced_repeats(LABELS, 3, epoch) for epoch in range(30))
    assert seen.min() > 0


def test_draws_follow_from_seed_and_epoch():
    first = sampling.balanced_repeats(LABELS, 3, 4)
    np.testing.assert_array_equal(first, sampling.balanced_repeats(LABELS, 3, 4))
    assert not np.array_equal(first, sampling.balanced_repeats(LABELS, 3, 5))
    assert not np.array_equal(first, sampling.balanced_repeats(LABELS, 4, 4))


def test_balancing_twice_is_refused():
    train = TrainConfig(balanced_sampling=True, class_weights="balanced")
    with pytest.raises(ConfigError, match="balanced twice"):
        sampling.check(train)
    sampling.check(dataclasses.replace(train, class_weights="none"))
