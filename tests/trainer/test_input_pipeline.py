"""The order of the images: from the seed, the same from memory and from files."""

import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.autograph.impl import api

from trainer import input_pipeline
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
# 6 images of one class among 40, in two files.
COUNT, RARE = 40, 6


def with_train(**changes: object) -> TrainerConfig:
    return dataclasses.replace(
        CONFIG, train=dataclasses.replace(CONFIG.train, **changes)
    )


@pytest.fixture(scope="module")
def files(make_fake, encode_example, tmp_path_factory) -> tuple[str, object]:
    """(pattern, Transform's output) of images that hold their number in one px."""
    fake = make_fake(CONFIG.preprocessing)
    folder: pathlib.Path = tmp_path_factory.mktemp("numbered")
    for shard, places in enumerate(np.array_split(np.arange(COUNT), [25])):
        path = folder / f"data_tfrecord-{shard:05}-of-00002.gz"
        with tf.io.TFRecordWriter(str(path), options="GZIP") as writer:
            for place in places:
                png = tf.io.encode_png(np.full([8, 8, 1], place, np.uint8)).numpy()
                writer.write(encode_example(png, int(place < RARE)))
    return str(folder / "data_tfrecord-*"), fake.transform


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


def test_labels_are_known_in_file_order(split: Split) -> None:
    assert split.num_examples == COUNT
    assert split.labels.tolist() == [1] * RARE + [0] * (COUNT - RARE)


def test_same_seed_same_order_and_another_seed_another(split: Split) -> None:
    one = batches(split, CONFIG, 8)
    np.testing.assert_array_equal(one, batches(split, CONFIG, 8))
    assert np.any(np.array(one) != np.array(batches(split, with_train(seed=4), 8)))


@pytest.mark.parametrize("is_balanced", [False, True])
def test_from_a_later_step_on_it_is_the_same(split: Split, is_balanced: bool) -> None:
    config = with_train(balanced_sampling=is_balanced)
    whole = batches(split, config, 12)
    np.testing.assert_array_equal(whole[3:], batches(split, config, 9, first_step=3))
    np.testing.assert_array_equal(whole[7:], batches(split, config, 5, first_step=7))


def test_an_epoch_sees_every_image_once(split: Split) -> None:
    """In each of two epochs as many of the rare class as there are."""
    labels = np.reshape(batches(split, CONFIG, 10), [2, COUNT])
    assert labels.sum(axis=1).tolist() == [RARE, RARE]


def test_an_epoch_in_memory_sees_every_image_once(files) -> None:
    loaded = input_pipeline.load_split([files[0]], files[1], 2**30)
    numbered = dataclasses.replace(loaded, labels=np.arange(COUNT))
    seen = np.concatenate(batches(numbered, CONFIG, 5))
    np.testing.assert_array_equal(np.sort(seen), np.arange(COUNT))


def test_balanced_sampling_draws_the_classes_alike(split: Split) -> None:
    labels = np.reshape(batches(split, with_train(balanced_sampling=True), 15), [3, -1])
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
