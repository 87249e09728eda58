import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from common import errors
from trainer.augmentation import geometry, limits, recipe


def windows(image, side):
    """All crops of `side` px of one image."""
    places = range(image.shape[0] - side + 1)
    return [
        image[top : top + side, left : left + side] for top in places for left in places
    ]


def test_flip_by_hand(run):
    image = np.array([[[1], [2], [3]], [[4], [5], [6]]], np.float32)
    outputs = run(np.stack([image] * 40), [("flip_left_right", {})])
    found = {str(output[:, :, 0].astype(int).tolist()) for output in outputs}
    assert found == {"[[1, 2, 3], [4, 5, 6]]", "[[3, 2, 1], [6, 5, 4]]"}


def test_flip_draws_each_image(run, numbered):
    images = numbered(400, 2)
    outputs = run(images, [("flip_left_right", {})])
    is_flipped = (outputs == images[:, :, ::-1]).all(axis=(1, 2, 3))
    is_kept = (outputs == images).all(axis=(1, 2, 3))
    assert (is_flipped ^ is_kept).all()
    assert 150 < is_flipped.sum() < 250


def test_pad_crop_is_a_window_of_the_padded_image(run, numbered):
    images = numbered(200, 3, channels=2)
    outputs = run(images, [("pad_crop", {"pad_px": 1})])
    places = set()
    for image, output in zip(images, outputs, strict=True):
        padded = np.pad(image, [(1, 1), (1, 1), (0, 0)])
        places.add(
            [np.array_equal(output, window) for window in windows(padded, 3)].index(
                True
            )
        )
    assert places == set(range(9))


def test_pad_crop_repeats_the_edge(run, numbered):
    images = numbered(50, 3)
    outputs = run(images, [("pad_crop", {"pad_px": 2, "fill": "edge"})])
    padded = np.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)], mode="edge")
    places = set()
    for image, output in zip(padded, outputs, strict=True):
        found = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if np.array_equal(output, image[top : top + 3, left : left + 3])
        ]
        assert len(found) == 1
        places.update(found)
    assert len(places) > 15


def test_affine_repeats_the_edge(run):
    images = np.full([20, 8, 8, 1], -1.0, np.float32)
    change = {"rotation_degrees": 30.0, "scale": 0.2, "shift": 0.2}
    outputs = run(images, [("affine", change | {"fill": "edge"})])
    np.testing.assert_allclose(outputs, images, atol=1e-6)
    assert run(images, [("affine", change)]).max() == 0


def test_pad_crop_of_a_wide_image(run, numbered):
    images = numbered(4, 6)[:, :3]
    outputs = run(images, [("pad_crop", {"pad_px": 0})])
    np.testing.assert_array_equal(outputs, images)


def test_random_crop_is_a_window(run, numbered):
    images = numbered(100, 4, channels=3)
    outputs = run(images, [("random_crop", {"image_size_px": 3})])
    places = {
        [np.array_equal(output, window) for window in windows(image, 3)].index(True)
        for image, output in zip(images, outputs, strict=True)
    }
    assert places == set(range(4))


def test_random_crop_to_the_same_size_changes_nothing(run, numbered):
    images = numbered(3, 4)
    outputs = run(images, [("random_crop", {"image_size_px": 4})])
    np.testing.assert_array_equal(outputs, images)


def test_keeps_static_shapes_with_an_unknown_batch():
    with tf.Graph().as_default():
        images = tf.compat.v1.placeholder(tf.float32, [None, 8, 8, 3])
        steps = [
            ("pad_crop", {"pad_px": 2}),
            ("flip_left_right", {}),
            ("random_crop", {"image_size_px": 6}),
        ]
        outputs = recipe.apply(images, steps, seed=[3, 4])
    assert outputs.shape.as_list() == [None, 6, 6, 3]
    assert outputs.dtype == tf.float32


@pytest.mark.parametrize(
    ("size", "expected"),
    [(2, [[6, 7], [10, 11]]), (3, [[1, 2, 3], [5, 6, 7], [9, 10, 11]])],
)
def test_central_crop_by_hand(size, expected, numbered):
    outputs = geometry.central_crop(tf.constant(numbered(1, 4)), size)
    assert outputs[0, :, :, 0].numpy().tolist() == expected


@pytest.mark.parametrize(
    "crop",
    [
        lambda images: geometry.central_crop(images, 5),
        lambda images: geometry.random_crop(images, (1, 2), 5),
    ],
)
def test_crop_larger_than_the_image(crop, numbered):
    with pytest.raises(errors.ConfigError, match="cannot crop images to 5 px") as info:
        crop(tf.constant(numbered(1, 4)))
    assert info.value.found == "4 x 4 px"


def test_flip_up_down_by_hand(run):
    image = np.array([[[1], [2]], [[3], [4]], [[5], [6]]], np.float32)
    outputs = run(np.stack([image] * 40), [("flip_up_down", {})])
    found = {str(output[:, :, 0].astype(int).tolist()) for output in outputs}
    assert found == {"[[1, 2], [3, 4], [5, 6]]", "[[5, 6], [3, 4], [1, 2]]"}


