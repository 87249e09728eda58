"""What a configuration asks of augmentation: which functions, in which order."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from trainer import lookup
from trainer.augmentation import erasing, geometry, light, mixing
from trainer.config import TrainerConfig

Augmentation = Callable[..., tf.Tensor]
Step = tuple[str, Mapping[str, Any]]

AUGMENTATIONS: dict[str, Augmentation] = {
    "pad_crop": geometry.pad_crop,
    "random_square_crop": geometry.random_square_crop,
    "random_crop": geometry.random_crop,
    "affine": geometry.affine,
    "flip_left_right": geometry.flip_left_right,
    "flip_up_down": geometry.flip_up_down,
    "rot90": geometry.rot90,
    "brightness": light.brightness,
    "contrast": light.contrast,
    "saturation": light.saturation,
    "salt_and_pepper": erasing.salt_and_pepper,
    "cutout": erasing.cutout,
}

MIXING: dict[str, Callable[..., tuple[tf.Tensor, tf.Tensor]]] = {
    "mixup": mixing.mixup,
    "cutmix": mixing.cutmix,
}


def steps_of(config: TrainerConfig) -> list[Step]:
    """The steps that `config` asks for, in order: places, then light, then erasures."""
    wanted = config.augmentation
    steps: list[Step] = []
    fill = {} if wanted.fill == "zero" else {"fill": wanted.fill}
    if wanted.pad_crop_px:
        steps.append(("pad_crop", {"pad_px": wanted.pad_crop_px, **fill}))
    if wanted.random_square_crop:
        steps.append(
            ("random_square_crop", {"smallest_share": wanted.random_square_crop})
        )
    if config.image_size_px < config.preprocessing.crop_px:
        steps.append(("random_crop", {"image_size_px": config.image_size_px}))
    affine = {
        name: getattr(wanted, name) for name in ("rotation_degrees", "scale", "shift")
    }
    if any(affine.values()):
        steps.append(("affine", affine | fill))
    for name in ("flip_left_right", "flip_up_down", "rot90"):
        if getattr(wanted, name):
            steps.append((name, {}))
    for name in ("brightness", "contrast", "saturation"):
        if largest := getattr(wanted, name):
            steps.append((name, {"largest": largest}))
    if wanted.salt_and_pepper:
        steps.append(("salt_and_pepper", {"share": wanted.salt_and_pepper}))
    if wanted.cutout_px:
        steps.append(("cutout", {"side_px": wanted.cutout_px}))
    return steps


def describe(config: TrainerConfig) -> list[str]:
    """The steps as a person reads them, as 'pad_crop (pad_px 4)'."""
    return [
        f"{name} ({', '.join(f'{key} {_shown(value)}' for key, value in arguments.items())})"
        if arguments
        else name
        for name, arguments in [*steps_of(config), *_mixing_of(config)]
    ]


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def apply(images: tf.Tensor, steps: Sequence[Step], seed: tf.Tensor) -> tf.Tensor:
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
        images = function(images, _fold(seed, place), **arguments)
    return images


def augment(
    images: tf.Tensor,
    labels: tf.Tensor,
    config: TrainerConfig,
    seed: tf.Tensor,
    num_classes: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """A training batch changed at random as the configuration asks.

    Args:
      images: float32 [batch, crop_px, crop_px, channels].
      labels: int64 [batch].
      config: its section `augmentation`, and `model.image_size_px`.
      seed: int64 [2]; equal seeds give equal batches.
      num_classes: width of the targets.

    Returns:
      float32 [batch, image_size_px, image_size_px, channels]; and `labels`, or where
      images are mixed their targets, float32 [batch, num_classes].
    """
    steps = steps_of(config)
    images = apply(images, steps, seed)
    for name, arguments in _mixing_of(config):
        targets = tf.one_hot(labels, num_classes)
        return MIXING[name](images, targets, _fold(seed, len(steps)), **arguments)
    return images, labels


def _mixing_of(config: TrainerConfig) -> list[Step]:
    """The way of mixing that `config` asks for; `limits.check` refuses a second one."""
    wanted = config.augmentation
    alphas = {"mixup": wanted.mixup_alpha, "cutmix": wanted.cutmix_alpha}
    return [(name, {"alpha": alpha}) for name, alpha in alphas.items() if alpha]


def _fold(seed: tf.Tensor, place: int) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in(seed, place)
