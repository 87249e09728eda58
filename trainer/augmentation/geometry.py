"""Flips, rotations and crops, and the central crop that evaluation takes."""

import math

import tensorflow as tf

from common import errors
from trainer.augmentation import limits, projection, rectangles, seeds

# Width to height of a random resized crop.
CROP_ASPECTS = (3 / 4, 4 / 3)


def flip_left_right(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirrors each image left to right with probability 0.5."""
    is_flipped = _draws(images, seed) < 0.5
    return _mirror(images, is_rows=tf.zeros_like(is_flipped), is_columns=is_flipped)


def alternating_flip(
    images: tf.Tensor, seed: tf.Tensor, is_mirrored: tf.Tensor | None = None
) -> tf.Tensor:
    """Mirrors left to right the images of `is_mirrored`, bool [batch].

    None, where the epoch is unknown, mirrors each with probability 0.5.
    """
    if is_mirrored is None:
        return flip_left_right(images, seed)
    is_columns = is_mirrored[:, None]
    return _mirror(images, is_rows=tf.zeros_like(is_columns), is_columns=is_columns)


def flip_up_down(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirrors each image upside down with probability 0.5."""
    is_flipped = _draws(images, seed) < 0.5
    return _mirror(images, is_rows=is_flipped, is_columns=tf.zeros_like(is_flipped))


def rot90(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Rotates each square image by 0, 90, 180 or 270 degrees, equally often."""
    quarters = _draws(images, seed, 0, 4, tf.int32)
    # Not ==, which inside a tf.Graph compares objects.
    is_one, is_two, is_three = (tf.equal(quarters, turns) for turns in (1, 2, 3))
    images = tf.where(
        (is_one | is_three)[:, :, None, None],
        tf.transpose(images, [0, 2, 1, 3]),
        images,
    )
    # A quarter turn against the clock is a transposition and a mirror of the rows.
    return _mirror(images, is_rows=is_one | is_two, is_columns=is_two | is_three)


def pad_crop(
    images: tf.Tensor, seed: tf.Tensor, pad_px: int, fill: str = "zero"
) -> tf.Tensor:
    """Adds `pad_px` px on each side, then crops each image at random to its old size.

    Args:
      pad_px: less than each side.
      fill: zeros ('zero'), the nearest px ('edge'), or the image mirrored at its edge px
        without repeating them ('reflect').

    Reference: He et al., arXiv:1512.03385, section 4.2, with 4 px.
    """
    height_px, width_px = images.shape[1:3]
    if fill == "reflect":
        top = _draws(images, seed, -pad_px, pad_px + 1, tf.int32, fold=0)
        left = _draws(images, seed, -pad_px, pad_px + 1, tf.int32, fold=1)
        return _gather_px(
            images,
            _reflected(top + tf.range(height_px), height_px),
            _reflected(left + tf.range(width_px), width_px),
        )
    sides = [pad_px, pad_px]
    if fill == "edge":
        padded = images
        for axis, size_px in ((1, height_px), (2, width_px)):
            places = tf.range(-pad_px, size_px + pad_px)
            places = tf.clip_by_value(places, 0, size_px - 1)
            padded = tf.gather(padded, places, axis=axis)
    else:
        padded = tf.pad(images, [[0, 0], sides, sides, [0, 0]])
    return _crop_at_random(padded, seed, height_px, width_px)


def random_crop(images: tf.Tensor, seed: tf.Tensor, image_size_px: int) -> tf.Tensor:
    """Crops each image at random to a square of `image_size_px`.

    Raises:
      ConfigError: the images are smaller than that.
    """
    _check_size(images, image_size_px)
    return _crop_at_random(images, seed, image_size_px, image_size_px)


def random_square_crop(
    images: tf.Tensor, seed: tf.Tensor, smallest_share: float
) -> tf.Tensor:
    """Cuts a random square out of each square image and enlarges it to the old size.

    Its side is uniform between `smallest_share` of the image's side and all of it; its place
    is uniform.
    """
    side_px = images.shape[1]
    cut_px = side_px * _draws(images, seed, smallest_share, 1.0, fold=0)
    left = (side_px - cut_px) * _draws(images, seed, fold=1)
    top = (side_px - cut_px) * _draws(images, seed, fold=2)
    zoom = cut_px / side_px
    zero = tf.zeros_like(zoom)
    # Px centres lie at halves.
    rows = [zoom, zero, left + 0.5 * (zoom - 1), zero, zoom, top + 0.5 * (zoom - 1)]
    return projection.project(images, rows, fill_mode="NEAREST")


def random_resized_crop(
    images: tf.Tensor, seed: tf.Tensor, smallest_share: float
) -> tf.Tensor:
    """Cuts a random rectangle out of each square image and resizes it to the whole image.

    As torchvision's RandomResizedCrop except at the rim: the bilinear interpolation sees the
    px beside the rectangle, where torchvision repeats the rectangle's own.

    The area of the rectangle is between `smallest_share` of the image's and all of it; its
    width is 3/4 to 4/3 of its height. Where ten tries do not fit, the image stays unchanged.

    Reference: Szegedy et al., arXiv:1409.4842, section 6, with 0.08.
    """
    height_px, width_px = images.shape[1:3]
    cut = rectangles.draw(
        images, seed, (smallest_share, 1.0), CROP_ASPECTS, (height_px, width_px)
    )
    # With the edge repeated once, no sample lies outside; this op is faster than a projection.
    bordered = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="SYMMETRIC")
    starts, ends = [], []
    for side_px, first, length in (
        (height_px, cut.top, cut.height),
        (width_px, cut.left, cut.width),
    ):
        zoom = tf.where(cut.is_found, tf.cast(length, tf.float32) / side_px, 1.0)
        start = tf.cast(tf.where(cut.is_found, first, 0), tf.float32)
        # Px centres lie at halves, and the border is 1 px before them.
        sample = start + 0.5 * zoom + 0.5
        starts.append(sample / (side_px + 1))
        ends.append((sample + (side_px - 1) * zoom) / (side_px + 1))
    cropped = tf.raw_ops.CropAndResize(
        image=bordered,
        boxes=tf.concat([*starts, *ends], axis=1),
        box_ind=tf.range(tf.shape(images)[0]),
        crop_size=[height_px, width_px],
    )
    return tf.ensure_shape(cropped, images.shape)


def affine(
    images: tf.Tensor,
    seed: tf.Tensor,
    rotation_degrees: float = 0.0,
    scale: float = 0.0,
    shift: float = 0.0,
    fill: str = "zero",
) -> tf.Tensor:
    """Rotates, resizes and shifts each image about its centre, in one bilinear interpolation.

    Args:
      rotation_degrees: largest angle, either way.
      scale: the size changes by a factor between 1 - scale and 1 + scale.
      shift: largest move along each axis, as a share of that side.
      fill: as for `pad_crop`.
    """
    height_px, width_px = images.shape[1:3]
    largest_angle = math.radians(rotation_degrees)
    angle = _draws(images, seed, -largest_angle, largest_angle, fold=0)
    factor = _draws(images, seed, 1.0 - scale, 1.0 + scale, fold=1)
    right = width_px * _draws(images, seed, -shift, shift, fold=2)
    down = height_px * _draws(images, seed, -shift, shift, fold=3)
    cosine, sine = tf.cos(angle) / factor, tf.sin(angle) / factor
    centre_x, centre_y = (width_px - 1) / 2, (height_px - 1) / 2
    from_x, from_y = centre_x + right, centre_y + down
    left_px = top_px = 0
    if fill == "reflect":
        moves = (rotation_degrees, scale, shift)
        left_px = limits.reach_px(width_px, height_px, *moves)
        top_px = limits.reach_px(height_px, width_px, *moves)
        borders = [[0, 0], [top_px, top_px], [left_px, left_px], [0, 0]]
        images = tf.pad(images, borders, mode="REFLECT")
    # The op takes the inverse: from the place of a px in the result to its source.
    return projection.project(
        images,
        [
            cosine,
            -sine,
            left_px + centre_x - cosine * from_x + sine * from_y,
            sine,
            cosine,
            top_px + centre_y - sine * from_x - cosine * from_y,
        ],
        fill_mode="CONSTANT" if fill == "zero" else "NEAREST",
        size_px=(height_px, width_px),
    )


def central_crop(images: tf.Tensor, image_size_px: int) -> tf.Tensor:
    """The central square of `image_size_px`; an odd px is cut off below and on the right.

    For evaluation and serving, where training crops at random.

    Raises:
      ConfigError: the images are smaller than that.
    """
    _check_size(images, image_size_px)
    top = (images.shape[1] - image_size_px) // 2
    left = (images.shape[2] - image_size_px) // 2
    return images[:, top : top + image_size_px, left : left + image_size_px, :]


def _draws(
    images: tf.Tensor,
    seed: tf.Tensor,
    low: float = 0.0,
    high: float = 1.0,
    dtype: tf.DType = tf.float32,
    fold: int | None = None,
) -> tf.Tensor:
    """A number for each image, [batch, 1], uniform in [low, high)."""
    if fold is not None:
        seed = seeds.fold(seed, fold)
    return tf.random.stateless_uniform([tf.shape(images)[0], 1], seed, low, high, dtype)


def _reflected(places: tf.Tensor, size_px: int) -> tf.Tensor:
    """Places along an axis, those outside mirrored at the first and the last px."""
    return size_px - 1 - tf.abs(size_px - 1 - tf.abs(places))


def _mirror(images: tf.Tensor, is_rows: tf.Tensor, is_columns: tf.Tensor) -> tf.Tensor:
    height_px, width_px = images.shape[1:3]
    rows, columns = tf.range(height_px)[None, :], tf.range(width_px)[None, :]
    return _gather_px(
        images,
        tf.where(is_rows, height_px - 1 - rows, rows),
        tf.where(is_columns, width_px - 1 - columns, columns),
    )


def _crop_at_random(
    images: tf.Tensor, seed: tf.Tensor, height_px: int, width_px: int
) -> tf.Tensor:
    stored_height_px, stored_width_px = images.shape[1:3]
    top = _draws(images, seed, 0, stored_height_px - height_px + 1, tf.int32, fold=0)
    left = _draws(images, seed, 0, stored_width_px - width_px + 1, tf.int32, fold=1)
    return _gather_px(images, top + tf.range(height_px), left + tf.range(width_px))


def _gather_px(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """The px at `rows` [batch, new height] and `columns` [batch, new width] of each image.

    One gather over all px of the batch is twice as fast as a slice an image in `map_fn`, and
    as `reverse` and `where` for a flip.
    """
    stored_height_px, stored_width_px, channels = images.shape[1:]
    first_rows = tf.range(tf.shape(images)[0])[:, None] * stored_height_px
    first_px = (first_rows + rows) * stored_width_px
    indices = first_px[:, :, None] + columns[:, None, :]
    return tf.gather(tf.reshape(images, [-1, channels]), indices)


def _check_size(images: tf.Tensor, image_size_px: int) -> None:
    height_px, width_px = images.shape[1:3]
    if image_size_px > min(height_px, width_px):
        raise errors.ConfigError(
            f"cannot crop images to {image_size_px} px: they are smaller",
            found=f"{height_px} x {width_px} px",
            expected=f"at least {image_size_px} x {image_size_px} px",
            tip="let preprocessing resize the images to that size or more",
        )
