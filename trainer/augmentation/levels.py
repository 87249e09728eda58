"""Converts preprocessed images to levels of 0..255 and back, where that is possible."""

import dataclasses

import tensorflow as tf

from trainer.config import PreprocessingConfig

HIGHEST = 255.0


@dataclasses.dataclass(frozen=True)
class Levels:
    """Levels are `deviation * image + mean`, by channel or for all alike."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def of(self, images: tf.Tensor) -> tf.Tensor:
        """Levels of preprocessed images."""
        return images * tf.constant(self.deviation) + tf.constant(self.mean)

    def standardised(self, levels: tf.Tensor) -> tf.Tensor:
        """Preprocessed images of levels; those outside 0..255 are clipped."""
        clipped = tf.clip_by_value(levels, 0.0, HIGHEST)
        return (clipped - tf.constant(self.mean)) / tf.constant(self.deviation)

    def __str__(self) -> str:
        mean, deviation = (
            "/".join(f"{number:g}" for number in numbers)
            for numbers in (self.mean, self.deviation)
        )
        return f"{mean} ± {deviation}"


def known(config: PreprocessingConfig) -> Levels | None:
    """The conversion that follows from the settings alone.

    None for `per_image`, whose mean and deviation are lost, and for `dataset`, where they
    are measured during the run.
    """
    if config.standardise == "minus_one_to_one":
        return Levels((HIGHEST / 2,), (HIGHEST / 2,))
    if config.standardise == "fixed":
        return Levels(config.mean, config.deviation)
    return None
