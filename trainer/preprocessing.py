"""Bytes to a standardised image: deterministic, the same in training and in serving.

`preprocessing_fn` is the entry point that Transform calls by its dotted path. TFX reloads
this module, so it holds functions only.
"""

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from schema import features
from trainer.config import PreprocessingConfig, from_json

# Below half a gray level a channel carries no information; dividing by less would turn
# rounding noise into signal.
MIN_STANDARD_DEVIATION = 0.5


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
    images = decode_and_crop(inputs[features.ENCODED], config)
    return {
        features.IMAGE_XF: standardise(images, config),
        features.LABEL_XF: tf.reshape(inputs[features.LABEL], [-1]),
    }


def decode_and_crop(encoded: tf.Tensor, config: PreprocessingConfig) -> tf.Tensor:
    """Images of one size from encoded bytes.

    Args:
      encoded: string tensor of any shape, one JPEG or PNG an element.
      config: `resize_px` is the length of the shorter side after resizing with the ratio
        kept (by `interpolation`, with anti-aliasing when it shrinks); of that, the central
        square of `crop_px` is kept.

    Returns:
      float32 [batch, crop_px, crop_px, channels] in [0, 255].
    """

    def decode_one(one: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_image(
            one, channels=config.channels, expand_animations=False
        )
        image.set_shape([None, None, config.channels])
        resized = _resize_short_side(image, config.resize_px, config.interpolation)
        return _crop_centre(resized, config.crop_px)

    images = tf.map_fn(
        decode_one, tf.reshape(encoded, [-1]), fn_output_signature=tf.float32
    )
    images.set_shape([None, config.crop_px, config.crop_px, config.channels])
    return images


def standardise(images: tf.Tensor, config: PreprocessingConfig) -> tf.Tensor:
    """Images with the mean and variance that `config.standardise` names.

    Args:
      images: float32 [batch, height, width, channels] in [0, 255].
      config: `per_image` gives each image zero mean and unit variance over all its
        pixels and channels; `dataset` subtracts the channel means of the train split
        and divides by its channel standard deviations (Transform's analyzers, so only
        inside `preprocessing_fn`); `minus_one_to_one` maps 0..255 to -1..1; `fixed`
        subtracts `config.mean` and divides by `config.deviation`.

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


def _resize_short_side(
    image: tf.Tensor, short_side_px: int, interpolation: str
) -> tf.Tensor:
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    scaled = tf.round(sides * (short_side_px / tf.reduce_min(sides)))
    # Rounding must not take the shorter side below its target.
    size = tf.maximum(tf.cast(scaled, tf.int32), short_side_px)
    resized = tf.image.resize(image, size, interpolation, antialias=True)
    if interpolation == "bicubic":
        # Cubic weights are negative in places and overshoot at edges.
        resized = tf.clip_by_value(resized, 0.0, 255.0)
    return resized


def _crop_centre(image: tf.Tensor, side_px: int) -> tf.Tensor:
    offset = (tf.shape(image)[:2] - side_px) // 2
    return tf.slice(
        image,
        tf.concat([offset, [0]], axis=0),
        [side_px, side_px, image.shape[-1]],
    )
