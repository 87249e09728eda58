import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from schema import errors
from trainer.augmentation import erasing, geometry, light, limits, mixing, recipe
from trainer.config import (
    AugmentationConfig,
    ModelConfig,
    PreprocessingConfig,
    TrainerConfig,
)

# Every setting of the section but `fill`, with a value that changes images.
EACH = {
    "flip_left_right": True,
    "flip_up_down": True,
    "rot90": True,
    "pad_crop_px": 2,
    "random_square_crop": 0.5,
    "scale": 0.3,
    "shift": 0.2,
    "rotation_degrees": 30.0,
    "brightness": 0.5,
    "contrast": 0.5,
    "saturation": 0.5,
    "salt_and_pepper": 0.1,
    "cutout_px": 3,
    "mixup_alpha": 1.0,
    "cutmix_alpha": 1.0,
}


def config_of(channels=3, image_size_px=0, **changes):
    return TrainerConfig(
        preprocessing=PreprocessingConfig(resize_px=8, crop_px=8, channels=channels),
        model=ModelConfig(image_size_px=image_size_px),
        augmentation=AugmentationConfig(**changes),
    )


def noise(batch=16, side=8):
    random = np.random.default_rng(4)
    return random.normal(size=[batch, side, side, 3]).astype(np.float32)


def test_equal_seeds_give_equal_images(run, numbered):
    images = numbered(16, 8, channels=3)
    steps = [("pad_crop", {"pad_px": 2}), ("flip_left_right", {})]
    first = run(images, steps, seed=(7, 9))
    np.testing.assert_array_equal(first, run(images, steps, seed=(7, 9)))
    assert not np.array_equal(first, run(images, steps, seed=(7, 10)))
    assert not np.array_equal(first, run(images, steps, seed=(8, 9)))


def test_a_step_draws_for_itself(run, numbered):
    images = numbered(64, 2)
    once = run(images, [("flip_left_right", {})])
    twice = run(images, [("flip_left_right", {}), ("flip_left_right", {})])
    assert not np.array_equal(once, images)
    assert not np.array_equal(twice, images)


def test_unknown_name_names_the_nearest(numbered):
    with pytest.raises(errors.ConfigError, match="did you mean 'pad_crop'"):
        recipe.apply(tf.constant(numbered(1, 4)), [("pad_corp", {})], (1, 2))


def test_every_setting_is_tried():
    known = {field.name for field in dataclasses.fields(AugmentationConfig)}
    assert known == {*EACH, "fill"}


def test_what_comes_in_from_outside():
    config = config_of(pad_crop_px=2, shift=0.2, fill="edge", cutout_px=3)
    filled = {name: step.get("fill") for name, step in recipe.steps_of(config)}
    assert filled == {"pad_crop": "edge", "affine": "edge", "cutout": None}
    assert recipe.describe(config)[0] == "pad_crop (pad_px 2, fill edge)"


@pytest.mark.parametrize("name", EACH)
def test_each_setting_changes_the_batch_by_its_seed(name):
    images, labels = noise(), np.arange(16, dtype=np.int64) % 4
    config = config_of(**{name: EACH[name]})

    def augmented(step):
        seed = tf.constant([3, step], tf.int64)
        outputs, targets = recipe.augment(
            tf.constant(images), tf.constant(labels), config, seed, 4
        )
        assert outputs.shape == images.shape
        assert outputs.dtype == tf.float32
        return outputs.numpy(), targets

    first, targets = augmented(7)
    assert not np.array_equal(first, images)
    np.testing.assert_array_equal(first, augmented(7)[0])
    assert not np.array_equal(first, augmented(8)[0])
    if name in ("mixup_alpha", "cutmix_alpha"):
        np.testing.assert_allclose(targets.numpy().sum(axis=1), 1, rtol=1e-5)
    else:
        np.testing.assert_array_equal(targets, labels)


def test_nothing_asked_changes_nothing():
    images, labels = tf.constant(noise()), tf.zeros([16], tf.int64)
    outputs, targets = recipe.augment(images, labels, config_of(), (1, 2), 4)
    assert outputs is images
    assert targets is labels


def test_every_function_has_a_setting():
    """One that no configuration reaches would be dead."""
    wanted = {**EACH, "cutmix_alpha": 0.0}
    steps = recipe.steps_of(config_of(image_size_px=7, **wanted))
    assert [name for name, _ in steps] == list(recipe.AUGMENTATIONS)
    public = {
        name
        for module in (geometry, light, erasing, mixing)
        for name, value in vars(module).items()
        if callable(value) and value.__module__ == module.__name__ and name[0] != "_"
    }
    assert public == set(recipe.AUGMENTATIONS) | {"central_crop", "mixup", "cutmix"}


def test_all_at_once_in_a_graph():
    config = config_of(image_size_px=6, **{**EACH, "cutmix_alpha": 0.0})
    images, labels = noise(), np.arange(16, dtype=np.int64) % 4
    dataset = tf.data.Dataset.from_tensors((images, labels)).map(
        lambda *batch: recipe.augment(*batch, config, tf.constant([3, 7]), 4)
    )
    outputs, targets = next(dataset.as_numpy_iterator())
    assert outputs.shape == (16, 6, 6, 3)
    assert targets.shape == (16, 4)
    assert np.isfinite(outputs).all()


@pytest.mark.parametrize(
    ("config", "message", "tip"),
    [
        (
            config_of(channels=1, saturation=0.3),
            "'augmentation.saturation' needs colour images",
            "--set augmentation.saturation=0",
        ),
        (
            config_of(pad_crop_px=8),
            "'augmentation.pad_crop_px' leaves nothing",
            "--set augmentation.pad_crop_px=1",
        ),
        (
            config_of(image_size_px=6, cutout_px=6),
            "'augmentation.cutout_px' leaves nothing",
            "--set augmentation.cutout_px=0",
        ),
        (
            config_of(mixup_alpha=0.2, cutmix_alpha=1.0),
            "mixed in one way only",
            "--set augmentation.mixup_alpha=0",
        ),
    ],
)
def test_impossible_settings_are_sentences(config, message, tip):
    with pytest.raises(errors.ConfigError, match=message) as info:
        limits.check(config)
    assert info.value.tip == tip


def test_possible_settings_pass():
    limits.check(config_of(image_size_px=7, **{**EACH, "mixup_alpha": 0.0}))
