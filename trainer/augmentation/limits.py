"""Checks the settings of augmentation before a run; needs no TensorFlow."""

import math

from common.errors import ConfigError
from trainer.config import AugmentationConfig, TrainerConfig

# Pairs of settings that exclude each other, and what both do.
_ALTERNATIVES = (
    ("alternating_flip", "flip_left_right", "images are flipped horizontally"),
    ("random_resized_crop", "random_square_crop", "a part of each image is enlarged"),
    ("trivial_augment", "rand_augment_layers", "operations are drawn for each image"),
)


def check(config: TrainerConfig) -> None:
    """Refuses settings that do not fit the images or each other.

    Raises:
      ConfigError: saturation of gray images, an erasure or a border as large as the image,
        moves that reach beyond a reflected image, or two settings for one change.
    """
    wanted = config.augmentation
    if wanted.saturation and config.preprocessing.channels == 1:
        raise ConfigError(
            "setting 'augmentation.saturation' needs colour images",
            found="preprocessing.channels 1",
            tip="--set augmentation.saturation=0",
        )
    crop_px, image_px = config.preprocessing.crop_px, config.image_size_px
    for name, limit_px in (("pad_crop_px", crop_px), ("cutout_px", image_px)):
        if (given := getattr(wanted, name)) >= limit_px:
            raise ConfigError(
                f"setting 'augmentation.{name}' leaves nothing of some images",
                found=f"{given}",
                expected=f"less than their side, {limit_px} px",
                tip=f"--set augmentation.{name}={limit_px // 8}",
            )
    _check_pairs(wanted)
    if wanted.fill == "reflect":
        _check_reflection(config)


def _check_pairs(wanted: AugmentationConfig) -> None:
    """Refuses two settings that would do the same twice."""
    for one, other, what in _ALTERNATIVES:
        first, second = getattr(wanted, one), getattr(wanted, other)
        if first and second:
            raise ConfigError(
                f"{what} by one setting only",
                found=f"augmentation.{one} {_shown(first)}, augmentation.{other}"
                f" {_shown(second)}",
                tip=f"--set augmentation.{other}={_shown(type(second)())}",
            )


def _shown(value: float) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def reach_px(
    side_px: int, other_px: int, rotation_degrees: float, scale: float, shift: float
) -> int:
    """How far beyond the image `geometry.affine` may look along one axis.

    Args:
      side_px: length of the image along the axis.
      other_px: along the other one.
      rotation_degrees, scale, shift: as for `affine`.
    """
    half, other = ((0.5 + shift) * px for px in (side_px, other_px))
    angle = min(math.radians(rotation_degrees), math.atan2(other, half))
    farthest = (half * math.cos(angle) + other * math.sin(angle)) / (1 - scale)
    # One px more for rounding, and the neighbour of an interpolation.
    return max(0, math.ceil(farthest - side_px / 2)) + 1


def _check_reflection(config: TrainerConfig) -> None:
    """Refuses moves that reach beyond the image and its mirror images."""
    wanted, side_px = config.augmentation, config.image_size_px
    if wanted.rand_augment_layers or wanted.trivial_augment:
        raise ConfigError(
            "setting 'augmentation.fill' is 'reflect', and operations drawn at random move"
            " images farther than a reflection reaches",
            found="rand_augment_layers or trivial_augment",
            tip="--set augmentation.fill=edge",
        )
    moves = (wanted.rotation_degrees, wanted.scale, wanted.shift)
    if any(moves) and (reach := reach_px(side_px, side_px, *moves)) >= side_px:
        raise ConfigError(
            "setting 'augmentation.fill' is 'reflect', and moves reach beyond the"
            " reflected image",
            found=f"up to {reach} px outside an image of {side_px} px",
            expected=f"less than {side_px} px",
            tip="--set augmentation.fill=edge, or smaller rotation_degrees, scale or shift",
        )
