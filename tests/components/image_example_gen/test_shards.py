"""Files of a split: written an Example at a time, with their labels beside them."""

import os
import pathlib
import tracemalloc

import numpy as np
import tensorflow as tf

from components.image_example_gen import index, shards, spool
from schema import example_labels

IMAGE_BYTES = 1 << 20
IMAGES = 64


def test_memory_does_not_grow_with_the_file(tmp_path: pathlib.Path, job_of) -> None:
    job = job_of(None)
    writer = spool.Writer(job.spool_uri)
    contents = [os.urandom(16) * (IMAGE_BYTES // 16) for _ in range(IMAGES)]
    places = np.zeros(IMAGES, index.PLACE)
    for number, content in enumerate(contents):
        place = writer.add(content)
        places[number] = (0, place.offset, place.length, number % 2, 0)
    writer.close()
    order = np.random.default_rng(1).permutation(IMAGES)
    expected = [contents[number][:16] for number in order]
    del contents
    shard = ("train", 0, 1, [place.file], places[order].tobytes())
    tracemalloc.start()
    try:
        list(shards.WriteShard(job).process(shard))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * IMAGE_BYTES
    path = tmp_path / "Split-train" / "data_tfrecord-00000-of-00001.gz"
    records = tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator()
    assert [record[:16] for record in records] == expected
    labels = pathlib.Path(example_labels.path_of(str(path))).read_bytes()
    np.testing.assert_array_equal(example_labels.decode(labels), order % 2)


def test_the_spool_keeps_few_files_open(tmp_path: pathlib.Path, monkeypatch) -> None:
    monkeypatch.setattr(spool, "_OPEN_FILES", 3)
    writers = [spool.Writer(str(tmp_path)) for _ in range(10)]
    places = [writer.add(b"%d" % number) for number, writer in enumerate(writers)]
    for writer in writers:
        writer.close()
    before = len(list(pathlib.Path("/proc/self/fd").iterdir()))
    with spool.Reader(str(tmp_path)) as stored:
        assert [stored.read(*place) for place in places] == [
            b"%d" % number for number in range(10)
        ]
        assert len(list(pathlib.Path("/proc/self/fd").iterdir())) == before + 3
    assert len(list(pathlib.Path("/proc/self/fd").iterdir())) == before


def test_a_long_file_is_followed_by_another(
    tmp_path: pathlib.Path, monkeypatch
) -> None:
    monkeypatch.setattr(spool, "FILE_BYTES", 10)
    writer = spool.Writer(str(tmp_path))
    places = []
    for _ in range(4):
        writer.close_if_long()
        places.append(writer.add(b"sixsix"))
    writer.close()
    assert [place.offset for place in places] == [0, 6, 0, 6]
    assert places[0].file == places[1].file != places[2].file
