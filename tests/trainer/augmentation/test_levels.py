import numpy as np
import pytest
import tensorflow as tf

from trainer import preprocessing
from trainer.augmentation import levels
from trainer.config import PreprocessingConfig


@pytest.mark.parametrize(
    "settings",
    [
        {"standardise": "minus_one_to_one"},
        {"standardise": "fixed", "mean": (120.0,), "deviation": (64.0,)},
        {
            "standardise": "fixed",
            "mean": (120.0, 110.0, 100.0),
            "deviation": (60.0, 62.0, 64.0),
        },
    ],
)
def test_the_way_back_is_that_of_preprocessing(settings):
    config = PreprocessingConfig(**settings)
    gray = np.random.default_rng(1).uniform(0, 255, [2, 4, 4, 3]).astype(np.float32)
    images = preprocessing.standardise(tf.constant(gray), config)
    known = levels.known(config)
    np.testing.assert_allclose(known.of(images), gray, atol=1e-3)
    np.testing.assert_allclose(known.standardised(gray), images, atol=1e-5)
    outside = known.of(known.standardised(tf.constant([[[[-9.0, 300.0, 5.0]]]])))
    np.testing.assert_allclose(outside[0, 0, 0], [0, 255, 5], atol=1e-3)


@pytest.mark.parametrize("standardise", ["per_image", "dataset"])
def test_of_what_is_measured_no_way_is_known(standardise):
    assert levels.known(PreprocessingConfig(standardise=standardise)) is None
