"""TFRecord files to batches of preprocessed images.

Preprocessing is the Transform graph, applied batch-wise here and inside the served graph.
Small splits are preprocessed once and kept in memory; larger ones are read anew in each
epoch. Either way the order of the images follows from (seed, epoch) alone, so a training
that starts at step n sees what an uninterrupted one sees there.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from schema import features
from schema.errors import TrainError
from trainer import augmentation
from trainer.config import TrainerConfig

COMPRESSION = "GZIP"
# What the Trainer reads of an Example; the other features are for people and statistics.
READ_FEATURES = {
    features.ENCODED: tf.io.FixedLenFeature([], tf.string),
    features.LABEL: tf.io.FixedLenFeature([], tf.int64),
}
EVAL_BATCH_SIZE = 256
# Serialised examples held for shuffling when the images do not fit into memory.
SHUFFLE_BUFFER = 20_000


@dataclasses.dataclass(frozen=True)
class Split:
    """One split of the Examples, and the graph that preprocesses it.

    Attributes:
      files: TFRecord files, sorted.
      transform: the output of Transform.
      num_examples: images in the files.
      images: float32 [num_examples, height, width, channels], or None where they are
        not kept in memory.
      labels: int64 [num_examples], or None likewise.
    """

    files: tuple[str, ...]
    transform: tft.TFTransformOutput
    num_examples: int
    images: np.ndarray | None = None
    labels: np.ndarray | None = None

    def batches(
        self, batch_size: int = EVAL_BATCH_SIZE
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Every image once, in file order; the last batch may be smaller."""
        if self.images is not None and self.labels is not None:
            for start in range(0, self.num_examples, batch_size):
                stop = start + batch_size
                yield self.images[start:stop], self.labels[start:stop]
        else:
            yield from _preprocessed(self.files, self.transform, batch_size)


def load_split(
    patterns: Sequence[str], transform: tft.TFTransformOutput, cache_bytes: int
) -> Split:
    """Split in `patterns`, with its preprocessed images where they fit `cache_bytes`.

    Raises:
      TrainError: there is no image in the files.
    """
    files = tuple(
        sorted(file for pattern in patterns for file in tf.io.gfile.glob(pattern))
    )
    records = tf.data.TFRecordDataset(files, COMPRESSION)
    num_examples = int(records.reduce(np.int64(0), lambda count, _: count + 1))
    if not num_examples:
        raise TrainError(f"no images in {', '.join(patterns)}")
    image_shape = transform.transformed_feature_spec()[features.IMAGE_XF].shape
    image_bytes = 4 * int(np.prod(image_shape))
    if num_examples * image_bytes > cache_bytes:
        return Split(files, transform, num_examples)
    images = np.empty([num_examples, *image_shape], np.float32)
    labels = np.empty([num_examples], np.int64)
    filled = 0
    for batch_images, batch_labels in _preprocessed(files, transform, EVAL_BATCH_SIZE):
        stop = filled + len(batch_labels)
        images[filled:stop], labels[filled:stop] = batch_images, batch_labels
        filled = stop
    return Split(files, transform, num_examples, images, labels)


def training_batches(
    split: Split, config: TrainerConfig, first_step: int
) -> tf.data.Dataset:
    """Endless augmented batches, to be iterated inside a graph, from `first_step` on.

    Returns:
      Dataset of (float32 [batch_size, size, size, channels], int64 [batch_size]); an
      epoch is `num_examples // batch_size` batches, what is left over goes to the
      next order.
    """
    batch_size, seed = config.train.batch_size, config.train.seed
    steps_per_epoch = split.num_examples // batch_size
    first_epoch, offset = divmod(first_step, steps_per_epoch)
    epochs = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max)

    def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
        done = tf.where(
            tf.equal(epoch, first_epoch),
            tf.constant(offset, tf.int64),
            tf.constant(0, tf.int64),
        )
        if split.images is not None and split.labels is not None:
            order = _order(split.num_examples, seed, epoch)
            return _batches_in_memory(
                split.images, split.labels, order, batch_size, done
            )
        return _batches_from_files(split, batch_size, seed, epoch, done)

    def augmented(
        step: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = batch
        return augment(images, config, tf.stack([seed, step])), labels

    size = (batch_size, config.preprocessing.crop_px, config.preprocessing.crop_px)

    def with_shape(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        channels = config.preprocessing.channels
        return tf.ensure_shape(images, [*size, channels]), tf.ensure_shape(
            labels, [batch_size]
        )

    return (
        epochs.flat_map(epoch_batches)
        .map(with_shape)
        .enumerate(start=first_step)
        .map(augmented, num_parallel_calls=2, deterministic=True)
        .prefetch(4)
    )


def augment(images: tf.Tensor, config: TrainerConfig, seed: tf.Tensor) -> tf.Tensor:
    """Training images changed at random as the configuration asks.

    Args:
      images: float32 [batch, crop_px, crop_px, channels].
      config: `train.flip`, `train.pad_crop_px`, `model.image_size_px`.
      seed: int64 [2]; equal seeds give equal images.

    Returns:
      float32 [batch, image_size_px, image_size_px, channels].
    """
    steps: list[tuple[str, dict[str, int]]] = []
    if config.train.pad_crop_px:
        steps.append(("pad_crop", {"pad_px": config.train.pad_crop_px}))
    if config.image_size_px < config.preprocessing.crop_px:
        steps.append(("random_crop", {"image_size_px": config.image_size_px}))
    if config.train.flip:
        steps.append(("flip_left_right", {}))
    return augmentation.augment(images, steps, seed)


def _preprocess(
    batches: tf.data.Dataset, transform: tft.TFTransformOutput
) -> tf.data.Dataset:
    """Batches of serialised Examples to (images, labels), by the Transform graph."""

    def preprocess(serialised: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        raw = tf.io.parse_example(serialised, READ_FEATURES)
        transformed = transform.transform_raw_features(raw)
        return transformed[features.IMAGE_XF], transformed[features.LABEL_XF]

    return batches.map(
        preprocess, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )


def _preprocessed(
    files: Sequence[str], transform: tft.TFTransformOutput, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    batches = tf.data.TFRecordDataset(list(files), COMPRESSION).batch(batch_size)
    yield from _preprocess(batches, transform).prefetch(2).as_numpy_iterator()


def _order(count: int, seed: int, epoch: tf.Tensor) -> tf.Tensor:
    return tf.random.experimental.stateless_shuffle(
        tf.range(count), seed=tf.stack([tf.cast(seed, tf.int64), epoch])
    )


def _batches_in_memory(
    images: np.ndarray,
    labels: np.ndarray,
    order: tf.Tensor,
    batch_size: int,
    done: tf.Tensor,
) -> tf.data.Dataset:
    def fetch(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.take(images, indices, axis=0), np.take(labels, indices)

    return (
        tf.data.Dataset.from_tensor_slices(order)
        .batch(batch_size, drop_remainder=True)
        .skip(done)
        .map(
            lambda indices: tuple(
                tf.numpy_function(fetch, [indices], [tf.float32, tf.int64])
            )
        )
    )


def _batches_from_files(
    split: Split, batch_size: int, seed: int, epoch: tf.Tensor, done: tf.Tensor
) -> tf.data.Dataset:
    files = tf.gather(tf.constant(split.files), _order(len(split.files), seed, epoch))
    batches = (
        tf.data.TFRecordDataset(files, COMPRESSION)
        .shuffle(SHUFFLE_BUFFER, seed=seed + epoch, reshuffle_each_iteration=False)
        .batch(batch_size, drop_remainder=True)
        .skip(done)
    )
    return _preprocess(batches, split.transform)
