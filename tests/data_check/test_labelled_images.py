"""Images to check, from where they lie."""

import numpy as np
import pytest
import tensorflow as tf

from common.errors import DataError
from components.image_example_gen import inspection
from data_check import checking, labelled_images
from schema import features


def write_examples(folder, split, rows):
    """A file of Examples as ingest writes them; rows are (key, class, encoded)."""
    (folder / f"Split-{split}").mkdir(parents=True)
    path = folder / f"Split-{split}" / "data_tfrecord-00000-of-00001.gz"
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for key, text, encoded in rows:
            example = tf.train.Example()
            for name, value in (
                (features.KEY, key),
                (features.TEXT, text),
                (features.ENCODED, encoded),
            ):
                example.features.feature[name].bytes_list.value.append(value)
            writer.write(example.SerializeToString())
    return path


@pytest.mark.parametrize("kind", ["cifar", "mnist", "folders", "list"])
def test_counts_what_inspect_counts(fakes, tmp_path, kind):
    folder = tmp_path / kind
    if kind == "cifar":
        fakes.cifar10_binary(folder)
    elif kind == "mnist":
        fakes.idx(folder)
    else:
        fakes.class_folders(folder, ("cat", "dog"), 3)
    if kind == "list":
        (folder / "Train.txt").write_text(
            "".join(
                f"{text}/image_{number:04}.png {label}\n"
                for text, label in (("cat", "00"), ("dog", "1"))
                for number in (1, 2, 3)
            )
        )
    found = checking.check(kind, labelled_images.from_path(str(folder)))
    expected = inspection.inspect(str(folder))
    assert found.images == expected.images
    assert (found.width_px, found.height_px) == (expected.width_px, expected.height_px)


def test_keys_of_raw_formats_are_those_of_ingest(fakes, tmp_path):
    folder = fakes.cifar10_binary(tmp_path / "cifar", images=3)
    found = [image.key for image in labelled_images.from_path(str(folder))]
    assert found == [
        f"{file}#{place}"
        for file in ("data_batch_1.bin", "data_batch_2.bin", "test_batch.bin")
        for place in range(3)
    ]


def test_reads_the_examples_of_a_run(tmp_path, pictures):
    encoded = [tf.io.encode_png(np.asarray(pictures.make())).numpy() for _ in range(2)]
    write_examples(
        tmp_path,
        "train",
        [(b"a.png", b"cat", encoded[0]), (b"\xff.png", b"dog", encoded[1])],
    )
    write_examples(tmp_path, "test", [(b"b.png", b"cat", encoded[0])])
    found = checking.check("run", labelled_images.from_examples(str(tmp_path)))
    assert found.images == {"test": {"cat": 1}, "train": {"cat": 1, "dog": 1}}
    (group,) = found.exact_duplicates
    assert [(image.key, image.split) for image in group.images] == [
        ("a.png", "train"),
        ("b.png", "test"),
    ]
    assert group.is_across_splits


def test_refuses_a_folder_without_examples(tmp_path):
    with pytest.raises(DataError, match="no Examples in"):
        list(labelled_images.from_examples(str(tmp_path)))


def test_refuses_damaged_examples(tmp_path):
    path = write_examples(tmp_path, "eval", [(b"a", b"cat", b"x" * 5000)])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"damaged Examples in .*/Split-eval"):
        list(labelled_images.from_examples(str(tmp_path)))
