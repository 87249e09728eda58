"""Policies that draw an operation for each image: RandAugment and TrivialAugment.

Operations and strengths are those of torchvision's transforms of these names: moves (shears,
shifts by whole px, rotation, in one bilinear interpolation), contrast, colour (of colour
images) and sharpness; and brightness, posterize, solarize, autocontrast and equalize, which
need levels of 0..255 (`levels.known`).
"""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from trainer.augmentation import operations, projection, seeds
from trainer.augmentation.levels import Levels

STRENGTHS = 31  # the weakest is 0
_MOVES = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")


@dataclasses.dataclass(frozen=True)
class Range:
    """How strong an operation is at each of `STRENGTHS`.

    Attributes:
      amounts: float [STRENGTHS]. Shears in px a px, shifts in px, rotation in degrees;
        others as in `operations`.
      is_signed: half of the images get the negative amount.
    """

    amounts: np.ndarray
    is_signed: bool = False


def rand_augment(
    images: tf.Tensor,
    seed: tf.Tensor,
    layers: int,
    magnitude: int,
    levels: Levels | None = None,
    fill: str = "zero",
) -> tf.Tensor:
    """Each image through `layers` operations, drawn with equal probabilities.

    Args:
      layers: N of the paper.
      magnitude: M, strength of all operations, 0 to `STRENGTHS` - 1.
      levels: conversion to levels of 0..255; None leaves out operations that need it.
      fill: what moves bring in: 'zero', or 'edge', the nearest px.

    Reference: Cubuk et al., arXiv:1909.13719, with the ranges of torchvision's RandAugment.
    """
    side_px = images.shape[2], images.shape[1]
    ranges = _ranges(
        shear=0.3,
        shift_px=[150 / 331 * px for px in side_px],
        rotation_degrees=30.0,
        blend=0.9,
        lost_bits=4,
    )
    for layer in range(layers):
        layer_seed = seeds.fold(seed, layer)
        strengths = tf.fill([tf.shape(images)[0]], magnitude)
        images = _change(images, layer_seed, strengths, ranges, levels, fill)
    return images


def trivial_augment(
    images: tf.Tensor, seed: tf.Tensor, levels: Levels | None = None, fill: str = "zero"
) -> tf.Tensor:
    """Each image through one operation at one strength, drawn with equal probabilities.

    Args:
      levels, fill: as for `rand_augment`.

    Reference: Mueller and Hutter, arXiv:2103.10158, with the ranges of
      torchvision's TrivialAugmentWide.
    """
    ranges = _ranges(
        shear=0.99,
        shift_px=[32.0, 32.0],
        rotation_degrees=135.0,
        blend=0.99,
        lost_bits=6,
    )
    strengths = tf.random.stateless_uniform(
        [tf.shape(images)[0]], seeds.fold(seed, 2), 0, STRENGTHS, tf.int32
    )
    return _change(images, seed, strengths, ranges, levels, fill)


def names(channels: int, levels: Levels | None) -> list[str]:
    """The operations to draw from, in a fixed order."""
    return [
        "identity",
        *_MOVES,
        *(name for name in operations.RELATIVE if name != "colour" or channels > 1),
        *(operations.ON_LEVELS if levels else ()),
    ]


def _ranges(
    *,
    shear: float,
    shift_px: list[float],
    rotation_degrees: float,
    blend: float,
    lost_bits: int,
) -> dict[str, Range]:
    rising = np.linspace(0.0, 1.0, STRENGTHS)
    none = Range(np.zeros(STRENGTHS))
    bits = 8 - np.round(np.arange(STRENGTHS) / ((STRENGTHS - 1) / lost_bits))
    blended = Range(blend * rising, is_signed=True)
    return {
        **dict.fromkeys(("identity", "autocontrast", "equalize"), none),
        **dict.fromkeys(("shear_x", "shear_y"), Range(shear * rising, is_signed=True)),
        "translate_x": Range(np.trunc(shift_px[0] * rising), is_signed=True),
        "translate_y": Range(np.trunc(shift_px[1] * rising), is_signed=True),
        "rotate": Range(rotation_degrees * rising, is_signed=True),
        **dict.fromkeys(("contrast", "colour", "sharpness", "brightness"), blended),
        "posterize": Range(bits),
        "solarize": Range(255.0 * (1 - rising)),
    }


def _change(
    images: tf.Tensor,
    seed: tf.Tensor,
    strengths: tf.Tensor,
    ranges: Mapping[str, Range],
    levels: Levels | None,
    fill: str,
) -> tf.Tensor:
    """Each image through one operation, drawn, at its strength, int32 [batch].

    Images of one operation are computed together, so that none goes through all of them.
    """
    drawn_from = names(images.shape[3], levels)
    batch = tf.shape(images)[:1]
    number = tf.random.stateless_uniform(
        batch, seeds.fold(seed, 0), 0, len(drawn_from), tf.int32
    )
    is_negative = tf.random.stateless_uniform(batch, seeds.fold(seed, 1)) < 0.5
    table = np.array([ranges[name].amounts for name in drawn_from], np.float32)
    is_signed = tf.gather([ranges[name].is_signed for name in drawn_from], number)
    amount = tf.gather_nd(table, tf.stack([number, strengths], axis=1))
    amount = tf.where(is_signed & is_negative, -amount, amount)
    kinds = [_MOVES if name in _MOVES else (name,) for name in drawn_from]
    groups = list(dict.fromkeys(kinds))
    group = tf.gather([groups.index(kind) for kind in kinds], number)
    places = tf.dynamic_partition(tf.range(batch[0]), group, len(groups))
    changed = []
    for kind, members in zip(groups, places, strict=True):
        chosen, amounts = tf.gather(images, members), tf.gather(amount, members)
        if kind == _MOVES:
            by_name = {
                name: tf.where(
                    tf.equal(tf.gather(number, members), drawn_from.index(name)),
                    amounts,
                    0.0,
                )
                for name in _MOVES
            }
            chosen = _move(chosen, by_name, fill)
        elif kind != ("identity",):
            chosen = _adjust(chosen, kind[0], amounts, levels)
        changed.append(chosen)
    return tf.ensure_shape(tf.dynamic_stitch(places, changed), images.shape)


def _adjust(
    images: tf.Tensor, name: str, amounts: tf.Tensor, levels: Levels | None
) -> tf.Tensor:
    operation = (operations.RELATIVE | operations.ON_LEVELS)[name]
    if levels is None:
        return operation(images, amounts)
    return levels.standardised(operation(levels.of(images), amounts))


def _move(images: tf.Tensor, amounts: Mapping[str, tf.Tensor], fill: str) -> tf.Tensor:
    """Images sheared about their upper left corner, shifted or turned about their centre.

    Args:
      amounts: float32 [batch] of each of `_MOVES`; one of them is not 0 for an image.
      fill: what comes in.
    """
    shear_x, shear_y, right, down, degrees = (amounts[name][:, None] for name in _MOVES)
    angle = degrees * (math.pi / 180)
    cosine, sine = tf.cos(angle), tf.sin(angle)
    centre_y, centre_x = ((px - 1) / 2 for px in images.shape[1:3])
    # Px centres lie at halves, hence half of a shear.
    return projection.project(
        images,
        [
            cosine,
            shear_x - sine,
            centre_x * (1 - cosine) + centre_y * sine + shear_x / 2 - right,
            shear_y + sine,
            cosine,
            centre_y * (1 - cosine) - centre_x * sine + shear_y / 2 - down,
        ],
        fill_mode="CONSTANT" if fill == "zero" else "NEAREST",
    )
