"""Worker: trains a net of ours on one batch in memory, as `trainer.training` does."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow.compat.v1 as v1
import worker_protocol

from trainer import graphs, precision
from trainer.config import ModelConfig, PreprocessingConfig, TrainConfig, TrainerConfig
from trainer.nets import registry

try:
    from common import huge_pages
except ImportError:
    # `--before`: a checkout that has none.
    huge_pages = None


def make(task: dict[str, Any]) -> tuple[dict[str, Any], worker_protocol.RunSteps]:
    """Builds the training graph and a session in it.

    Args:
      task: as for `build`.
    """
    session, training, parameters = build(task)
    run_steps = stepper(session, training)
    if huge_pages:
        # As a training does after some seconds.
        run_steps(3)
        huge_pages.use()
    versions = {"tensorflow": tf.__version__, "numpy": np.__version__}
    return {"versions": versions, "parameters": parameters}, run_steps


def build(task: dict[str, Any]) -> tuple[v1.Session, graphs.TrainingGraph, int]:
    """An initialised session, the training graph in it and its trainable parameters.

    Args:
      task: net, batch_size, image_size_px, num_classes, precision, learning_rate, momentum,
        weight_decay, ema_decay.
    """
    size_px, spec = task["image_size_px"], registry.find(task["net"])
    config = TrainerConfig(
        # Sizes and channels are those of the images themselves.
        preprocessing=PreprocessingConfig(resize_px=size_px, crop_px=size_px),
        model=ModelConfig(net=task["net"]),
        train=TrainConfig(
            batch_size=task["batch_size"],
            optimizer="nesterov",
            momentum=task["momentum"],
            learning_rate=task["learning_rate"],
            weight_decay=task["weight_decay"],
            ema_decay=task["ema_decay"],
            precision=task["precision"],
        ),
    )
    return open_session(
        lambda: fixed_batches(task, spec.channels), task["num_classes"], config
    )


def open_session(
    make_dataset: Callable[[], tf.data.Dataset], num_classes: int, config: TrainerConfig
) -> tuple[v1.Session, graphs.TrainingGraph, int]:
    """An initialised session, the training graph in it and its trainable parameters.

    Args:
      make_dataset: called inside the graph.
      num_classes: width of the logits.
      config: the Trainer's configuration.
    """
    graph = tf.Graph()
    with graph.as_default():
        v1.set_random_seed(config.train.seed)
        iterator = v1.data.make_initializable_iterator(make_dataset())
        images, labels = iterator.get_next()
        training = graphs.build_training(images, labels, num_classes, config)
        parameters = sum(
            variable.shape.num_elements() for variable in v1.trainable_variables()
        )
        initialise = [v1.global_variables_initializer(), iterator.initializer]
    session = v1.Session(
        graph=graph, config=precision.session_config(config.train.precision)
    )
    session.run(initialise)
    return session, training, parameters


def stepper(
    session: v1.Session, training: graphs.TrainingGraph
) -> worker_protocol.RunSteps:
    """Function that applies so many updates and returns the last loss."""

    def run_steps(steps: int) -> float:
        loss = 0.0
        for _ in range(steps):
            loss = session.run(training.train_op)
        return float(loss)

    return run_steps


def fixed_batches(task: dict[str, Any], channels: int) -> tf.data.Dataset:
    """One random batch from memory, again and again.

    Returns:
      Dataset of (float32 [batch, size, size, channels], int64 [batch]).
    """
    random = np.random.default_rng(1)
    size_px = task["image_size_px"]
    shape = [task["batch_size"], size_px, size_px, channels]
    images = random.standard_normal(shape, np.float32)
    labels = random.integers(0, task["num_classes"], task["batch_size"])
    dataset = tf.data.Dataset.from_tensors((images, labels))
    return dataset.cache().repeat().prefetch(tf.data.AUTOTUNE)


if __name__ == "__main__":
    worker_protocol.serve(make)
