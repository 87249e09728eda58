"""Shows a few images after augmentation."""

import numpy as np
import tensorflow as tf

from trainer import preprocessing
from trainer.augmentation import alternation, geometry, recipe
from trainer.config import TrainerConfig


def preview(encoded: list[bytes], config: TrainerConfig, variants: int) -> np.ndarray:
    """The images as preprocessed, and as the first `variants` steps would see them.

    For `alternating_flip` each step is an epoch. Standardisation by data set takes mean and
    variance of these images alone, so light differs a little from that of a training.
    Standardisation is undone with the numbers of each image.

    Args:
      encoded: n JPEGs or PNGs; mixed images take partners among them.
      config: preprocessing, augmentation and `train.seed`.
      variants: changed versions of each image.

    Returns:
      uint8 [n, 1 + variants, image_size_px, image_size_px, channels]; the first of each
      row is the centre that evaluation sees.
    """
    levels = preprocessing.decode_and_crop(
        tf.constant(encoded), config.preprocessing
    ).numpy()
    images = _standardise(levels, config)
    labels = tf.range(len(encoded), dtype=tf.int64)
    plain = geometry.central_crop(tf.constant(images), config.image_size_px)
    first_sides = alternation.first_sides(len(encoded), config.train.seed)
    columns = [plain.numpy()]
    for step in range(variants):
        seed = tf.constant([config.train.seed, step], tf.int64)
        changed, _ = recipe.augment(
            tf.constant(images),
            labels,
            config,
            seed,
            len(encoded),
            alternation.is_mirrored(tf.constant(first_sides), step),
        )
        columns.append(changed.numpy())
    slope, offset = _way_back(images, levels)
    shown = np.stack(columns, axis=1) * slope[:, None] + offset[:, None]
    return np.clip(np.rint(shown), 0, 255).astype(np.uint8)


def _standardise(levels: np.ndarray, config: TrainerConfig) -> np.ndarray:
    if config.preprocessing.standardise != "dataset":
        return preprocessing.standardise(
            tf.constant(levels), config.preprocessing
        ).numpy()
    deviation = levels.std(axis=(0, 1, 2))
    limited = np.maximum(deviation, preprocessing.MIN_STANDARD_DEVIATION)
    return (levels - levels.mean(axis=(0, 1, 2))) / limited


def _way_back(images: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and offset of each image's channels that turn `images` into `levels`."""
    axes = (1, 2)
    spread = np.maximum(images.std(axis=axes, keepdims=True), 1e-6)
    slope = levels.std(axis=axes, keepdims=True) / spread
    mean = images.mean(axis=axes, keepdims=True)
    return slope, levels.mean(axis=axes, keepdims=True) - slope * mean
