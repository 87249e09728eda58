import dataclasses
import types

import numpy as np
import pytest
import tensorflow as tf

from common import errors
from trainer.augmentation import (
    erasing,
    geometry,
    light,
    limits,
    mixing,
    policies,
    recipe,
)
from trainer.config import (
    AugmentationConfig,
    ModelConfig,
    PreprocessingConfig,
    TrainerConfig,
)

# Settings that only say how others act.
MANNERS = {
    "fill",
    "rand_augment_magnitude",
    "random_erasing_share",
    "random_erasing_fill",
}
# Every other setting of the section, with a value that changes images.
EACH = {
    "flip_left_right": True,
    "alternating_flip": True,
    "flip_up_down": True,
    "rot90": True,
    "pad_crop_px": 2,
    "random_square_crop": 0.5,
    "random_resized_crop": 0.5,
    "scale": 0.3,
    "shift": 0.2,
    "rotation_degrees": 30.0,
    "rand_augment_layers": 2,
    "trivial_augment": True,
    "brightness": 0.5,
    "contrast": 0.5,
    "saturation": 0.5,
    "salt_and_pepper": 0.1,
    "cutout_px": 3,
    "random_erasing": 0.5,
    "mixup_alpha": 1.0,
    "cutmix_alpha": 1.0,
}
# One of each pair that does the same.
TOGETHER = {
    name: value
    for name, value in EACH.items()
    if name not in ("flip_left_right", "random_square_crop", "trivial_augment")
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
    assert known == {*EACH, *MANNERS}


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
    names = [name for name in recipe.AUGMENTATIONS if name != "trivial_augment"]
    steps = recipe.steps_of(config_of(image_size_px=7, **EACH))
    assert [name for name, _ in steps] == names
    trivial = recipe.steps_of(config_of(trivial_augment=True))
    assert [name for name, _ in trivial] == ["trivial_augment"]
    public = {
        name
        for module in (geometry, light, erasing, mixing, policies)
        for name, value in vars(module).items()
        if isinstance(value, types.FunctionType)
        and value.__module__ == module.__name__
        and name[0] != "_"
    }
    assert public == {
        *recipe.AUGMENTATIONS,
        *recipe.MIXING,
        "central_crop",
        "names",
    }


def test_all_at_once_in_a_graph():
    config = config_of(image_size_px=6, **TOGETHER)
    images, labels = noise(), np.arange(16, dtype=np.int64) % 4
    dataset = tf.data.Dataset.from_tensors((images, labels)).map(
        tf.autograph.experimental.do_not_convert(
            lambda *batch: recipe.augment(*batch, config, tf.constant([3, 7]), 4)
        )
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
            config_of(alternating_flip=True, flip_left_right=True),
            "flipped horizontally by one setting only",
            "--set augmentation.flip_left_right=false",
        ),
        (
            config_of(random_resized_crop=0.2, random_square_crop=0.5),
            "a part of each image is enlarged by one setting only",
            "--set augmentation.random_square_crop=0",
        ),
        (
            config_of(trivial_augment=True, rand_augment_layers=2),
            "operations are drawn for each image by one setting only",
            "--set augmentation.rand_augment_layers=0",
        ),
        (
            config_of(trivial_augment=True, fill="reflect"),
            "move images farther than a reflection reaches",
            "--set augmentation.fill=edge",
        ),
        (
            config_of(scale=0.7, fill="reflect"),
            "moves reach beyond the reflected image",
            "--set augmentation.fill=edge, or smaller rotation_degrees, scale or shift",
        ),
    ],
)
def test_impossible_settings_are_sentences(config, message, tip):
    with pytest.raises(errors.ConfigError, match=message) as info:
        limits.check(config)
    assert info.value.tip == tip


def test_possible_settings_pass():
    limits.check(config_of(image_size_px=7, **TOGETHER))
    limits.check(config_of(pad_crop_px=7, shift=0.2, fill="reflect"))


def test_mixup_and_cutmix_take_turns_by_batch():
    """Each batch is one of the two, as it would be alone."""
    images, labels = noise(), np.arange(16, dtype=np.int64) % 4
    config = config_of(mixup_alpha=0.4, cutmix_alpha=1.0)
    drawn = []
    for step in range(24):
        seed = tf.constant([3, step], tf.int64)
        mixed = recipe.augment(tf.constant(images), labels, config, seed, 4)
        batch_seed = tf.random.experimental.stateless_fold_in(seed, 0)
        targets = np.eye(4, dtype=np.float32)[labels]
        ways = {
            "mixup": mixing.mixup(images, targets, batch_seed, 0.4),
            "cutmix": mixing.cutmix(images, targets, batch_seed, 1.0),
        }
        found = [
            name
            for name, way in ways.items()
            if all(
                np.allclose(*pair, atol=1e-6) for pair in zip(way, mixed, strict=True)
            )
        ]
        assert len(found) == 1
        drawn += found
    assert 5 < drawn.count("mixup") < 19


def test_an_alternating_flip_is_what_the_pass_says():
    images = noise()
    sides = np.arange(16) % 3 == 0
    config = config_of(alternating_flip=True)
    outputs, _ = recipe.augment(
        tf.constant(images), tf.zeros([16], tf.int64), config, (1, 2), 4, sides
    )
    np.testing.assert_array_equal(outputs[sides], images[sides, :, ::-1])
    np.testing.assert_array_equal(outputs[~sides], images[~sides])


def test_what_policies_know_of_levels():
    config = dataclasses.replace(
        config_of(rand_augment_layers=2),
        preprocessing=PreprocessingConfig(
            standardise="fixed", mean=(127.0,), deviation=(128.0,)
        ),
    )
    assert recipe.describe(config) == [
        "rand_augment (layers 2, magnitude 9, levels 127 ± 128)"
    ]
    config = config_of(trivial_augment=True, fill="edge")
    assert recipe.describe(config) == ["trivial_augment (fill edge)"]
