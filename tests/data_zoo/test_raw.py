"""Raw pixels: CIFAR, MNIST, EMNIST and arrays."""

import gzip
import struct

import numpy as np

from components.image_example_gen import layouts


def write_idx(zoo, name, values, is_packed=True):
    data = struct.pack(f">I{values.ndim}I", 0x0800 | values.ndim, *values.shape)
    data += values.astype(np.uint8).tobytes()
    zoo.data(
        f"{name}.gz" if is_packed else name, gzip.compress(data) if is_packed else data
    )


def write_mnist(zoo, labels, prefix="", test="t10k"):
    for split in ("train", test):
        images = np.zeros((len(labels), 4, 3))
        images[:, 3, 0] = 255  # the foot of an upright L
        if prefix:
            images = images.transpose(0, 2, 1)
        write_idx(zoo, f"{prefix}{split}-images-idx3-ubyte", images)
        write_idx(zoo, f"{prefix}{split}-labels-idx1-ubyte", np.asarray(labels))


def test_mnist(zoo):
    write_mnist(zoo, [0, 1, 1])
    counts = {"0": 1, "1": 2}
    zoo.reads({"train": counts, "test": counts}, says="MNIST-format files")


def test_emnist_is_upright_and_has_characters(zoo):
    write_mnist(zoo, [1, 2, 2], "emnist-letters-", "test")
    zoo.text("emnist-letters-mapping.txt", "1 65 97", "2 66 98")
    counts = {"A": 1, "B": 2}
    zoo.reads({"train": counts, "test": counts}, says="rows and columns exchanged")
    plan = layouts.plan(str(zoo.folder))
    for unit in plan.units:
        for batch in plan.read(unit):
            assert batch.pixels.shape == (3, 4, 3, 1)
            assert batch.pixels[0, 3, 0, 0] == 255


def test_emnist_with_small_letters(zoo):
    write_mnist(zoo, [10, 36], "emnist-byclass-", "test")
    zoo.text("emnist-byclass-mapping.txt", "0 48", "10 65", "36 97")
    zoo.reads({"train": {"A": 1, "a": 1}, "test": {"A": 1, "a": 1}})


def test_emnist_of_all_kinds(zoo):
    write_mnist(zoo, [1, 2, 2], "gzip/emnist-letters-", "test")
    write_mnist(zoo, [0, 1], "gzip/emnist-digits-", "test")
    zoo.asks(
        "gzip/emnist-digits, gzip/emnist-letters",
        "--set data.subset=gzip/emnist-letters",
    )
    counts = {"1": 1, "2": 2}
    zoo.reads({"train": counts, "test": counts}, subset="gzip/emnist-letters")


def test_emnist_with_a_class_that_has_no_character(zoo):
    write_mnist(zoo, [1, 3], "emnist-letters-", "test")
    zoo.text("emnist-letters-mapping.txt", "1 65 97", "2 66 98")
    zoo.refuses("has the class number 3")


def test_cifar(zoo):
    record = bytes([3]) + bytes(3072)
    zoo.data("data_batch_1.bin", record * 2)
    zoo.data("test_batch.bin", record)
    names = [f"kind {n}" for n in range(10)]
    zoo.text("batches.meta.txt", *names)
    zoo.reads({"train": {"kind 3": 2}, "test": {"kind 3": 1}}, says="CIFAR-10")


def test_two_releases_of_cifar(zoo):
    for folder, label in (("old/", 3), ("new/", 4)):
        zoo.data(f"{folder}data_batch_1.bin", bytes([label]) + bytes(3072))
        zoo.text(f"{folder}batches.meta.txt", *(f"kind {n}" for n in range(10)))
    zoo.asks("new (cifar10_binary), old (cifar10_binary)", "data.splits=[old=none]")
    zoo.reads({"train": {"kind 4": 1}}, splits=(("old", "none"),))


def test_mnist_of_kaggle_has_each_file_twice(zoo):
    write_mnist(zoo, [0, 1, 1])
    for split in ("train", "t10k"):
        for name in (f"{split}-images-idx3-ubyte", f"{split}-labels-idx1-ubyte"):
            write_idx(zoo, f"{name}/{name}", np.zeros((3,)), is_packed=False)
    zoo.reads({"train": {"0": 1, "1": 2}, "test": {"0": 1, "1": 2}})
