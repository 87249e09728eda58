"""Requests that are kept: which, how they are read, and that nobody waits for them."""

import hashlib
import os
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from common.errors import ConfigError
from serving.local_server import feedback
from serving.local_server.answering import Answer

COLOURS = ((250, 10, 20), (30, 220, 9), (0, 70, 200))


def answer(count, version=4):
    classes = np.asarray([[b"red", b"blue"]] * count, object)
    scores = np.asarray([[0.75, 0.25]] * count, np.float32)
    return Answer(
        "colours", version, "classify", {"classes": classes, "scores": scores}
    )


def read(folder):
    """Every Example kept, and the names of the files."""
    files = sorted(folder.glob(feedback.FILE_PATTERN))
    records = tf.data.TFRecordDataset([str(file) for file in files], "GZIP")
    examples = [tf.train.Example.FromString(r) for r in records.as_numpy_iterator()]
    return [example.features.feature for example in examples], files


def test_what_is_kept(tmp_path, png):
    images = [png(*colour, side_px=6, kind="JPEG") for colour in COLOURS]
    sampler = feedback.RequestSampler(tmp_path / "kept", 1.0, 100)
    sampler.offer(images, answer(3))
    sampler.close()
    kept, files = read(tmp_path / "kept")
    assert len(files) == 1
    assert sampler.stored_count == 3
    assert [feature["image/encoded"].bytes_list.value[0] for feature in kept] == images
    for feature, image in zip(kept, images, strict=True):
        sha256 = hashlib.sha256(image).hexdigest().encode()
        assert feature["image/key"].bytes_list.value == [sha256]
        assert feature["image/format"].bytes_list.value == [b"jpeg"]
        assert feature["image/width"].int64_list.value == [6]
        assert feature["image/height"].int64_list.value == [6]
        assert feature["image/class/text"].bytes_list.value == [b"red"]
        assert feature["serving/model"].bytes_list.value == [b"colours"]
        assert feature["serving/version"].int64_list.value == [4]
        assert feature["serving/score"].float_list.value == [0.75]
        assert feature["serving/time"].bytes_list.value[0].endswith(b"+00:00")
        assert "image/class/label" not in feature


@pytest.mark.parametrize(
    "outputs",
    [
        {},
        {"classes": np.asarray([b"red"], object), "scores": np.ones(1, np.float32)},
        {"classes": np.asarray([[3]]), "scores": np.ones([1, 1], np.float32)},
        {"classes": np.asarray(b"red", object), "scores": np.float32(1)},
    ],
)
def test_answers_of_other_models_are_not_kept(tmp_path, png, outputs):
    sampler = feedback.RequestSampler(tmp_path, 1.0, 100)
    sampler.offer([png(1, 2, 3)], Answer("other", 1, "serving_default", outputs))
    sampler.close()
    assert (sampler.stored_count, sampler.dropped_count) == (0, 0)


def test_share_and_maximum(tmp_path, png):
    image = png(1, 2, 3)
    kept = []
    for share, most in [(0.25, 10_000), (0.25, 10_000), (1.0, 7)]:
        folder = tmp_path / str(len(kept))
        sampler = feedback.RequestSampler(folder, share, most)
        for version in range(400):
            sampler.offer([image], answer(1, version))
        sampler.close()
        assert sampler.dropped_count == 0
        kept.append([f["serving/version"].int64_list.value[0] for f in read(folder)[0]])
    assert kept[0] == kept[1]
    assert 70 < len(kept[0]) < 130
    assert kept[2] == list(range(7))


def test_files_appear_whole_and_in_time(tmp_path, png, monkeypatch):
    monkeypatch.setattr(feedback, "_MOST_EXAMPLES", 12)
    monkeypatch.setattr(feedback, "_FILE_SECONDS", 2)
    sampler = feedback.RequestSampler(tmp_path, 1.0, 100)

    def wait_for(count):
        end = time.monotonic() + 20
        while sampler.stored_count < count and time.monotonic() < end:
            time.sleep(0.05)
        kept, files = read(tmp_path)
        assert len(kept) == count
        return len(files)

    # Half of what may wait is a file at once, less is one after a while.
    sampler.offer([png(1, 2, 3)] * 7, answer(7))
    assert wait_for(7) == 1
    sampler.offer([png(1, 2, 3)] * 2, answer(2))
    assert wait_for(9) == 2
    assert [path.name for path in tmp_path.iterdir() if path.name[0] == "."] == []
    sampler.close()


def test_a_slow_disk_slows_no_answer(tmp_path, png, monkeypatch):
    """The disk takes nothing until all requests have their answers."""
    is_free = threading.Event()

    def slow(self, examples):
        is_free.wait(60)

    monkeypatch.setattr(feedback.RequestSampler, "_write_file", slow)
    monkeypatch.setattr(feedback, "_MOST_EXAMPLES", 100)
    sampler = feedback.RequestSampler(tmp_path, 1.0, 100_000)
    image = png(1, 2, 3)
    for _ in range(2_000):
        sampler.offer([image], answer(1))
    assert sampler.dropped_count > 1_500
    is_free.set()
    sampler.close()
    is_free.clear()
    # Large images fill it by their bytes.
    sampler = feedback.RequestSampler(tmp_path, 1.0, 100_000)
    for _ in range(30):
        sampler.offer([bytes(8 << 20)], answer(1))
    assert sampler.dropped_count >= 10
    is_free.set()
    sampler.close()


def test_a_full_disk_ends_nothing(tmp_path, png, monkeypatch):
    sampler = feedback.RequestSampler(tmp_path, 1.0, 100)
    fails = [True]
    original = os.fsync

    def fsync(descriptor):
        if fails:
            fails.pop()
            raise OSError(28, "No space left on device")
        return original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    sampler.offer([png(1, 2, 3)], answer(1, 1))
    sampler.close()
    assert (sampler.stored_count, sampler.dropped_count) == (0, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigError, match="cannot keep requests in"):
        feedback.RequestSampler(file / "below", 1.0, 100)
