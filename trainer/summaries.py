"""Summaries of a training for TensorBoard."""

import pathlib

import tensorflow as tf
import tensorflow.compat.v1 as v1

from trainer import graphs, input_pipeline
from trainer.augmentation import recipe
from trainer.config import TrainConfig, TrainerConfig


def add(graph: graphs.TrainingGraph, train: TrainConfig) -> None:
    """Adds the summaries of a training graph to the default graph's collection.

    The optimizer adds those of the gradients.
    """
    v1.summary.scalar("loss", graph.loss)
    v1.summary.scalar("accuracy", graph.accuracy)
    v1.summary.scalar("learning_rate", graph.learning_rate)
    v1.summary.scalar("gradient_norm", graph.gradient_norm)
    if train.histograms:
        for variable in v1.trainable_variables():
            v1.summary.histogram(f"weights/{variable.op.name}", variable)


def write_stages(
    run_dir: pathlib.Path, split: input_pipeline.Split, config: TrainerConfig
) -> None:
    """Writes the first images of `split` as they are after each step of augmentation.

    Args:
      run_dir: of the training; TensorBoard reads it.
      split: training images.
      config: `train.image_summaries` images, `augmentation`, `train.seed`.
    """
    count = config.train.image_summaries
    images, _ = next(split.batches(count))
    steps = recipe.steps_of(config)
    with tf.Graph().as_default(), v1.Session() as session:
        seed = tf.constant([config.train.seed, 0], tf.int64)
        stages = [v1.summary.image("0_preprocessed", images, count)]
        for done in range(1, len(steps) + 1):
            changed = recipe.apply(tf.constant(images), steps[:done], seed)
            name = f"{done}_{steps[done - 1][0]}"
            stages.append(v1.summary.image(name, changed, count))
        merged = session.run(v1.summary.merge(stages))
        # One writer a folder: that of the training.
        writer = v1.summary.FileWriterCache.get(str(run_dir))
        writer.add_summary(merged, 0)
        writer.flush()
