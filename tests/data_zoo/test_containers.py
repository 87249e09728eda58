"""Many images in a file: TFRecords, Parquet and NumPy arrays."""

import gzip
import io
import json
import struct

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

ANTS = {"ant": 2, "bee": 1}
WORDS = ("ant", "ant", "bee")


def field(number, content):
    """A length-delimited field of a protocol buffer."""
    size, rest = b"", len(content)
    while rest > 127:
        size, rest = size + bytes([rest & 127 | 128]), rest >> 7
    return bytes([number << 3 | 2]) + size + bytes([rest]) + content


def example(**features):
    """tf.train.Example of texts (bytes), whole numbers and floats."""
    entries = b""
    for name, value in features.items():
        if isinstance(value, bytes):
            values = field(1, field(1, value))
        elif isinstance(value, float):
            values = field(2, field(1, struct.pack("<f", value)))
        else:
            values = field(3, field(1, bytes([value])))
        entries += field(1, field(1, name.encode()) + field(2, values))
    return field(1, entries)


def tfrecord(*examples):
    return b"".join(
        struct.pack("<Q", len(data)) + bytes(4) + data + bytes(4) for data in examples
    )


def test_tfrecords_with_texts(zoo):
    for split, words in (("train", WORDS), ("validation", WORDS[1:])):
        made = [
            example(
                **{
                    "image/encoded": zoo.png(),
                    "image/format": b"png",
                    "image/class/label": int(word == "bee"),
                    "image/class/text": word.encode(),
                    "image/weight": 0.5,
                }
            )
            for word in words
        ]
        zoo.data(f"{split}-00000-of-00001", tfrecord(*made))
    zoo.reads(
        {"train": ANTS, "eval": {"ant": 1, "bee": 1}},
        says="'image/encoded' has the images, 'image/class/text' the classes",
    )


def test_packed_tfrecords_with_numbers(zoo):
    made = [example(image_raw=zoo.png(), label=number) for number in (0, 0, 1)]
    zoo.data("insects.tfrecord.gz", gzip.compress(tfrecord(*made)))
    zoo.reads({"": {"0": 2, "1": 1}})


def test_tensorflow_datasets(zoo):
    made = [example(image=zoo.png(), label=number, id=b"x") for number in (0, 0, 1)]
    zoo.data("1.0.0/insects-train.tfrecord-00000-of-00001", tfrecord(*made))
    zoo.text("1.0.0/label.labels.txt", "ant", "bee")
    zoo.text("1.0.0/dataset_info.json", '{"name": "insects"}')
    zoo.text("1.0.0/features.json", '{"type": "FeaturesDict"}')
    zoo.reads({"train": ANTS}, says="label.labels.txt has the names")


def test_tfrecords_with_unusual_features(zoo):
    made = [example(left=zoo.png(), right=zoo.png(), kind=number) for number in (0, 1)]
    zoo.data("a.tfrecord", tfrecord(*made))
    zoo.asks(
        "left, right", "--set data.columns.path=left", "--set data.columns.path=right"
    )
    zoo.asks("right, kind", "--set data.columns.label=kind", path_column="left")
    zoo.reads({"": {"0": 1, "1": 1}}, path_column="left", label_column="kind")


def test_damaged_tfrecords(zoo):
    zoo.data("a.tfrecord", tfrecord(example(image=zoo.png(), label=1))[:-9])
    zoo.refuses("a.tfrecord is damaged or ends early")


def write_parquet(zoo, name, columns, features=None):
    table = pa.table(columns)
    if features:
        noted = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": noted})
    file = io.BytesIO()
    parquet.write_table(table, file)
    zoo.data(name, file.getvalue())


def test_hugging_face_parquet(zoo):
    features = {
        "image": {"_type": "Image"},
        "label": {"names": ["ant", "bee"], "_type": "ClassLabel"},
    }
    for split, numbers in (("train", (0, 0, 1)), ("test", (1,))):
        images = [{"bytes": zoo.png(), "path": f"{n}.png"} for n in numbers]
        write_parquet(
            zoo,
            f"data/{split}-00000-of-00001.parquet",
            {"image": images, "label": list(numbers)},
            features,
        )
    zoo.reads({"train": ANTS, "test": {"bee": 1}}, says="by the names in the schema")


