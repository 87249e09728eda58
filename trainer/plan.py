"""How long a training is, from its settings and the size of the train split."""

import dataclasses

from schema.errors import ConfigError
from trainer.config import TrainConfig


@dataclasses.dataclass(frozen=True)
class Plan:
    """Length of a training in updates.

    Attributes:
      steps_per_epoch: updates a pass over the train split.
      total_steps: of the whole training.
      measure_steps: from one measurement on eval to the next.
    """

    steps_per_epoch: int
    total_steps: int
    measure_steps: int


def make_plan(train_config: TrainConfig, num_examples: int) -> Plan:
    """Steps of a training on `num_examples` images.

    Raises:
      ConfigError: the batch is larger than the split.
    """
    batch_size = train_config.batch_size
    if num_examples < batch_size:
        raise ConfigError(
            "setting 'train.batch_size' is larger than the train split",
            found=f"{batch_size} for {num_examples} images",
            tip=f"--set train.batch_size={max(1, num_examples // 4)}",
        )
    per_epoch = num_examples // batch_size
    return Plan(
        steps_per_epoch=per_epoch,
        total_steps=max(
            1, train_config.steps or round(train_config.epochs * per_epoch)
        ),
        measure_steps=max(1, round(train_config.eval_every_epochs * per_epoch)),
    )
