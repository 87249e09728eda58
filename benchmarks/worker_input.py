"""Worker: trains on the real input side, or on one batch of it again and again."""

import dataclasses
import pathlib
from typing import Any

import synthetic
import tensorflow as tf
import tensorflow.compat.v1 as v1
import worker_protocol

from pipeline import experiments
from trainer import graphs, input_pipeline, precision
from trainer.config import TrainerConfig


def make(task: dict[str, Any]) -> tuple[dict[str, Any], worker_protocol.RunSteps]:
    """Builds the training graph of an experiment behind its input.

    Args:
      task: experiment, batch_size, num_classes, precision, learning_rate; `pattern` of the
        Examples and `folder` of the Transform output; `source`: 'fixed' for one batch in
        memory, 'memory' for images preprocessed once, 'files' for images decoded anew
        in each epoch.
    """
    config = trainer_config(task)
    num_classes, source = task["num_classes"], task["source"]
    transform = synthetic.open_transform(pathlib.Path(task["folder"]))
    split = input_pipeline.load_split(
        [task["pattern"]], transform, 2**62 if source == "memory" else 0
    )
    fixed = None
    if source == "fixed":
        batches = input_pipeline.training_batches(split, config, num_classes, 0)
        fixed = next(batches.as_numpy_iterator())
    graph = tf.Graph()
    with graph.as_default():
        v1.set_random_seed(config.train.seed)
        if fixed is None:
            dataset = input_pipeline.training_batches(split, config, num_classes, 0)
        else:
            dataset = tf.data.Dataset.from_tensors(fixed).cache().repeat().prefetch(4)
        iterator = v1.data.make_initializable_iterator(dataset)
        images, labels = iterator.get_next()
        training = graphs.build_training(images, labels, num_classes, config)
        initialise = [v1.global_variables_initializer(), iterator.initializer]
    session = v1.Session(
        graph=graph, config=precision.session_config(config.train.precision)
    )
    session.run(initialise)

    def run_steps(steps: int) -> float:
        loss = 0.0
        for _ in range(steps):
            loss = session.run(training.train_op)
        return float(loss)

    facts = {
        "versions": {"tensorflow": tf.__version__},
        "images": split.num_examples,
        "steps_per_epoch": split.num_examples // task["batch_size"],
    }
    return facts, run_steps


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