def test_parquet_with_texts(zoo):
    images = [zoo.png() for _ in WORDS]
    write_parquet(zoo, "all.parquet", {"content": images, "category": list(WORDS)})
    zoo.reads({"": ANTS})


def test_parquet_with_two_columns_of_classes(zoo):
    columns = {
        "img": [zoo.png() for _ in WORDS],
        "species": list(WORDS),
        "sex": ["f"] * 3,
    }
    write_parquet(zoo, "all.parquet", columns)
    zoo.asks("species, sex", "--set data.columns.label=species")
    zoo.reads({"": ANTS}, label_column="species")


def write_npz(zoo, name, **arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    zoo.data(name, file.getvalue())


def pixels(count, *shape):
    return np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.uint8)


def test_npz_of_keras(zoo):
    write_npz(
        zoo,
        "mnist.npz",
        x_train=pixels(3, 4, 4),
        y_train=np.array([0, 0, 1]),
        x_test=pixels(1, 4, 4),
        y_test=np.array([1]),
    )
    zoo.reads(
        {"train": {"0": 2, "1": 1}, "test": {"1": 1}}, says="x_train with y_train"
    )


def test_npz_of_medmnist(zoo):
    write_npz(
        zoo,
        "bloodmnist.npz",
        train_images=pixels(3, 4, 4, 3),
        train_labels=np.array([[0], [0], [1]]),
        val_images=pixels(1, 4, 4, 3),
        val_labels=np.array([[1]]),
    )
    zoo.reads({"train": {"0": 2, "1": 1}, "eval": {"1": 1}})


def test_npz_with_names(zoo):
    write_npz(zoo, "a.npz", images=pixels(3, 4, 4), labels=np.array(WORDS))
    zoo.reads({"": ANTS})
    write_npz(
        zoo,
        "a.npz",
        images=pixels(3, 4, 4),
        labels=np.array([0, 0, 1]),
        class_names=np.array(["ant", "bee"]),
    )
    zoo.reads({"": ANTS})


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (
            {"images": pixels(2, 4, 4), "labels": np.array(["a", {}], object)},
            "cannot be read",
        ),
        (
            {"images": pixels(2, 4, 4) / 255, "labels": np.array([0, 1])},
            "holds no images",
        ),
        ({"images": pixels(2, 4, 4), "labels": np.eye(2)}, "holds no classes"),
        (
            {"images": pixels(2, 4, 4), "labels": np.array([0])},
            "'a.npz/images' has 2 images and 1 labels",
        ),
        ({"mean": pixels(2, 4, 4)}, "no arrays of images and labels"),
    ],
)
def test_npz_that_holds_something_else(zoo, arrays, said):
    write_npz(zoo, "a.npz", **arrays)
    zoo.refuses(said)


def slim(zoo, *labels):
    return tfrecord(
        *(example(image=zoo.png(), label=label, id=b"a", width=4) for label in labels)
    )


@pytest.mark.parametrize(
    "lines", [("0:ant", "1:bee"), ("1: bee", "0: ant"), ("0 ant", "1 bee")]
)
def test_numbered_names_of_slim(zoo, lines):
    zoo.data("ants_train_00000-of-00001.tfrecord", slim(zoo, 0, 0, 1))
    zoo.text("labels.txt", *lines)
    zoo.reads({"train": ANTS})


def test_tfrecords_of_objects_or_without_classes(zoo):
    boxes = example(**{"image/encoded": zoo.png(), "image/object/class/text": b"ant"})
    zoo.data("train.tfrecord", tfrecord(boxes))
    zoo.refuses("train.tfrecord has no field with classes")


def test_a_test_folder_without_classes(zoo):
    zoo.data("train/a.tfrec", slim(zoo, 0, 1))
    zoo.data("test/a.tfrec", tfrecord(example(image=zoo.png(), id=b"a")))
    zoo.refuses("test/a.tfrec has no field with classes")
    zoo.reads({"train": {"0": 1, "1": 1}}, splits=(("test/a.tfrec", "none"),))


def test_two_versions_of_a_data_set(zoo):
    for version, names in (("1.0.0", ("ant", "bee")), ("2.0.0", ("bee", "ant"))):
        zoo.data(
            f"ants/{version}/ants-train.tfrecord-00000-of-00001", slim(zoo, 0, 0, 1)
        )
        zoo.text(f"ants/{version}/label.labels.txt", *names)
    zoo.asks(
        "ants/1.0.0/, ants/2.0.0/",
        "'data.splits=[ants/2.0.0=none]' (reads ants/1.0.0)",
        "data.format=tfrecord",
    )
    zoo.reads({"train": ANTS}, splits=(("ants/2.0.0", "none"),))
    zoo.reads({"train": {"ant": 1, "bee": 2}}, splits=(("ants/1.0.0", "none"),))
    zoo.refuses("several files name the classes, and not alike", format="tfrecord")


