"""Checks the settings of trainings that fit the class layer; no TensorFlow."""

from common.errors import ConfigError
from trainer.config import AugmentationConfig, TrainConfig, TrainerConfig
from trainer.nets.blocks import CLASS_LAYER


def check(config: TrainerConfig) -> None:
    """Refuses contradictory settings of the class layer.

    Raises:
      ConfigError: it would be fitted on a net without weights or with a part of them, or on
        equal views; or nothing would be trained.
    """
    train = config.train
    is_part = train.weights_partial or set(train.weights_exclude) - {CLASS_LAYER}
    if train.fit_head and is_part:
        raise ConfigError(
            "setting 'train.fit_head' computes features with all of the weights",
            found="train.weights_exclude or train.weights_partial",
            tip="--set train.fit_head=false trains a net that starts from a part of them",
        )
    is_augmented = (
        config.augmentation != AugmentationConfig()
        or config.image_size_px < config.preprocessing.crop_px
    )
    if train.fit_head and train.head_views and not is_augmented:
        raise ConfigError(
            "setting 'train.head_views' asks for augmented views, and nothing augments",
            tip="--set augmentation.flip_left_right=true, or leave out train.head_views",
        )
    if train.fit_head and not train.weights:
        raise ConfigError(
            "setting 'train.fit_head' needs weights to compute features with",
            tip="--set train.weights=NAME; slimline weights list names them",
        )
    if train.fit_head and not train.head_weight_decays:
        raise ConfigError(
            "setting 'train.head_weight_decays' is empty",
            expected="one L2 factor or more",
        )
    if not (train.epochs or train.steps or train.fit_head):
        raise ConfigError(
            "setting 'train.epochs' is 0, so nothing would be trained",
            tip="--set train.fit_head=true trains the class layer alone",
        )


def is_head_only(train: TrainConfig) -> bool:
    """Whether the training ends with the fitted class layer."""
    return train.fit_head and not (train.epochs or train.steps)