def test_flip_up_down_draws_each_image(run, numbered):
    images = numbered(400, 2)
    outputs = run(images, [("flip_up_down", {})])
    is_flipped = (outputs == images[:, ::-1]).all(axis=(1, 2, 3))
    is_kept = (outputs == images).all(axis=(1, 2, 3))
    assert (is_flipped ^ is_kept).all()
    assert 150 < is_flipped.sum() < 250


def test_rot90_takes_each_quarter_turn(run, numbered):
    images = numbered(200, 3, 2)
    outputs = run(images, [("rot90", {})])
    turns = [
        [np.array_equal(output, np.rot90(image, turn)) for turn in range(4)].index(True)
        for image, output in zip(images, outputs, strict=True)
    ]
    assert (np.bincount(turns, minlength=4) > 30).all()


def test_rotation_by_a_right_angle(numbered, monkeypatch):
    images = numbered(2, 5, 2)
    draw_largest(monkeypatch)
    outputs = geometry.affine(tf.constant(images), (1, 2), rotation_degrees=90.0)
    expected = np.rot90(images, axes=(1, 2))
    # At the rim the interpolation may fall half a rounding outside.
    np.testing.assert_allclose(outputs[:, 1:4, 1:4], expected[:, 1:4, 1:4], rtol=1e-4)


def test_shift_moves_whole_px(numbered, monkeypatch):
    images = numbered(2, 4)
    draw_largest(monkeypatch)
    outputs = geometry.affine(tf.constant(images), (1, 2), shift=0.25).numpy()
    np.testing.assert_allclose(outputs[:, 1:, 1:], images[:, :-1, :-1], rtol=1e-5)
    assert not outputs[:, 0].any()
    assert not outputs[:, :, 0].any()


def test_scale_enlarges_about_the_centre(monkeypatch):
    ramp = np.tile(np.arange(5, dtype=np.float32)[None, None, :, None], [1, 5, 1, 1])
    draw_largest(monkeypatch)
    outputs = geometry.affine(tf.constant(ramp), (1, 2), scale=0.5)
    expected = 2 + (np.arange(5) - 2) / 1.5
    np.testing.assert_allclose(outputs[0, 2, :, 0], expected, rtol=1e-5)


def test_affine_stays_within_its_limits(run):
    """A single bright px shows where each image went."""
    images = np.zeros([300, 21, 21, 1], np.float32)
    images[:, 10, 10] = 1.0
    outputs = run(images, [("affine", {"shift": 0.2})])
    place = np.arange(21)
    rows = (outputs.sum(axis=(2, 3)) * place).sum(axis=1) - 10
    columns = (outputs.sum(axis=(1, 3)) * place).sum(axis=1) - 10
    for moved in (rows, columns):
        assert np.abs(moved).max() <= 0.2 * 21 + 1e-3
        assert moved.min() < -3.5 < 3.5 < moved.max()
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.2


def test_affine_of_nothing_changes_nothing(run, numbered):
    images = numbered(3, 4, 3)
    outputs = run(images, [("affine", {})])
    np.testing.assert_allclose(outputs, images, rtol=1e-5)


def test_random_square_crop_by_hand(monkeypatch):
    """Half of the side, from the lower right corner: each px between its neighbours."""
    ramp = np.tile(np.arange(8, dtype=np.float32)[None, None, :, None], [1, 8, 1, 1])
    draws = iter([0.5, 1.0, 1.0])
    monkeypatch.setattr(
        geometry, "_draws", lambda images, seed, *_, **__: tf.constant([[next(draws)]])
    )
    outputs = geometry.random_square_crop(tf.constant(ramp), (1, 2), 0.5)
    expected = np.minimum(4 + (np.arange(8) + 0.5) / 2 - 0.5, 7)
    np.testing.assert_allclose(outputs[0, 3, :, 0], expected, rtol=1e-5)


def test_random_square_crop_draws_sizes_and_places(run):
    side = 32
    rows, columns = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    image = np.stack([rows, columns], axis=-1).astype(np.float32)
    images = np.tile(image, [300, 1, 1, 1])
    outputs = run(images, [("random_square_crop", {"smallest_share": 0.5})])
    middle = outputs[:, 8:24, 8:24]
    zoom_rows = (middle[:, -1, 8, 0] - middle[:, 0, 8, 0]) / 15
    zoom_columns = (middle[:, 8, -1, 1] - middle[:, 8, 0, 1]) / 15
    np.testing.assert_allclose(zoom_rows, zoom_columns, atol=1e-3)  # a square
    assert zoom_rows.min() > 0.5 - 1e-3
    assert zoom_rows.max() < 1 + 1e-3
    np.testing.assert_allclose(np.quantile(zoom_rows, 0.5), 0.75, atol=0.05)
    assert outputs.min() >= 0
    assert outputs.max() <= side - 1


