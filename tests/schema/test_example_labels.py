"""The labels of a file of Examples, in a file of their own."""

import io

import numpy as np
import pytest

from schema import example_labels


@pytest.mark.parametrize("root", ["/runs/ingest/examples/3", "gs://bucket/examples/3"])
def test_they_lie_outside_of_the_folder_of_the_split(root: str) -> None:
    file = f"{root}/Split-train/data_tfrecord-00000-of-00004.gz"
    expected = f"{root}/labels/train/data_tfrecord-00000-of-00004.npy"
    assert example_labels.path_of(file) == expected


def test_they_come_back() -> None:
    labels = np.array([3, -1, 70_000])
    found = example_labels.decode(example_labels.encode(labels))
    assert found is not None and found.dtype == np.int64
    np.testing.assert_array_equal(found, labels)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nothing of NumPy",
        example_labels.encode(np.arange(9))[:-3],
        npy(np.zeros(3)),
        npy(np.zeros([2, 2], np.int32)),
    ],
    ids=["empty", "text", "cut", "floats", "table"],
)
def test_other_content_gives_none(content: bytes) -> None:
    assert example_labels.decode(content) is None
