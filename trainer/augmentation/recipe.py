"""The steps of augmentation that a configuration asks for, and their order."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from trainer import lookup
from trainer.augmentation import (
    erasing,
    geometry,
    levels,
    light,
    mixing,
    policies,
    seeds,
)
from trainer.config import TrainerConfig

Augmentation = Callable[..., tf.Tensor]
Step = tuple[str, Mapping[str, Any]]

AUGMENTATIONS: dict[str, Augmentation] = {
    "pad_crop": geometry.pad_crop,
    "random_square_crop": geometry.random_square_crop,
    "random_resized_crop": geometry.random_resized_crop,
    "random_crop": geometry.random_crop,
    "affine": geometry.affine,
    "flip_left_right": geometry.flip_left_right,
    "alternating_flip": geometry.alternating_flip,
    "flip_up_down": geometry.flip_up_down,
    "rot90": geometry.rot90,
    "rand_augment": policies.rand_augment,
    "trivial_augment": policies.trivial_augment,
    "brightness": light.brightness,
    "contrast": light.contrast,
    "saturation": light.saturation,
    "salt_and_pepper": erasing.salt_and_pepper,
    "cutout": erasing.cutout,
    "random_erasing": erasing.random_erasing,
}

MIXING: dict[str, Callable[..., tuple[tf.Tensor, tf.Tensor]]] = {
    "mixup": mixing.mixup,
    "cutmix": mixing.cutmix,
}


def steps_of(config: TrainerConfig, is_mirrored: tf.Tensor | None = None) -> list[Step]:
    """The steps that `config` asks for, in order: geometry, then light, then erasures.

    `is_mirrored` is for `geometry.alternating_flip`.
    """
    wanted = config.augmentation
    steps: list[Step] = []
    fill = {} if wanted.fill == "zero" else {"fill": wanted.fill}
    if wanted.pad_crop_px:
        steps.append(("pad_crop", {"pad_px": wanted.pad_crop_px, **fill}))
    for name in ("random_square_crop", "random_resized_crop"):
        if share := getattr(wanted, name):
            steps.append((name, {"smallest_share": share}))
    if config.image_size_px < config.preprocessing.crop_px:
        steps.append(("random_crop", {"image_size_px": config.image_size_px}))
    affine = {
        name: getattr(wanted, name) for name in ("rotation_degrees", "scale", "shift")
    }
    if any(affine.values()):
        steps.append(("affine", affine | fill))
    sides = {} if is_mirrored is None else {"is_mirrored": is_mirrored}
    for name in ("flip_left_right", "alternating_flip", "flip_up_down", "rot90"):
        if getattr(wanted, name):
            steps.append((name, sides if name == "alternating_flip" else {}))
    steps += _policies_of(config, fill)
    for name in ("brightness", "contrast", "saturation"):
        if largest := getattr(wanted, name):
            steps.append((name, {"largest": largest}))
    if wanted.salt_and_pepper:
        steps.append(("salt_and_pepper", {"share": wanted.salt_and_pepper}))
    if wanted.cutout_px:
        steps.append(("cutout", {"side_px": wanted.cutout_px}))
    if wanted.random_erasing:
        erasing_arguments = {
            "probability": wanted.random_erasing,
            "largest_share": wanted.random_erasing_share,
            "fill": wanted.random_erasing_fill,
        }
        steps.append(("random_erasing", erasing_arguments))
    return steps


def _policies_of(config: TrainerConfig, fill: dict[str, Any]) -> list[Step]:
    wanted = config.augmentation
    known = levels.known(config.preprocessing)
    arguments = {"levels": known, **fill} if known else fill
    if wanted.rand_augment_layers:
        size = {
            "layers": wanted.rand_augment_layers,
            "magnitude": wanted.rand_augment_magnitude,
        }
        return [("rand_augment", size | arguments)]
    return [("trivial_augment", arguments)] if wanted.trivial_augment else []


def describe(config: TrainerConfig) -> list[str]:
    """The steps as a person reads them, as 'pad_crop (pad_px 4)'."""
    return [
        f"{name} ({', '.join(f'{key} {_shown(value)}' for key, value in arguments.items())})"
        if arguments
        else name
        for name, arguments in [*steps_of(config), *_mixing_of(config)]
    ]


def _shown(value: float | str | levels.Levels) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def apply(images: tf.Tensor, steps: Sequence[Step], seed: tf.Tensor) -> tf.Tensor:
    """Images after all `steps` in turn, each with a seed of its own derived from `seed`.

    Args:
      images: float32 [batch, height, width, channels], all but the batch static.
      steps: names out of `AUGMENTATIONS` with their keyword arguments, as in
        `("pad_crop", {"pad_px": 4})`.

    Raises:
      ConfigError: a name is unknown, or the images are too small for a crop.
    """
    for place, (name, arguments) in enumerate(steps):
        function = lookup.find_by_name(AUGMENTATIONS, name, "augmentation")
        images = function(images, seeds.fold(seed, place), **arguments)
    return images


def augment(
    images: tf.Tensor,
    labels: tf.Tensor,
    config: TrainerConfig,
    seed: tf.Tensor,
    num_classes: int,
    is_mirrored: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """A training batch changed at random as the configuration asks.

    Args:
      images: float32 [batch, crop_px, crop_px, channels].
      labels: int64 [batch].
      config: its section `augmentation`, and `model.image_size_px`.
      seed: int64 [2]; equal seeds give equal batches.
      num_classes: width of the targets.
      is_mirrored: bool [batch], for `augmentation.alternating_flip`.

    Returns:
      float32 [batch, image_size_px, image_size_px, channels]; and `labels`, or where
      images are mixed their targets, float32 [batch, num_classes].
    """
    steps = steps_of(config, is_mirrored)
    images = apply(images, steps, seed)
    wanted = _mixing_of(config)
    if not wanted:
        return images, labels
    mix = [
        functools.partial(
            MIXING[name],
            images,
            tf.one_hot(labels, num_classes),
            seeds.fold(seed, len(steps)),
            **arguments,
        )
        for name, arguments in wanted
    ]
    if len(mix) == 1:
        return mix[0]()
    drawn = tf.random.stateless_uniform([], seeds.fold(seed, len(steps) + 1))
    return tf.cond(drawn < 1 / len(mix), *mix)


def _mixing_of(config: TrainerConfig) -> list[Step]:
    """The ways of mixing that `config` asks for; of two, one is drawn for each batch."""
    wanted = config.augmentation
    alphas = {"mixup": wanted.mixup_alpha, "cutmix": wanted.cutmix_alpha}
    return [(name, {"alpha": alpha}) for name, alpha in alphas.items() if alpha]