def draw_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every draw gives the upper end of its range."""
    monkeypatch.setattr(
        geometry,
        "_draws",
        lambda images, seed, low, high, **_: tf.fill([images.shape[0], 1], high),
    )


def test_pad_crop_reflects_without_the_edge(run, numbered):
    """As numpy's and PyTorch's 'reflect'."""
    images = numbered(200, 4, channels=3)
    outputs = run(images, [("pad_crop", {"pad_px": 2, "fill": "reflect"})])
    padded = np.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)], mode="reflect")
    places = set()
    for image, output in zip(padded, outputs, strict=True):
        found = [np.array_equal(output, window) for window in windows(image, 4)]
        places.add(found.index(True))
    assert places == set(range(25))


@pytest.mark.parametrize(
    "change",
    [
        {"rotation_degrees": 40.0},
        {"scale": 0.3, "shift": 0.1},
        {"rotation_degrees": 20.0, "scale": 0.2, "shift": 0.15},
    ],
)
def test_affine_reflects_as_scipy_does(change, monkeypatch):
    """Its mode 'mirror' does not repeat the edge px."""
    images = np.random.default_rng(3).normal(size=[2, 12, 12, 3]).astype(np.float32)
    # Not the largest factor: the smallest looks farthest outside.
    draw_largest(monkeypatch)
    factor = 1 + change.get("scale", 0)
    outputs = geometry.affine(tf.constant(images), (1, 2), **change, fill="reflect")
    angle = np.radians(change.get("rotation_degrees", 0))
    # Rows before columns, and from the result back to the source.
    back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    back /= factor
    centre = np.full(2, 5.5)
    offset = centre - back @ (centre + 12 * change.get("shift", 0))
    for image, output in zip(images, outputs.numpy(), strict=True):
        for channel in range(3):
            expected = ndimage.affine_transform(
                image[..., channel], back, offset, order=1, mode="mirror"
            )
            np.testing.assert_allclose(output[..., channel], expected, atol=1e-4)


def test_affine_never_looks_beyond_its_reflected_border(run):
    """Every px is one of the image, whatever is drawn: a border too narrow repeats one."""
    change = {"rotation_degrees": 45.0, "scale": 0.1, "shift": 0.05}
    assert limits.reach_px(16, 16, *change.values()) < 16
    ramp = np.arange(16, dtype=np.float32)
    images = np.tile(ramp[None, None, :, None], [500, 16, 1, 1])
    outputs = run(images, [("affine", change | {"fill": "reflect"})])
    # A ramp reflected has slopes of 1 or -1 in its source, scaled by at most 1 / 0.9; a
    # repeated px would make a flat spot of two px or more along one of the axes.
    steps = np.hypot(
        np.diff(outputs, axis=1)[:, :, :-1], np.diff(outputs, axis=2)[:, :-1]
    )
    flat = steps[:, :, :, 0] < 1e-3
    assert not (flat[:, 1:, 1:] & flat[:, :-1, :-1]).any()


def test_alternating_flip_by_hand(numbered):
    images = numbered(3, 4, 2)
    sides = tf.constant([True, False, True])
    outputs = geometry.alternating_flip(tf.constant(images), (1, 2), sides).numpy()
    np.testing.assert_array_equal(outputs[[0, 2]], images[[0, 2], :, ::-1])
    np.testing.assert_array_equal(outputs[1], images[1])


def test_random_resized_crop_is_the_bilinear_rectangle(run):
    """Against numpy, by the rectangles that two ramps show."""
    side, count = 20, 400
    rows, columns = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    noise = np.random.default_rng(1).normal(size=[side, side])
    image = np.stack([rows, columns, noise], axis=-1).astype(np.float32)
    outputs = run(
        np.tile(image, [count, 1, 1, 1]),
        [("random_resized_crop", {"smallest_share": 0.1})],
    )
    shares, aspects = [], []
    for output in outputs:
        # From the middle, where no rim is near.
        spans = [
            np.diff(output[8:12, 8, 0]).mean() * side,
            np.diff(output[8, 8:12, 1]).mean() * side,
        ]
        starts = [
            output[9, 9, channel] - (9.5 * span / side - 0.5)
            for channel, span in enumerate(spans)
        ]
        np.testing.assert_allclose(spans, np.round(spans), atol=1e-3)
        np.testing.assert_allclose(starts, np.round(starts), atol=1e-3)
        height, width = np.round(spans)
        places = [
            np.clip(
                np.round(start) + (np.arange(side) + 0.5) * span / side - 0.5, 0, 19
            )
            for start, span in zip(starts, (height, width), strict=True)
        ]
        expected = ndimage.map_coordinates(
            noise, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest"
        )
        np.testing.assert_allclose(output[..., 2], expected, atol=1e-4)
        shares.append(height * width / side**2)
        aspects.append(width / height)
    assert 0.1 - 0.03 < min(shares) < 0.13
    assert 0.9 < max(shares) <= 1
    assert min(aspects) < 0.8
    assert max(aspects) > 1.25
