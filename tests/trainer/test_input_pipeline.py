"""The order of the images: from the seed, the same from memory and from files."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow.python.autograph.impl import api

from common.errors import DataError
from schema import example_labels
from trainer import input_pipeline, sampling
from trainer.augmentation import alternation
from trainer.config import (
    AugmentationConfig,
    PreprocessingConfig,
    TrainConfig,
    TrainerConfig,
)
from trainer.input_pipeline import Split

CONFIG = TrainerConfig(
    PreprocessingConfig(resize_px=8, crop_px=8, channels=1, standardise="per_image"),
    train=TrainConfig(batch_size=8, seed=3),
    augmentation=AugmentationConfig(flip_left_right=True, pad_crop_px=1),
)
# 6 images of one class among 40, in more files than are read side by side.
COUNT, RARE = 40, 6
STARTS = (0, 9, 20, 25, 31, 36)


def with_train(**changes: object) -> TrainerConfig:
    return dataclasses.replace(
        CONFIG, train=dataclasses.replace(CONFIG.train, **changes)
    )


@pytest.fixture(scope="module")
def files(make_fake, encode_example, tmp_path_factory) -> tuple[str, object]:
    """(pattern, Transform's output) of images that hold their number in one px."""
    fake = make_fake(CONFIG.preprocessing)
    folder: pathlib.Path = tmp_path_factory.mktemp("numbered")
    write_files(folder, encode_example, lambda place: int(place < RARE))
    return str(folder / "data_tfrecord-*"), fake.transform


def write_files(
    folder: pathlib.Path, encode_example: Callable, label_of: Callable[[int], int]
) -> list[pathlib.Path]:
    """TFRecords of images that hold their number in one px; their paths."""
    folder.mkdir(exist_ok=True)
    paths = []
    for shard, places in enumerate(np.split(np.arange(COUNT), STARTS[1:])):
        path = folder / f"data_tfrecord-{shard:05}-of-{len(STARTS):05}.gz"
        paths.append(path)
        with tf.io.TFRecordWriter(str(path), options="GZIP") as writer:
            for place in places.tolist():
                png = tf.io.encode_png(np.full([8, 8, 1], place, np.uint8)).numpy()
                writer.write(encode_example(png, label_of(place)))
    return paths


@pytest.fixture
def ingested(files, encode_example, tmp_path) -> tuple[list[pathlib.Path], object]:
    """(TFRecords as ingest writes them, labels beside, Transform's output).

    Their labels are the numbers of the images.
    """
    folder = tmp_path / "Split-train"
    paths = write_files(folder, encode_example, lambda place: place)
    for path, places in zip(paths, np.split(np.arange(COUNT), STARTS[1:]), strict=True):
        beside = pathlib.Path(example_labels.path_of(str(path)))
        beside.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(example_labels.encode(places))
    return paths, files[1]


def load(ingested, cache_bytes: int) -> Split:
    paths, transform = ingested
    pattern = str(paths[0].parent / "*")
    return input_pipeline.load_split([pattern], transform, cache_bytes)


@pytest.fixture(params=[2**30, 0], ids=["memory", "files"])
def split(request, files) -> Split:
    pattern, transform = files
    loaded = input_pipeline.load_split([pattern], transform, request.param)
    assert (loaded.images is None) == (request.param == 0)
    return loaded


def batches(
    split: Split, config: TrainerConfig, count: int, first_step: int = 0
) -> list[np.ndarray]:
    dataset = input_pipeline.training_batches(split, config, 2, first_step)
    return [labels for _, labels in dataset.take(count).as_numpy_iterator()]


@pytest.fixture(scope="module")
def whole(files) -> Callable[..., list[np.ndarray]]:
    """Function (split, config, count) -> its first batches, drawn once for all tests."""
    pattern, transform = files

    @functools.cache
    def draw(is_read: bool, config: TrainerConfig) -> list[np.ndarray]:
        cache_bytes = 0 if is_read else 2**30
        split = input_pipeline.load_split([pattern], transform, cache_bytes)
        return batches(split, config, 15)

    return lambda split, config, count: draw(split.images is None, config)[:count]


def test_labels_are_known_in_file_order(split: Split) -> None:
    assert split.num_examples == COUNT
    assert split.labels.tolist() == [1] * RARE + [0] * (COUNT - RARE)


def test_same_seed_same_order_and_another_seed_another(split: Split, whole) -> None:
    one = whole(split, CONFIG, 8)
    np.testing.assert_array_equal(one, batches(split, CONFIG, 8))
    assert np.any(np.array(one) != np.array(batches(split, with_train(seed=4), 8)))


# Reading from files by plain sampling: test_reading_starts_anywhere_in_later_epochs.
@pytest.mark.parametrize(
    ("split", "is_balanced"),
    [(2**30, False), (2**30, True), (0, True)],
    indirect=["split"],
)
def test_from_a_later_step_on_it_is_the_same(
    split: Split, whole, is_balanced: bool
) -> None:
    config = with_train(balanced_sampling=is_balanced)
    first = whole(split, config, 12)
    np.testing.assert_array_equal(first[3:], batches(split, config, 9, first_step=3))
    np.testing.assert_array_equal(first[7:], batches(split, config, 5, first_step=7))


def test_an_epoch_sees_every_image_once(split: Split, whole) -> None:
    """In each of two epochs as many of the rare class as there are."""
    labels = np.reshape(whole(split, CONFIG, 10), [2, COUNT])
    assert labels.sum(axis=1).tolist() == [RARE, RARE]


def test_an_epoch_in_memory_sees_every_image_once(files) -> None:
    loaded = input_pipeline.load_split([files[0]], files[1], 2**30)
    numbered = dataclasses.replace(loaded, labels=np.arange(COUNT))
    seen = np.concatenate(batches(numbered, CONFIG, 5))
    np.testing.assert_array_equal(np.sort(seen), np.arange(COUNT))


def test_an_epoch_from_files_sees_every_image_once_and_mixed(ingested) -> None:
    found = np.concatenate(batches(load(ingested, 0), CONFIG, 5))
    np.testing.assert_array_equal(np.sort(found), np.arange(COUNT))
    of_file = np.searchsorted(STARTS, found, side="right")
    assert len(np.unique(of_file[:16])) > 3


def test_reading_starts_anywhere_in_later_epochs(ingested) -> None:
    """With a buffer that holds less than an epoch, as of many images."""
    split = dataclasses.replace(load(ingested, 0), shuffle_buffer=7)
    whole = batches(split, CONFIG, 20)
    for first in (5, 13):
        rest = batches(split, CONFIG, 20 - first, first_step=first)
        np.testing.assert_array_equal(whole[first:], rest)


def test_balanced_sampling_draws_the_classes_alike(split: Split, whole) -> None:
    labels = np.reshape(whole(split, with_train(balanced_sampling=True), 15), [3, -1])
    assert labels.sum(axis=1).tolist() == [COUNT // 2] * 3


def test_files_and_memory_give_the_same_images(files) -> None:
    pattern, transform = files
    in_memory = input_pipeline.load_split([pattern], transform, 2**30)
    on_disk = input_pipeline.load_split([pattern], transform, 0)
    for (one, labels), (two, more_labels) in zip(
        in_memory.batches(16), on_disk.batches(16), strict=True
    ):
        np.testing.assert_allclose(one, two, atol=1e-6)
        np.testing.assert_array_equal(labels, more_labels)


def test_mixed_batches_have_targets(split: Split) -> None:
    config = dataclasses.replace(CONFIG, augmentation=AugmentationConfig(mixup_alpha=1))
    (targets,) = batches(split, config, 1)
    assert targets.shape == (8, 2)
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-5)


def test_no_function_is_rewritten_by_autograph(
    files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take seconds of every process for the code of the Transform graph."""

    rewritten = []
    rewrite = api._convert_actual

    def note(function: object, *arguments: object) -> object:
        rewritten.append(function)
        return rewrite(function, *arguments)

    monkeypatch.setattr(api, "_convert_actual", note)
    for cache_bytes in (2**30, 0):
        loaded = input_pipeline.load_split([files[0]], files[1], cache_bytes)
        assert sum(len(images) for images, _ in loaded.batches(16)) == COUNT
        config = with_train(balanced_sampling=True)
        assert len(batches(loaded, config, 2)) == 2
    assert rewritten == []


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files of which the labels were read from the examples themselves."""
    read, found = input_pipeline._read_labels, []

    def note(file: str) -> np.ndarray:
        found.append(file)
        return read(file)

    monkeypatch.setattr(input_pipeline, "_read_labels", note)
    return found


def test_labels_are_those_that_ingest_wrote(ingested, unread) -> None:
    split = load(ingested, 0)
    assert unread == []
    assert split.labels.tolist() == list(range(COUNT))
    assert split.sizes == tuple(np.diff([*STARTS, COUNT]))


def test_without_them_labels_are_read_from_the_examples(ingested, unread) -> None:
    paths, _ = ingested
    pathlib.Path(example_labels.path_of(str(paths[1]))).unlink()
    pathlib.Path(example_labels.path_of(str(paths[4]))).write_bytes(b"nothing")
    split = load(ingested, 0)
    assert unread == [str(paths[1]), str(paths[4])]
    assert split.labels.tolist() == list(range(COUNT))


@pytest.mark.parametrize("change", [-1, 1], ids=["fewer", "more"])
def test_another_number_of_examples_is_refused(ingested, change: int) -> None:
    """A file was replaced by another after its labels were written."""
    paths, _ = ingested
    beside = pathlib.Path(example_labels.path_of(str(paths[2])))
    labels = np.arange(STARTS[2], STARTS[3] - change)
    beside.write_bytes(example_labels.encode(labels))
    with pytest.raises(DataError, match="another number than was ingested"):
        load(ingested, 2**30)
    split = load(ingested, 0)
    with pytest.raises(DataError, match="another number than was ingested") as caught:
        list(split.batches(8))
    assert caught.value.expected == str(len(labels))
    words = {-1: "only 5 examples", 1: "at least 5 examples"}
    assert caught.value.found == words[change]
    with pytest.raises(DataError), input_pipeline.complete():
        batches(split, CONFIG, 5)


def test_other_labels_than_ingested_are_refused(ingested) -> None:
    paths, _ = ingested
    beside = pathlib.Path(example_labels.path_of(str(paths[0])))
    beside.write_bytes(example_labels.encode(np.arange(1, STARTS[1] + 1)))
    with pytest.raises(DataError, match="are not those that were ingested"):
        load(ingested, 2**30)


def test_few_large_examples_are_held_for_shuffling(ingested, monkeypatch) -> None:
    assert load(ingested, 0).shuffle_buffer == input_pipeline.SHUFFLE_BUFFER
    size = sum(path.stat().st_size for path in ingested[0])
    monkeypatch.setattr(input_pipeline, "SHUFFLE_BYTES", size // 4)
    assert load(ingested, 0).shuffle_buffer in (COUNT // 4, COUNT // 4 + 1)


def test_eval_is_read_from_files_after_a_training_graph_was_built(files) -> None:
    """Neither split fits into memory, and the training applies Transform in a graph."""
    pattern, path = files[0], files[1].transform_savedmodel_dir.rpartition("/")[0]
    # As in a process that trains: nothing was preprocessed before.
    split = input_pipeline.load_split([pattern], tft.TFTransformOutput(path), 0)
    with tf.Graph().as_default():
        dataset = input_pipeline.training_batches(split, CONFIG, 2, 0)
        tf.compat.v1.data.make_initializable_iterator(dataset)
        assert sum(len(images) for images, _ in split.batches(16)) == COUNT


BALANCED_REPEATS = sampling.balanced_repeats


def rare_repeats(labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    return BALANCED_REPEATS((np.arange(COUNT) < RARE).astype(int), seed, epoch)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Function (split, balanced, count, first_step) -> sides and labels [count, 8]."""

    def keep(
        images: tf.Tensor,
        labels: tf.Tensor,
        config: TrainerConfig,
        seed: tf.Tensor,
        num_classes: int,
        is_mirrored: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return (labels if is_mirrored is None else is_mirrored), labels

    monkeypatch.setattr(input_pipeline.recipe, "augment", keep)
    # Labels are numbers of images here, so which are rare is told apart.
    monkeypatch.setattr(input_pipeline.sampling, "balanced_repeats", rare_repeats)

    def read(
        split: Split, is_balanced: bool, count: int, first_step: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        config = dataclasses.replace(
            with_train(balanced_sampling=is_balanced),
            augmentation=AugmentationConfig(alternating_flip=True),
        )
        dataset = input_pipeline.training_batches(split, config, 2, first_step)
        found = list(dataset.take(count).as_numpy_iterator())
        return tuple(map(np.array, zip(*found, strict=True)))

    return read


@pytest.mark.parametrize("cache_bytes", [2**30, 0], ids=["memory", "files"])
def test_two_epochs_in_a_row_show_both_sides(ingested, passes, cache_bytes) -> None:
    split = load(ingested, cache_bytes)
    sides, labels = passes(split, False, 20)
    by_epoch = []
    for epoch in range(4):
        rows = slice(5 * epoch, 5 * epoch + 5)
        order = np.argsort(labels[rows].ravel())
        by_epoch.append(sides[rows].ravel()[order])
    assert 10 < by_epoch[0].sum() < 30
    for epoch in range(1, 4):
        np.testing.assert_array_equal(by_epoch[epoch], ~by_epoch[epoch - 1])
    # The order is that without it.
    np.testing.assert_array_equal(labels, batches(split, CONFIG, 20))


@pytest.mark.parametrize(
    ("cache_bytes", "is_balanced"), [(2**30, False), (2**30, True), (0, True)]
)
def test_sides_are_the_same_from_a_later_step_on(
    ingested, passes, cache_bytes, is_balanced
) -> None:
    split = load(ingested, cache_bytes)
    whole = passes(split, is_balanced, 12)
    for first in (3, 7):
        rest = passes(split, is_balanced, 12 - first, first)
        for all_of_it, part in zip(whole, rest, strict=True):
            np.testing.assert_array_equal(all_of_it[first:], part)


@pytest.mark.parametrize("cache_bytes", [2**30, 0], ids=["memory", "files"])
def test_repeats_of_balanced_sampling_show_both_sides(
    ingested, passes, cache_bytes
) -> None:
    """Passes over an image in one epoch take turns; the next epoch begins with the other."""
    sides, labels = passes(load(ingested, cache_bytes), True, 10)
    first_sides = alternation.first_sides(COUNT, CONFIG.train.seed)
    for epoch in range(2):
        rows = slice(5 * epoch, 5 * epoch + 5)
        found, mirrored = labels[rows].ravel(), sides[rows].ravel()
        repeats = rare_repeats(found, CONFIG.train.seed, epoch)
        assert repeats.max() > 2
        np.testing.assert_array_equal(np.bincount(found, minlength=COUNT), repeats)
        for image, count in enumerate(repeats):
            turns = first_sides[image] ^ ((epoch + np.arange(count)) % 2 == 1)
            assert sorted(mirrored[found == image]) == sorted(turns)
