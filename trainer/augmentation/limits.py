"""Augmentations that cannot be, found before anything runs; needs no TensorFlow."""

from schema.errors import ConfigError
from trainer.config import TrainerConfig


def check(config: TrainerConfig) -> None:
    """Refuses what no training could do.

    Raises:
      ConfigError: colours of gray images, an erasure or a border as large as the image,
        or two ways of mixing at once.
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
    if wanted.mixup_alpha and wanted.cutmix_alpha:
        raise ConfigError(
            "images are mixed in one way only",
            found=f"augmentation.mixup_alpha {wanted.mixup_alpha:g},"
            f" augmentation.cutmix_alpha {wanted.cutmix_alpha:g}",
            tip="--set augmentation.mixup_alpha=0",
        )
