"""Which trainings fit the class layer alone. No TensorFlow: settings are checked with it."""

from schema.errors import ConfigError
from trainer.config import TrainConfig


def check(train: TrainConfig) -> None:
    """Finds settings of the class layer that contradict each other.

    Raises:
      ConfigError: it is to be fitted on a net without weights, or nothing is to be trained.
    """
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