def class_label(*names):
    return {
        "image": {"_type": "Image"},
        "label": {"names": list(names), "_type": "ClassLabel"},
    }


def test_parquet_files_that_number_the_classes_otherwise(zoo):
    for split, names in (("test", ("bee", "ant")), ("train", ("ant", "bee"))):
        columns = {"image": [zoo.png(), zoo.png()], "label": [0, 1]}
        write_parquet(zoo, f"{split}.parquet", columns, class_label(*names))
    zoo.refuses("train.parquet has other names of classes than the first file")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([0, -1], ()),
        ([0, None], ()),
        ([0, None], ("ant", "bee")),
        (["ant", ""], ()),
        (["ant", None], ()),
    ],
)
def test_parquet_rows_without_a_class(zoo, labels, names):
    columns = {"image": [zoo.png(), zoo.png()], "label": labels}
    write_parquet(zoo, "data/test.parquet", columns, class_label(*names))
    zoo.refuses("data/test.parquet#1 has no class", tip="data/test.parquet=none")


def test_parquet_of_pandas_categories(zoo):
    words = pa.array(list(WORDS)).dictionary_encode()
    write_parquet(
        zoo, "a.parquet", {"image": [zoo.png() for _ in WORDS], "label": words}
    )
    zoo.reads({"": ANTS})


def test_npz_with_a_half_that_has_no_labels(zoo):
    write_npz(
        zoo,
        "a.npz",
        x_train=pixels(2, 4, 4),
        y_train=np.array([0, 1]),
        x_test=pixels(1, 4, 4),
    )
    zoo.reads({"train": {"0": 1, "1": 1}}, says="labels or images are missing: x_test")


def test_npz_with_images_of_no_class(zoo):
    write_npz(zoo, "a.npz", images=pixels(2, 4, 4), labels=np.array([0, -1]))
    zoo.refuses("record 1 of 'a.npz/images' has the class number -1")


def test_npz_of_gray_and_colour(zoo):
    write_npz(zoo, "test.npz", x=pixels(2, 4, 4), y=np.array([0, 1]))
    write_npz(zoo, "train.npz", x=pixels(2, 4, 4, 3), y=np.array([0, 1]))
    zoo.refuses("'x' in train.npz has other channels")


@pytest.mark.parametrize(
    ("name", "tip"),
    [
        ("X.npy", "numpy.savez_compressed"),
        ("train_32x32.mat", "scipy.io.loadmat"),
        ("train.h5", "h5py"),
        ("train.p", "pickles"),
        ("stl10/train_X.bin", "STL-10"),
        ("train/data-00000-of-00001.arrow", "to_parquet"),
        ("fer2013.csv", "pixels as numbers are not read"),
        ("ant/1.mp4", "ffmpeg"),
        ("ant/IMG_1", "files without an ending"),
        ("a.zip", "give the archive itself"),
    ],
)
def test_kinds_that_are_not_read_are_named(zoo, name, tip):
    zoo.data(name, b"0,1,2")
    zoo.refuses("no images in", tip=tip)


def test_an_archive_a_class(zoo):
    for text in ("ant", "bee"):
        zoo.data(f"{text}.zip", b"PK")
    zoo.refuses("no images in", tip="unpack the archives")


def test_images_without_folders_whose_names_hold_the_class(zoo):
    zoo.flat("", "ant.1", "ant.2", "bee.1")
    zoo.refuses(
        "no class folders", tip="--set data.class_from=name (classes: ant, bee)"
    )


def test_files_of_an_archive_that_are_left_out(zoo):
    write_npz(zoo, "train.npz", x=pixels(2, 4, 4), y=np.array([0, 1]))
    write_npz(zoo, "old/train.npz", x=pixels(2, 4, 4), y=np.array([0, 2]))
    zoo.asks("old/", "'data.splits=[old=none]'")
    zoo.pack()
    zoo.reads({"train": {"0": 1, "1": 1}}, splits=(("old", "none"),))
