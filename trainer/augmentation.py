"""Random changes to training images, a batch at a time; and the crop that evaluation takes.

Images are float32 [batch, height, width, channels], already preprocessed: 0 is about the
mean. Every random function takes a seed of two integers and draws each image anew from it:
equal seeds give equal images, so a resumed run repeats what it would have seen.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from schema import errors
from trainer import lookup


def flip_left_right(
    images: tf.Tensor, seed: tf.Tensor, probability: float = 0.5
) -> tf.Tensor:
    """Mirrors each image left to right with `probability`."""
    batch = tf.shape(images)[0]
    height_px, width_px = images.shape[1:3]
    is_flipped = tf.random.stateless_uniform([batch, 1], seed) < probability
    columns = tf.range(width_px)[None, :]
    columns = tf.where(is_flipped, width_px - 1 - columns, columns)
    return _gather_px(
        images, tf.tile(tf.range(height_px)[None, :], [batch, 1]), columns
    )


def pad_crop(images: tf.Tensor, seed: tf.Tensor, pad_px: int) -> tf.Tensor:
    """Adds `pad_px` zeros on each side, then crops each image at random to its old size.

    Reference: He et al., arXiv:1512.03385, section 4.2, with 4 px.
    """
    height_px, width_px = images.shape[1:3]
    sides = [pad_px, pad_px]
    padded = tf.pad(images, [[0, 0], sides, sides, [0, 0]])
    return _crop_at_random(padded, seed, height_px, width_px)


def random_crop(images: tf.Tensor, seed: tf.Tensor, image_size_px: int) -> tf.Tensor:
    """Crops each image at random to a square of `image_size_px`.

    Raises:
      ConfigError: the images are smaller than that.
    """
    _check_size(images, image_size_px)
    return _crop_at_random(images, seed, image_size_px, image_size_px)


def central_crop(images: tf.Tensor, image_size_px: int) -> tf.Tensor:
    """The central square of `image_size_px`; an odd px left over stays below and right.

    Not random: for evaluation and serving, where training crops at random.

    Raises:
      ConfigError: the images are smaller than that.
    """
    _check_size(images, image_size_px)
    top = (images.shape[1] - image_size_px) // 2
    left = (images.shape[2] - image_size_px) // 2
    return images[:, top : top + image_size_px, left : left + image_size_px, :]


Augmentation = Callable[..., tf.Tensor]

AUGMENTATIONS: dict[str, Augmentation] = {
    "flip_left_right": flip_left_right,
    "pad_crop": pad_crop,
    "random_crop": random_crop,
}


def augment(
    images: tf.Tensor,
    steps: Sequence[tuple[str, Mapping[str, Any]]],
    seed: tf.Tensor,
) -> tf.Tensor:
    """Images after all `steps` in turn, each with a seed of its own derived from `seed`.

    Args:
      images: float32 [batch, height, width, channels], all but the batch static.
      steps: names out of `AUGMENTATIONS` with their keyword arguments, as in
        `("pad_crop", {"pad_px": 4})`.
      seed: integers [2].

    Raises:
      ConfigError: a name is unknown, or the images are too small for a crop.
    """
    for place, (name, arguments) in enumerate(steps):
        function = lookup.find_by_name(AUGMENTATIONS, name, "augmentation")
        step_seed = tf.random.experimental.stateless_fold_in(seed, place)
        images = function(images, step_seed, **arguments)
    return images


def _crop_at_random(
    images: tf.Tensor, seed: tf.Tensor, height_px: int, width_px: int
) -> tf.Tensor:
    batch = tf.shape(images)[0]
    stored_height_px, stored_width_px = images.shape[1:3]
    top = _offsets(batch, seed, 0, stored_height_px - height_px)
    left = _offsets(batch, seed, 1, stored_width_px - width_px)
    return _gather_px(images, top + tf.range(height_px), left + tf.range(width_px))


def _gather_px(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """The px at `rows` [batch, new height] and `columns` [batch, new width] of each image.

    One gather over all px of the batch: twice as fast as a slice an image in `map_fn`, and
    as `reverse` and `where` for a flip.
    """
    stored_height_px, stored_width_px, channels = images.shape[1:]
    first_rows = tf.range(tf.shape(images)[0])[:, None] * stored_height_px
    first_px = (first_rows + rows) * stored_width_px
    indices = first_px[:, :, None] + columns[:, None, :]
    return tf.gather(tf.reshape(images, [-1, channels]), indices)


def _offsets(batch: tf.Tensor, seed: tf.Tensor, axis: int, largest: int) -> tf.Tensor:
    axis_seed = tf.random.experimental.stateless_fold_in(seed, axis)
    return tf.random.stateless_uniform([batch, 1], axis_seed, 0, largest + 1, tf.int32)


def _check_size(images: tf.Tensor, image_size_px: int) -> None:
    height_px, width_px = images.shape[1:3]
    if image_size_px > min(height_px, width_px):
        raise errors.ConfigError(
            f"cannot crop images to {image_size_px} px: they are smaller",
            found=f"{height_px} x {width_px} px",
            expected=f"at least {image_size_px} x {image_size_px} px",
            tip="let preprocessing resize the images to that size or more",
        )
