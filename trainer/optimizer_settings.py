"""Settings of the optimizer that no training could do, found before it. No TensorFlow."""

from common.errors import ConfigError
from trainer.config import TrainerConfig
from trainer.nets import geometry, variants


def check(config: TrainerConfig) -> None:
    """Refuses Muon where every layer that it could train is frozen.

    Raises:
      ConfigError: there is no convolution or dense layer for Muon.
    """
    train = config.train
    if train.optimizer != "muon":
        return
    _, *rows, _ = geometry.layer_rows(
        variants.spec_of(config.model),
        image_size_px=config.image_size_px,
        channels=config.preprocessing.channels,
    )
    kernels = [row.name for row in rows if row.cost.multiply_adds]
    if all(geometry.is_row_of(name, train.freeze) for name in kernels):
        raise ConfigError(
            "setting 'train.optimizer' is muon, which is for layers in front of the class"
            " layer, and none of them is trained",
            found="train.freeze " + ", ".join(train.freeze),
            tip="--set train.optimizer=nesterov",
        )
