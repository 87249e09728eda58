"""The published data sets themselves, where SLIMLINE_TEST_DATA names their folder."""

import hashlib
import os
import pathlib
import tarfile

import numpy as np
import pytest
import tensorflow as tf

from components.image_example_gen import inspection, layouts, reading, records

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data():
    """Folder of the real data sets."""
    folder = os.environ.get("SLIMLINE_TEST_DATA")
    if not folder:
        pytest.skip("SLIMLINE_TEST_DATA does not name a folder with the real data sets")
    return pathlib.Path(folder)


@pytest.fixture(scope="module")
def cifar10(data, tmp_path_factory):
    """The CIFAR-10 batches, unpacked."""
    folder = tmp_path_factory.mktemp("cifar")
    with tarfile.open(data / "cifar10" / "cifar-10-binary.tar.xz") as tar:
        for info in tar:
            if info.isreg():
                file = tar.extractfile(info)
                (folder / pathlib.PurePosixPath(info.name).name).write_bytes(
                    file.read()
                )
    return folder


def first_of(plan, split):
    for unit in plan.units:
        for record in reading.records_of(plan.read(unit), plan, records.Classes(())):
            if isinstance(record, reading.Record) and record.row.split == split:
                return record
    raise LookupError(split)


@pytest.mark.nightly
def test_cifar10_values(cifar10):
    plan = layouts.plan(str(cifar10))
    test, train = first_of(plan, "test"), first_of(plan, "train")
    assert (test.row.text, test.row.key) == ("cat", "test_batch.bin#0")
    assert tf.io.decode_png(test.encoded)[0, 0].numpy().tolist() == [158, 112, 49]
    assert (train.row.text, train.row.key) == ("frog", "data_batch_1.bin#0")
    assert tf.io.decode_png(train.encoded)[0, 0].numpy().tolist() == [59, 62, 63]


@pytest.mark.nightly
@pytest.mark.parametrize("protocol", [0, 5])
def test_cifar10_python_layout_equals_the_binary_one(
    fakes, cifar10, tmp_path, protocol
):
    folder = fakes.python_layout(cifar10, tmp_path / "py", protocol)
    rows = []
    for path in (cifar10, folder):
        plan = layouts.plan(str(path))
        rows.append(
            [
                (r.row.key.replace(".bin", ""), r.row.digest, r.label, r.row.text)
                for unit in plan.units
                for r in reading.records_of(
                    plan.read(unit), plan, records.Classes(()), has_pixels=False
                )
                if isinstance(r, reading.Record)
            ]
        )
    assert len(rows[0]) == 60_000
    assert rows[0] == rows[1]


def test_mnist_counts(data):
    found = inspection.inspect(str(data / "mnist"))
    assert list(found.images["train"].values()) == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949
    ]  # fmt: skip
    assert list(found.images["test"].values()) == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009
    ]  # fmt: skip


def test_caltech_counts(data):
    found = inspection.inspect(str(data / "custom" / "caltech101-16.tar.gz"))
    assert sum(found.images["all"].values()) == 1732
    assert found.images["all"]["watch"] == 235
    assert found.labels[0] == "Motorbikes"
    assert (found.width_px.minimum, found.width_px.maximum) == (159, 429)
    assert (found.height_px.minimum, found.height_px.maximum) == (111, 494)
    assert (found.unreadable, found.ignored, found.channels) == ((), (), 3)


@pytest.mark.nightly
def test_binary_batches_are_the_originals(cifar10):
    digest = hashlib.md5((cifar10 / "test_batch.bin").read_bytes()).hexdigest()
    assert digest == "803d5f7f4d78ea53de84dbe85f74fb6d"
    assert np.fromfile(cifar10 / "data_batch_1.bin", np.uint8).size == 30_730_000
