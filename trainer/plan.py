"""Length of a training, from its settings and the size of the train split."""

import dataclasses

from common.errors import ConfigError
from trainer.config import TrainConfig


@dataclasses.dataclass(frozen=True)
class Plan:
    """Length of a training in updates.

    Attributes:
      steps_per_epoch: updates in a pass over the train split.
      total_steps: of the whole training.
      measure_steps: from one measurement on eval to the next.
    """

    steps_per_epoch: int
    total_steps: int
    measure_steps: int


def check_batch(train: TrainConfig) -> None:
    """Checks that the parts of a step can share its batch equally.

    Raises:
      ConfigError: devices, or the microbatches of `train.accumulate_steps`, cannot.
    """
    parts = train.devices * train.accumulate_steps
    if rest := train.batch_size % parts:
        microbatches = train.accumulate_steps
        raise ConfigError(
            "setting 'train.batch_size' cannot be shared among the "
            + ("devices" if microbatches == 1 else "devices and microbatches"),
            found=f"{train.batch_size} images for {train.devices} devices"
            + (f" of {microbatches} microbatches each" if microbatches > 1 else ""),
            tip=f"--set train.batch_size={train.batch_size + parts - rest}",
        )


def fit_batch(train_config: TrainConfig, num_examples: int) -> tuple[TrainConfig, str]:
    """The settings with a batch that fits the train split.

    A batch larger than the split becomes a quarter of it, with at least one image for each
    device and microbatch.

    Returns:
      The settings, and a sentence where they were changed, else ''.
    """
    batch_size = train_config.batch_size
    parts = train_config.devices * train_config.accumulate_steps
    if batch_size <= num_examples:
        return train_config, ""
    fitting = max(1, num_examples // (4 * parts)) * parts
    return (
        dataclasses.replace(train_config, batch_size=fitting),
        f"train has {num_examples} images, fewer than a batch of {batch_size}: trained with"
        f" batches of {fitting}",
    )


def make_plan(train_config: TrainConfig, num_examples: int) -> Plan:
    """Steps of a training on `num_examples` images.

    Where `train.min_steps` makes a training longer than its epochs, the number of
    measurements stays the same.

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
    total = max(1, train_config.steps or round(train_config.epochs * per_epoch))
    stretch = 1.0
    if not train_config.steps and total < train_config.min_steps:
        stretch = train_config.min_steps / total
        total = train_config.min_steps
    return Plan(
        steps_per_epoch=per_epoch,
        total_steps=total,
        measure_steps=max(
            1, round(train_config.eval_every_epochs * per_epoch * stretch)
        ),
    )
