"""Which operation each image gets, how strong, and that moves are Pillow's."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from trainer.augmentation import policies
from trainer.augmentation.levels import Levels

LEVELS = Levels((128.0,), (64.0,))
MEANS = Levels((120.0, 110.0, 100.0), (60.0, 62.0, 64.0))


def noise(count, side=16, channels=3):
    """The same image `count` times, whole levels, standardised by LEVELS."""
    random = np.random.default_rng(5)
    gray = random.integers(20, 231, [1, side, side, channels]).astype(np.float32)
    return np.tile((gray - 128) / 64, [count, 1, 1, 1])


# torchvision's RandAugment at magnitude 9 and TrivialAugmentWide at its strongest.
AT_NINE = {
    "shear_x": 0.09,
    "shear_y": 0.09,
    "translate_x": int(150 / 331 * 32 * 9 / 30),
    "translate_y": int(150 / 331 * 32 * 9 / 30),
    "rotate": 9.0,
    "contrast": 0.27,
    "colour": 0.27,
    "sharpness": 0.27,
    "brightness": 0.27,
    "posterize": 7,
    "solarize": 178.5,
}


def candidates(images, amounts, levels, fill="zero"):
    """What each operation makes of the first image: (name, sign) -> image."""
    one = tf.constant(images[:1])
    ranges = policies._ranges(
        shear=1, shift_px=[1, 1], rotation_degrees=1, blend=1, lost_bits=1
    )
    made = {("identity", 1): images[0]}
    for name in policies.names(images.shape[3], levels)[1:]:
        for sign in (1, -1) if ranges[name].is_signed else (1,):
            amount = tf.constant([sign * amounts.get(name, 0.0)], tf.float32)
            if name in policies._MOVES:
                every = {move: amount * float(move == name) for move in policies._MOVES}
                made[name, sign] = policies._move(one, every, fill).numpy()[0]
            else:
                made[name, sign] = policies._adjust(one, name, amount, levels).numpy()[
                    0
                ]
    return made


def found_in(outputs, made):
    matches = np.array(
        [
            np.isclose(outputs, image, atol=1e-4).all(axis=(1, 2, 3))
            for image in made.values()
        ]
    )
    assert (matches.sum(axis=0) == 1).all()
    keys = list(made)
    return [keys[place] for place in matches.argmax(axis=0)]


@pytest.mark.parametrize(("levels", "count"), [(LEVELS, 14), (None, 9)])
def test_rand_augment_draws_all_operations_alike(run, levels, count):
    images = noise(700, side=32)
    policy = {"layers": 1, "magnitude": 9, "levels": levels}
    outputs = run(images, [("rand_augment", policy)])
    found = found_in(outputs, candidates(images, AT_NINE, levels))
    names = policies.names(3, levels)
    assert len(names) == count
    share = 700 / count
    by_name = {name: sum(each == name for each, _ in found) for name in names}
    assert all(abs(drawn - share) < 5 * share**0.5 for drawn in by_name.values())
    negative = sum(sign < 0 for _, sign in found)
    signed = sum(by_name[name] for name in AT_NINE if (name, -1) in found)
    assert abs(negative - signed / 2) < 5 * (signed / 4) ** 0.5


def test_two_layers_are_two_draws():
    images = noise(600)
    outputs = policies.rand_augment(tf.constant(images), (1, 2), 2, 30).numpy()
    is_kept = np.isclose(outputs, images, atol=1e-4).all(axis=(1, 2, 3))
    # Identity twice, and two that undo each other; one layer alone keeps 67 of 600.
    assert 0 < is_kept.sum() < 25


def test_trivial_augment_draws_all_strengths(run):
    images = noise(3000, side=8)
    outputs = run(images, [("trivial_augment", {"levels": LEVELS})])
    brighter = (images[:1] * 64 + 128)[0]
    strengths = set()
    for strength in range(policies.STRENGTHS):
        for sign in (1, -1):
            gray = brighter * (1 + sign * 0.99 * strength / 30)
            expected = (np.clip(gray, 0, 255) - 128) / 64
            if np.isclose(outputs, expected, atol=1e-4).all(axis=(1, 2, 3)).any():
                strengths.add(strength)
    # 3000 / 14 draws of 31 strengths.
    assert len(strengths) == policies.STRENGTHS


@pytest.mark.parametrize(
    ("policy", "lost_bits", "blend", "degrees", "shear"),
    [("rand", 4, 0.9, 30, 0.3), ("trivial", 6, 0.99, 135, 0.99)],
)
def test_strengths_are_torchvisions(policy, lost_bits, blend, degrees, shear):
    found = policies._ranges(
        shear=shear,
        shift_px=[150 / 331 * 32, 150 / 331 * 24] if policy == "rand" else [32, 32],
        rotation_degrees=degrees,
        blend=blend,
        lost_bits=lost_bits,
    )
    bins = np.arange(31)
    np.testing.assert_allclose(found["shear_x"].amounts, np.linspace(0, shear, 31))
    np.testing.assert_allclose(found["rotate"].amounts, np.linspace(0, degrees, 31))
    np.testing.assert_allclose(found["brightness"].amounts, np.linspace(0, blend, 31))
    np.testing.assert_allclose(found["solarize"].amounts, np.linspace(255, 0, 31))
    bits = [8 - round(place / (30 / lost_bits)) for place in bins]
    np.testing.assert_array_equal(found["posterize"].amounts, bits)
    limit = 150 / 331 * 32 if policy == "rand" else 32
    shifts = [int(limit * place / 30) for place in bins]
    np.testing.assert_allclose(found["translate_x"].amounts, shifts, atol=1)
    assert (found["translate_y"].amounts <= found["translate_x"].amounts).all()


@pytest.mark.parametrize("fill", ["zero", "edge"])
@pytest.mark.parametrize(
    ("name", "amount", "matrix"),
    [
        ("shear_x", 0.3, (1, 0.3, 0, 0, 1, 0)),
        ("shear_y", -0.2, (1, 0, 0, -0.2, 1, 0)),
        ("translate_x", 4.0, (1, 0, -4, 0, 1, 0)),
        ("translate_y", -3.0, (1, 0, 0, 0, 1, 3)),
        ("rotate", 25.0, None),
    ],
)
def test_moves_are_pillows(name, amount, matrix, fill):
    side = 21
    image = np.random.default_rng(6).normal(size=[side, side]).astype(np.float32)
    amounts = {
        move: tf.constant([amount if move == name else 0.0]) for move in policies._MOVES
    }
    mine = policies._move(tf.constant(image[None, ..., None]), amounts, fill)
    mine = mine.numpy()[0, ..., 0]
    picture = Image.fromarray(image, "F")
    if matrix is None:
        theirs = picture.rotate(amount, Image.Resampling.BILINEAR)
    else:
        theirs = picture.transform(
            picture.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
        )
    inside = np.asarray(
        picture.point(lambda value: value * 0 + 1).rotate(amount)
        if matrix is None
        else Image.fromarray(np.ones_like(image), "F").transform(
            picture.size, Image.Transform.AFFINE, matrix
        )
    )
    # Pillow repeats the rim where half of the neighbours lie outside.
    core = inside > 0
    for axis in (0, 1):
        for step in (-1, 1):
            core &= np.roll(inside, step, axis) > 0
    core[[0, -1]] = core[:, [0, -1]] = False
    assert core.sum() > 100
    np.testing.assert_allclose(mine[core], np.asarray(theirs)[core], atol=1e-3)
    if fill == "zero":
        assert np.isin(0.0, mine)
    else:
        assert not np.isin(0.0, mine)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_few_images_and_an_unknown_batch(batch, channels):
    """Most operations get no image."""
    images = noise(batch, channels=channels)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        fed = tf.compat.v1.placeholder(tf.float32, [None, 16, 16, channels])
        seed = tf.compat.v1.placeholder(tf.int64, [2])
        rand = policies.rand_augment(fed, seed, 3, 9, LEVELS)
        trivial = policies.trivial_augment(fed, seed, LEVELS)
        assert (
            rand.shape.as_list() == trivial.shape.as_list() == [None, 16, 16, channels]
        )
        for step in range(30):
            for outputs in session.run([rand, trivial], {fed: images, seed: [1, step]}):
                assert outputs.shape == images.shape
                assert np.isfinite(outputs).all()


def test_gray_images_keep_their_channel():
    assert "colour" not in policies.names(1, LEVELS)
    assert "colour" in policies.names(3, None)


def test_levels_of_each_channel(run):
    """Solarized at strength 30: every level inverted, in the units of each channel."""
    images = np.random.default_rng(1).normal(size=[300, 8, 8, 3]).astype(np.float32)
    mean, deviation = (
        np.array(each, np.float32) for each in (MEANS.mean, MEANS.deviation)
    )
    images = np.clip(images * deviation + mean, 0, 255)
    images = (images - mean) / deviation
    policy = {"layers": 1, "magnitude": 30, "levels": MEANS}
    outputs = run(images, [("rand_augment", policy)])
    inverted = (255 - (images * deviation + mean) - mean) / deviation
    is_inverted = np.isclose(outputs, inverted, atol=1e-3).all(axis=(1, 2, 3))
    assert 5 < is_inverted.sum() < 50  # a fourteenth
