"""Reads TFRecord files into batches of preprocessed images.

Preprocessing is the Transform graph, applied to batches here and inside the served graph.
Small splits are preprocessed once and kept in memory; larger ones are read again in each
epoch. The order of the images depends on (seed, epoch) alone, so a training that resumes at
step n sees the same images as an uninterrupted one.
"""

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Sequence
from concurrent import futures

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from common.errors import DataError, TrainError
from schema import example_labels, features
from trainer import sampling
from trainer.augmentation import alternation, recipe
from trainer.config import TrainerConfig

COMPRESSION = "GZIP"
# The features of an Example that the Trainer reads.
READ_FEATURES = {
    features.ENCODED: tf.io.FixedLenFeature([], tf.string),
    features.LABEL: tf.io.FixedLenFeature([], tf.int64),
}
EVAL_BATCH_SIZE = 256
# Shuffle buffer for images that do not fit into memory: at most so many serialised examples
# and so many bytes.
SHUFFLE_BUFFER = 20_000
SHUFFLE_BYTES = 256 << 20
# Files that training interleaves, and how many examples come from one before the next.
FILES_AT_ONCE = 4
BLOCK_LENGTH = 16
# Of TensorFlow's error about a file with another number of examples.
_OTHER_NUMBER = re.compile(r"to contain (\d+) elements but contained (.+) elements")

# No function here branches on a tensor. AutoGraph would also convert the code of the
# Transform graph, which takes five seconds in every process.
_as_written = tf.autograph.experimental.do_not_convert


