"""Records predictions of the chosen weights for a few images, to check the served model.

They come from the Trainer's own inference graph, so that a fault of the export shows: wrong
weights, wrong labels, missing preprocessing.
"""

import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from pushed_models import signatures
from schema import features
from trainer import input_pipeline
from trainer.config import TrainerConfig
from trainer.evaluation import EvalSession

MAX_IMAGES = 20


def record(
    folder: pathlib.Path,
    config: TrainerConfig,
    split: input_pipeline.Split,
    num_classes: int,
    checkpoint: str,
    weights: str,
) -> pathlib.Path:
    """Writes images of `split` with their probabilities; returns the file.

    Args:
      checkpoint: path as a Saver takes it.
      weights: 'raw' or 'ema'.
    """
    serialised = _read(split.files, spread(split.labels, MAX_IMAGES))
    images = input_pipeline.preprocess(serialised, split.transform)
    with EvalSession(
        config, split, num_classes, test_time_views=config.model.test_time_views
    ) as session:
        probabilities = session.probabilities(checkpoint, weights, images)
    path = folder / signatures.RECORDED_FILE
    with tf.io.TFRecordWriter(str(path), input_pipeline.COMPRESSION) as writer:
        for example, row in zip(serialised, probabilities, strict=True):
            writer.write(_example(example, row))
    return path


def spread(labels: np.ndarray, count: int) -> list[int]:
    """Sorted places of up to `count` images, equally many of each class.

    With more classes than `count`, takes classes at even distances; of a class the first
    images. The same labels give the same places.

    Args:
      labels: int64 [num_examples].
      count: of images, at most.
    """
    classes = np.unique(labels)
    if len(classes) > count:
        classes = classes[np.linspace(0, len(classes) - 1, count).astype(int)]
    by_class = [np.flatnonzero(labels == label) for label in classes]
    rounds = range(max(map(len, by_class)))
    in_turn = [
        int(places[number])
        for number in rounds
        for places in by_class
        if number < len(places)
    ]
    return sorted(in_turn[:count])


def _read(files: Sequence[str], places: Sequence[int]) -> list[bytes]:
    """Serialised Examples at `places`, sorted, of all in `files`."""
    records = tf.data.TFRecordDataset(list(files), input_pipeline.COMPRESSION)
    wanted = set(places)
    return [
        record
        for place, record in enumerate(records.take(places[-1] + 1).as_numpy_iterator())
        if place in wanted
    ]


def _example(serialised: bytes, probabilities: np.ndarray) -> bytes:
    raw = tf.train.Example.FromString(serialised).features.feature
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                features.ENCODED: raw[features.ENCODED],
                signatures.PROBABILITIES: tf.train.Feature(
                    float_list=tf.train.FloatList(value=probabilities)
                ),
            }
        )
    ).SerializeToString()
