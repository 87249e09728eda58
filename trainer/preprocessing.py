"""Turns bytes into a standardised image, in training and serving alike; deterministic.

Transform calls `preprocessing_fn` by its dotted path. TFX reloads this module, so it holds
functions only.
"""

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from schema import features, images
from trainer import upright
from trainer.config import PreprocessingConfig, from_json

# A deviation below half a gray level is rounding noise, which division would amplify.
MIN_STANDARD_DEVIATION = 0.5
# Kernel of `ScaleAndTranslate`, and its radius in px of the coarser image.
_KERNELS = {"bilinear": ("triangle", 1.0), "bicubic": ("keyscubic", 2.0)}


def preprocessing_fn(
    inputs: dict[str, tf.Tensor], custom_config: dict[str, Any]
) -> dict[str, tf.Tensor]:
    """Transform's entry point.

    Args:
      inputs: raw features of a batch; `image/encoded` and, outside serving, the label.
      custom_config: `{'preprocessing': PreprocessingConfig as a dict}`.

    Returns:
      `image_xf`: float32 [batch, crop_px, crop_px, channels], standardised;
      `label_xf`: int64 [batch].
    """
    config = from_json(PreprocessingConfig, custom_config["preprocessing"])
    decoded = decode_and_crop(inputs[features.ENCODED], config)
    return {
        features.IMAGE_XF: standardise(decoded, config),
        features.LABEL_XF: tf.reshape(inputs[features.LABEL], [-1]),
    }


def decode_and_crop(encoded: tf.Tensor, config: PreprocessingConfig) -> tf.Tensor:
    """Upright images of one size from encoded bytes.

    Args:
      encoded: string tensor of any shape, one JPEG or PNG an element.
      config: `resize_px` is the length of the shorter side after resizing with the ratio
        kept (by `interpolation`, with anti-aliasing when it shrinks); of that, the central
        square of `crop_px` is kept.

    Returns:
      float32 [batch, crop_px, crop_px, channels] in [0, 255].

    Raises:
      tf.errors.InvalidArgumentError: when run, an image cannot be decoded, or one of its
        sides is more than `images.MAX_ASPECT_RATIO` times the other.
    """
    encoded = tf.reshape(encoded, [-1])
    turns = upright.turns(upright.read(encoded))

    def decode_one(one: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        encoded_one, rounding = one
        image = tf.io.decode_image(
            encoded_one, channels=config.channels, expand_animations=False
        )
        image.set_shape([None, None, config.channels])
        return _resize_and_crop(image, config, rounding)

    # An odd px is cut off the upright image at the bottom and on the right.
    rounding = tf.cast(turns[:, :2], tf.float32) - config.crop_px
    cropped, sides = tf.map_fn(
        decode_one,
        (encoded, rounding),
        fn_output_signature=(tf.float32, tf.TensorSpec([2], tf.float32)),
    )
    with tf.control_dependencies(_checks(sides)):
        cropped = tf.reshape(
            cropped, [-1, config.crop_px, config.crop_px, config.channels]
        )
    if config.interpolation == "bicubic":
        # Cubic weights are negative in places and overshoot at edges.
        cropped = tf.clip_by_value(cropped, 0.0, 255.0)
    return upright.turn(cropped, turns)


def standardise(images: tf.Tensor, config: PreprocessingConfig) -> tf.Tensor:
    """Images with the mean and variance of `config.standardise`.

    Args:
      images: float32 [batch, height, width, channels] in [0, 255].
      config: `per_image` gives each image zero mean and unit variance over all pixels and
        channels; `dataset` subtracts the channel means of the train split and divides by
        its channel standard deviations (with Transform's analyzers, so only inside
        `preprocessing_fn`); `minus_one_to_one` maps 0..255 to -1..1; `fixed` subtracts
        `config.mean` and divides by `config.deviation`.

    Returns:
      float32 of the same shape.
    """
    if config.standardise == "per_image":
        return tf.image.per_image_standardization(images)
    if config.standardise == "minus_one_to_one":
        return images / 127.5 - 1.0
    if config.standardise == "fixed":
        return (images - tf.constant(config.mean)) / tf.constant(config.deviation)
    pixels = tf.reshape(images, [-1, config.channels])
    mean = tft.mean(pixels, reduce_instance_dims=False)
    deviation = tf.sqrt(tft.var(pixels, reduce_instance_dims=False))
    return (images - mean) / tf.maximum(deviation, MIN_STANDARD_DEVIATION)


def _checks(sides: tf.Tensor) -> list[tf.Operation]:
    """Operations that fail where an image is too narrow; none when run eagerly.

    Args:
      sides: float32 [batch, 2], height and width in px of each image.
    """
    longer, shorter = tf.reduce_max(sides, axis=1), tf.reduce_min(sides, axis=1)
    # `tf.debugging.Assert` would put a condition around it.
    check = tf.raw_ops.Assert(
        condition=tf.reduce_all(longer <= images.MAX_ASPECT_RATIO * shorter),
        data=[f"of an image {images.TOO_NARROW}"],
    )
    return [check] if check else []


def _resize_and_crop(
    image: tf.Tensor, config: PreprocessingConfig, rounding: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Central square of the resized image, sampled from the source px under it.

    Equal to `tf.image.resize` of the whole image and a crop, but memory and time depend on
    the crop and the px under it, not on the longer side. Few operations, because each one
    costs time beside the decoding of a small image.

    Args:
      image: uint8 [height, width, channels].
      config: see `decode_and_crop`.
      rounding: float32 [2], added to the sides of the resized image before they are halved
        to find the corner of the crop.

    Returns:
      float32 [1, crop_px, crop_px, channels], and float32 [2], height and width in px.
    """
    resize_px, crop_px = config.resize_px, config.crop_px
    kernel, radius_px = _KERNELS[config.interpolation]
    sides = tf.shape(image)[:2]
    lengths = tf.cast(sides, tf.float32)
    shorter = tf.reduce_min(lengths)
    resized = tf.round(lengths * (resize_px / shorter))
    scale = resized / lengths
    offset = tf.floor((resized + rounding) * 0.5)
    # Half of the crop, the radius of the kernel, and 1 px for rounding, in px of the source
    # where it is shrunk; 2 px more than the radius where it is enlarged.
    reach = shorter * ((crop_px / 2 + radius_px + 1) / resize_px) + (radius_px + 2)
    start = tf.floor(tf.maximum(lengths * 0.5 - reach, 0.0))
    first = tf.cast(start, tf.int32)
    region = tf.strided_slice(image, first, sides - first, [1, 1])
    cropped = tf.raw_ops.ScaleAndTranslate(
        images=region[tf.newaxis],
        size=[crop_px, crop_px],
        scale=scale,
        translation=start * scale - offset,
        kernel_type=kernel,
        antialias=True,
    )
    return cropped, lengths