@dataclasses.dataclass(frozen=True)
class Split:
    """One split of the Examples, and the graph that preprocesses it.

    Attributes:
      files: TFRecord files, sorted.
      transform: the output of Transform.
      labels: int64 [num_examples], in file order.
      images: float32 [num_examples, height, width, channels], or None where they are
        not kept in memory.
      sizes: number of examples in each file.
      shuffle_buffer: examples held for shuffling where images are read from the files.
    """

    files: tuple[str, ...]
    transform: tft.TFTransformOutput
    labels: np.ndarray
    images: np.ndarray | None = None
    sizes: tuple[int, ...] = ()
    shuffle_buffer: int = SHUFFLE_BUFFER

    @property
    def num_examples(self) -> int:
        """Images in the files."""
        return len(self.labels)

    def batches(
        self, batch_size: int = EVAL_BATCH_SIZE
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Every image once, in file order; the last batch may be smaller."""
        if self.images is not None:
            for start in range(0, self.num_examples, batch_size):
                stop = start + batch_size
                yield self.images[start:stop], self.labels[start:stop]
        else:
            yield from _preprocessed(self.files, self.sizes, self.transform, batch_size)


def load_split(
    patterns: Sequence[str], transform: tft.TFTransformOutput, cache_bytes: int
) -> Split:
    """Split in `patterns`, with its preprocessed images where they fit `cache_bytes`.

    Labels and numbers of examples are those that ingest wrote, where it did.

    Raises:
      TrainError: there is no image in the files.
      DataError: the files hold other examples than were ingested. Images that are not kept
        in memory are checked when they are read.
    """
    files = tuple(
        sorted(file for pattern in patterns for file in tf.io.gfile.glob(pattern))
    )
    labels_by_file = [_labels_of(file) for file in files]
    labels = np.concatenate([np.empty([0], np.int64), *labels_by_file])
    if not len(labels):
        raise TrainError(f"no images in {', '.join(patterns)}")
    sizes = tuple(map(len, labels_by_file))
    image_shape = transform.transformed_feature_spec()[features.IMAGE_XF].shape
    image_bytes = 4 * int(np.prod(image_shape))
    if len(labels) * image_bytes > cache_bytes:
        file_bytes = sum(tf.io.gfile.stat(file).length for file in files)
        buffer = min(SHUFFLE_BUFFER, 1 + SHUFFLE_BYTES * len(labels) // file_bytes)
        return Split(files, transform, labels, None, sizes, buffer)
    images = np.empty([len(labels), *image_shape], np.float32)
    filled = 0
    for batch_images, batch_labels in _preprocessed(
        files, sizes, transform, EVAL_BATCH_SIZE
    ):
        stop = filled + len(batch_images)
        if not np.array_equal(batch_labels, labels[filled:stop]):
            raise DataError(
                "the labels of examples are not those that were ingested",
                found=f"among examples {filled:,} to {stop:,} of {patterns[0]}",
                tip="--no-cache ingests them again",
            )
        images[filled:stop] = batch_images
        filled = stop
    return Split(files, transform, labels, images, sizes)


@contextlib.contextmanager
def complete() -> Iterator[None]:
    """Refuses files with other numbers of examples than were ingested.

    Raises:
      DataError: inside the block, one was read.
    """
    try:
        yield
    except tf.errors.FailedPreconditionError as error:
        if not (numbers := _OTHER_NUMBER.search(error.message)):
            raise
        raise DataError(
            "a file of examples holds another number than was ingested",
            found=f"{numbers[2]} examples",
            expected=numbers[1],
            tip="--no-cache ingests them again",
        ) from error


def preprocess(
    serialised: Sequence[bytes], transform: tft.TFTransformOutput
) -> np.ndarray:
    """Preprocessed images of a few Examples, float32 [n, height, width, channels]."""
    batch = tf.data.Dataset.from_tensors(list(serialised))
    ((images, _),) = _preprocess(batch, transform).as_numpy_iterator()
    return images


def training_batches(
    split: Split, config: TrainerConfig, num_classes: int, first_step: int
) -> tf.data.Dataset:
    """Endless augmented batches, to be iterated inside a graph, from `first_step` on.

    Returns:
      Dataset of the results of `recipe.augment` for batches of `batch_size`. An epoch is
      `num_examples // batch_size` batches; the rest of its order is dropped.
    """
    batch_size, seed = config.train.batch_size, config.train.seed
    steps_per_epoch = split.num_examples // batch_size
    first_epoch, offset = divmod(first_step, steps_per_epoch)
    first_sides = None
    if config.augmentation.alternating_flip:
        first_sides = alternation.first_sides(split.num_examples, seed)
    epochs = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max)
    # Another object: once applied in the graph of a training, it cannot be applied outside,
    # where the eval split is preprocessed.
    transform = split.transform and tft.TFTransformOutput(
        split.transform.transform_savedmodel_dir.rpartition("/")[0]
    )

    @_as_written
    def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
        is_first = tf.equal(epoch, first_epoch)
        done = tf.where(is_first, tf.constant(offset, tf.int64), tf.zeros([], tf.int64))

        def rest_of_epoch(elements: tf.data.Dataset) -> tf.data.Dataset:
            # Repeated, because a balanced epoch may be a few images short.
            batches = elements.repeat().batch(batch_size, drop_remainder=True)
            return batches.take(steps_per_epoch).skip(done)

        repeats = _repeats(split, config, epoch)
        if split.images is not None:
            passes = _passes(repeats, split.num_examples, seed, epoch, first_sides)
            order = tf.data.Dataset.from_tensor_slices(passes)
            return _from_memory(split.images, split.labels, rest_of_epoch(order))
        records = _shuffled_records(split, repeats, seed, epoch, first_sides)
        return _preprocess(rest_of_epoch(records), transform)

    @_as_written
    def augmented(
        step: tf.Tensor, batch: tuple[tf.Tensor, ...]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels, *sides = batch
        step_seed = tf.stack([seed, step])
        return recipe.augment(images, labels, config, step_seed, num_classes, *sides)

    size = (batch_size, config.preprocessing.crop_px, config.preprocessing.crop_px)

    @_as_written
    def with_shape(images: tf.Tensor, *others: tf.Tensor) -> tuple[tf.Tensor, ...]:
        channels = config.preprocessing.channels
        return (
            tf.ensure_shape(images, [*size, channels]),
            *(tf.ensure_shape(other, [batch_size]) for other in others),
        )

    return (
        epochs.flat_map(epoch_batches)
        .map(with_shape)
        .enumerate(start=first_step)
        .map(augmented, num_parallel_calls=2, deterministic=True)
        .prefetch(4)
    )


def _labels_of(file: str) -> np.ndarray:
    """Labels of the Examples of a file, int64: those ingest wrote, or else read from it."""
    beside = example_labels.path_of(file)
    if tf.io.gfile.exists(beside):
        with tf.io.gfile.GFile(beside, "rb") as content:
            labels = example_labels.decode(content.read())
        if labels is not None:
            return labels
    return _read_labels(file)


def _read_labels(file: str) -> np.ndarray:
    """Labels of the Examples of a file, int64, without their images."""
    records = tf.data.TFRecordDataset(file, COMPRESSION).batch(EVAL_BATCH_SIZE)
    wanted = {features.LABEL: READ_FEATURES[features.LABEL]}
    batches = [
        batch[features.LABEL]
        for batch in records.map(
            _as_written(lambda batch: tf.io.parse_example(batch, wanted))
        ).as_numpy_iterator()
    ]
    return np.concatenate([np.empty([0], np.int64), *batches])


def _preprocess(
    batches: tf.data.Dataset, transform: tft.TFTransformOutput
) -> tf.data.Dataset:
    """Batches of serialised Examples to (images, labels), by the Transform graph.

    Other components of the elements stay behind the labels.
    """

    @_as_written
    def preprocess(serialised: tf.Tensor, *others: tf.Tensor) -> tuple[tf.Tensor, ...]:
        raw = tf.io.parse_example(serialised, READ_FEATURES)
        transformed = transform.transform_raw_features(raw)
        return transformed[features.IMAGE_XF], transformed[features.LABEL_XF], *others

    return batches.map(
        preprocess, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )


def _preprocessed(
    files: Sequence[str],
    sizes: Sequence[int],
    transform: tft.TFTransformOutput,
    batch_size: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    def start() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        records = tf.data.Dataset.from_tensor_slices(
            (list(files), np.array(sizes, np.int64))
        ).flat_map(_records)
        batches = records.batch(batch_size)
        return _preprocess(batches, transform).prefetch(2).as_numpy_iterator()

    # A thread has no default graph, so this is eager even inside the graph of a training.
    with futures.ThreadPoolExecutor(max_workers=1) as thread:
        iterator = thread.submit(start).result()
        while True:
            with complete():
                batch = thread.submit(next, iterator, None).result()
            if batch is None:
                return
            yield batch


@_as_written
def _records(file: tf.Tensor, size: tf.Tensor) -> tf.data.Dataset:
    """Serialised Examples of a file; an error if they are not `size`."""
    records = tf.data.TFRecordDataset(file, COMPRESSION)
    return records.apply(tf.data.experimental.assert_cardinality(size))


def _repeats(split: Split, config: TrainerConfig, epoch: tf.Tensor) -> tf.Tensor | None:
    """Passes over each image in an epoch, int64 [num_examples]; None: one."""
    if not config.train.balanced_sampling:
        return None

    def repeats(epoch: np.ndarray) -> np.ndarray:
        return sampling.balanced_repeats(split.labels, config.train.seed, int(epoch))

    drawn = tf.numpy_function(repeats, [epoch], tf.int64)
    return tf.ensure_shape(drawn, [split.num_examples])


def _order(values: tf.Tensor, seed: int, epoch: tf.Tensor) -> tf.Tensor:
    return tf.random.experimental.stateless_shuffle(
        values, seed=tf.stack([tf.cast(seed, tf.int64), epoch])
    )


def _passes(
    repeats: tf.Tensor | None,
    count: int,
    seed: int,
    epoch: tf.Tensor,
    first_sides: np.ndarray | None,
) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor]:
    """Places of the images in the order of an epoch; with `first_sides` also their sides.

    The sides are `alternation.is_mirrored` of each pass.
    """
    places = tf.range(count)
    if repeats is not None:
        places = tf.repeat(places, repeats)
    if first_sides is None:
        return _order(places, seed, epoch)
    repetition = tf.zeros_like(places)
    if repeats is not None:
        first_passes = tf.cumsum(tf.cast(repeats, tf.int32), exclusive=True)
        repetition = tf.range(tf.size(places)) - tf.gather(first_passes, places)
    order = _order(tf.range(tf.size(places)), seed, epoch)
    sides = alternation.is_mirrored(tf.gather(first_sides, places), epoch, repetition)
    return tf.gather(places, order), tf.gather(sides, order)


def _from_memory(
    images: np.ndarray, labels: np.ndarray, batches: tf.data.Dataset
) -> tf.data.Dataset:
    """Batches of places to batches of (images, labels).

    Other components of the elements stay behind the labels.
    """

    def fetch(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.take(images, places, axis=0), np.take(labels, places)

    return batches.map(
        lambda places, *others: (
            *tf.numpy_function(fetch, [places], [tf.float32, tf.int64]),
            *others,
        )
    )


def _shuffled_records(
    split: Split,
    repeats: tf.Tensor | None,
    seed: int,
    epoch: tf.Tensor,
    first_sides: np.ndarray | None,
) -> tf.data.Dataset:
    """Serialised Examples of an epoch, each repeated as in `repeats`.

    With `first_sides` each has its side, `alternation.is_mirrored` of the pass.
    """
    order = _order(tf.range(len(split.files)), seed, epoch)
    files = tf.constant(split.files)
    sizes = tf.constant(split.sizes, tf.int64)
    first_places = tf.cumsum(sizes, exclusive=True)

    def repeated(place: tf.Tensor, record: tf.Tensor) -> tf.data.Dataset:
        if first_sides is None:
            passes = tf.data.Dataset.from_tensors(record)
            return passes.repeat(tf.gather(repeats, place))
        passes = tf.data.Dataset.from_tensors((place, record))
        return passes.repeat(tf.gather(repeats, place)).enumerate().map(with_side)

    def with_side(
        repetition: tf.Tensor | int, numbered: tuple[tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        place, record = numbered
        first = tf.gather(first_sides, place)
        return record, alternation.is_mirrored(first, epoch, repetition)

    def records_of(number: tf.Tensor) -> tf.data.Dataset:
        records = _records(tf.gather(files, number), tf.gather(sizes, number))
        if repeats is None and first_sides is None:
            return records
        numbered = records.enumerate(tf.gather(first_places, number))
        if repeats is None:
            return numbered.map(lambda *each: with_side(0, each))
        return numbered.flat_map(repeated)

    return (
        tf.data.Dataset.from_tensor_slices(order)
        .interleave(
            records_of,
            cycle_length=FILES_AT_ONCE,
            block_length=BLOCK_LENGTH,
            num_parallel_calls=FILES_AT_ONCE,
            deterministic=True,
        )
        .shuffle(
            split.shuffle_buffer, seed=seed + epoch, reshuffle_each_iteration=False
        )
    )
