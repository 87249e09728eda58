"""Worker: trains on the real input side, or on one batch of it again and again."""

import dataclasses
import pathlib
from typing import Any

import synthetic
import tensorflow as tf
import worker_ours
import worker_protocol

from pipeline import experiments
from trainer import input_pipeline
from trainer.config import TrainerConfig


def make(task: dict[str, Any]) -> tuple[dict[str, Any], worker_protocol.RunSteps]:
    """Builds the training graph of an experiment behind its input.

    Args:
      task: experiment, batch_size, num_classes, precision, learning_rate; `pattern` of the
        Examples and `folder` of the Transform output; `source`: 'fixed' for one batch in
        memory, 'memory' for images preprocessed once, 'files' for images decoded again
        in each epoch.
    """
    config = trainer_config(task)
    num_classes, source = task["num_classes"], task["source"]
    transform = synthetic.open_transform(pathlib.Path(task["folder"]))
    split = input_pipeline.load_split(
        [task["pattern"]], transform, 2**62 if source == "memory" else 0
    )

    def real_batches() -> tf.data.Dataset:
        return input_pipeline.training_batches(split, config, num_classes, 0)

    def one_batch() -> tf.data.Dataset:
        return tf.data.Dataset.from_tensors(fixed).cache().repeat().prefetch(4)

    is_fixed = source == "fixed"
    fixed = next(real_batches().as_numpy_iterator()) if is_fixed else None
    make_dataset = one_batch if is_fixed else real_batches
    session, training, _ = worker_ours.open_session(make_dataset, num_classes, config)
    facts = {
        "versions": {"tensorflow": tf.__version__},
        "images": split.num_examples,
        "steps_per_epoch": split.num_examples // task["batch_size"],
    }
    return facts, worker_ours.stepper(session, training)


def trainer_config(task: dict[str, Any]) -> TrainerConfig:
    """The experiment's configuration with the batch, precision and rate of the task."""
    config = experiments.find(task["experiment"]).trainer
    train = dataclasses.replace(
        config.train,
        batch_size=task["batch_size"],
        precision=task["precision"],
        learning_rate=task["learning_rate"],
    )
    return dataclasses.replace(config, train=train)


if __name__ == "__main__":
    worker_protocol.serve(make)
