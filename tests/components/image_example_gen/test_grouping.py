"""What an image's group is named by, and where it cannot be."""

import csv
import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from common.errors import ConfigError, DataError
from components.image_example_gen import (
    grouping,
    inspection,
    layouts,
    looks,
    reading,
    records,
    splits,
)
from schema import features


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", grouping.Grouping()),
        (
            "column:patient id",
            grouping.Grouping("column:patient id", column="patient id"),
        ),
        ("path:2", grouping.Grouping("path:2", folder=2)),
        ("looks", grouping.Grouping("looks", is_by_looks=True)),
        (r"path:p(\d+)_", grouping.Grouping(r"path:p(\d+)_", pattern=r"p(\d+)_")),
    ],
)
def test_parse(text, expected):
    assert grouping.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "patient",
        "column:",
        "path:",
        "path:0",
        "path:cat",
        "path:(a)(b)",
        "path:(",
        "x:1",
    ],
)
def test_refuses_what_names_no_groups(text):
    with pytest.raises(ConfigError, match=r"data\.group_by") as caught:
        grouping.parse(text)
    assert caught.value.expected == grouping.EXPECTED
    assert text in caught.value.found


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("path:1", "cat/p1/a.jpg", "p1"),
        ("path:1", "train/cat/p1/left/a.jpg", "p1"),
        ("path:2", "train/cat/p1/left/a.jpg", "left"),
        (r"path:(p\d+)_", "cat/p12_3.jpg", "p12"),
        (r"path:^([^/]+/[^/]+)/", "cat/p1/a.jpg", "cat/p1"),
    ],
)
def test_group_of_a_path(text, key, expected):
    assert grouping.parse(text).of_path(key, "cat") == expected


@pytest.mark.parametrize(
    ("text", "message", "found"),
    [
        ("path:2", "'cat/p1/a.jpg' has no folder 2 below its class 'cat'", "p1"),
        ("path:(q)", "finds no group in the path 'cat/p1/a.jpg'", "path:(q)"),
        ("path:(q?)", "finds no group in the path 'cat/p1/a.jpg'", "path:(q?)"),
    ],
)
def test_a_path_without_that_part(text, message, found):
    with pytest.raises(ConfigError) as caught:
        grouping.parse(text).of_path("cat/p1/a.jpg", "cat")
    assert message in caught.value.message
    assert caught.value.found == found


@pytest.fixture
def patients(fakes, tmp_path):
    """Function (patient of an image by its number) -> folder with a table."""

    def make(patient_of=lambda number: f"p{number // 4}", header="patient"):
        folder = fakes.class_folders(tmp_path / "scans", ("ill", "well"), 40)
        files = sorted(folder.rglob("*.png"))
        with (folder / "labels.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["path", "label", header])
            for number, path in enumerate(files):
                name = path.relative_to(folder).as_posix()
                rows.writerow([name, path.parent.name, patient_of(number)])
        return folder

    return make


def look(path, group_by, **answers):
    cut = splits.Cut(0.2, 0.2)
    return inspection.inspect(
        str(path), layouts.Answers(group_by=group_by, **answers), cut
    )


def test_groups_of_a_table(patients):
    found = look(patients(), "column:Patient")
    assert "'patient' the groups" in found.words[0]
    assert sum(sum(counts.values()) for counts in found.ingested.values()) == 80
    for counts in found.ingested.values():
        assert all(count % 4 == 0 for count in counts.values())
    assert found.images == {"all": {"ill": 40, "well": 40}}
    assert found.few_groups == {}


def test_a_class_in_one_group_is_named(patients):
    found = look(patients(lambda n: "a" if n < 40 else f"p{n}"), "column:patient")
    assert found.ingested["train"]["ill"] == 40
    assert found.few_groups == {"ill": 1}
    assert (
        "classes of fewer than 3 groups give none to eval and test: ill (1 group)"
        in found.troubles
    )


def test_a_column_that_is_not_there(patients):
    with pytest.raises(ConfigError, match="no column 'person' with the gr") as caught:
        look(patients(), "column:person")
    assert caught.value.found == "path, label, patient"


def test_a_row_without_a_group(patients):
    with pytest.raises(DataError, match=r"line 9 of labels\.csv names no group"):
        look(patients(lambda number: "" if number == 7 else "p"), "column:patient")


def test_a_column_of_groups_is_no_class(patients):
    folder = patients(header="tag")
    found = look(folder, "column:tag", label_column="")
    assert found.labels == ("ill", "well")


def test_data_without_columns_or_paths(fakes, tmp_path):
    folder = fakes.class_folders(tmp_path / "pets", per_class=5)
    with pytest.raises(ConfigError, match="format folder have no column 'patient'"):
        look(folder, "column:patient")
    raw = fakes.idx(tmp_path / "mnist")
    with pytest.raises(ConfigError, match="format idx have no groups"):
        look(raw, "path:1")


def test_groups_of_folders(fakes, tmp_path):
    for text in ("cat", "dog"):
        patients = [f"{text[0]}{number}" for number in range(12)]
        fakes.class_folders(tmp_path / text, patients, 5)
    found = look(tmp_path, "path:1")
    for counts in found.ingested.values():
        assert all(count % 5 == 0 for count in counts.values())
    assert set(found.ingested) == set(features.SPLITS)


@pytest.mark.parametrize("kind", ["parquet", "tfrecord"])
def test_groups_of_records(kind, fakes, tmp_path):
    write = {"parquet": _write_parquet, "tfrecord": _write_tfrecord}[kind]
    images = [
        file.read_bytes()
        for file in sorted(
            fakes.class_folders(tmp_path / "x", per_class=30).rglob("*.png")
        )
    ]
    folder = tmp_path / "records"
    folder.mkdir()
    write(folder, images, [number // 3 for number in range(60)])
    found = look(folder, "column:burst")
    assert sum(sum(counts.values()) for counts in found.ingested.values()) == 60
    for counts in found.ingested.values():
        assert all(count % 3 == 0 for count in counts.values())
    with pytest.raises(ConfigError, match="no field 'person' with the groups"):
        look(folder, "column:person")
    write(folder, images, [*range(59), None])
    with pytest.raises(DataError, match="burst"):
        look(folder, "column:burst")


def _write_parquet(folder, images, bursts):
    import pyarrow as pa
    from pyarrow import parquet

    labels = [f"c{number // 30}" for number in range(len(images))]
    table = pa.table({"image": images, "label": labels, "burst": bursts})
    parquet.write_table(table, folder / "a.parquet")


def _write_tfrecord(folder, images, bursts):
    import tensorflow as tf

    def feature(value):
        if isinstance(value, bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    with tf.io.TFRecordWriter(str(folder / "a.tfrecord")) as writer:
        for number, (image, burst) in enumerate(zip(images, bursts, strict=True)):
            values = {
                "image": image,
                "label": f"c{number // 30}".encode(),
                "burst": burst,
            }
            found = {
                name: feature(value)
                for name, value in values.items()
                if value is not None
            }
            example = tf.train.Example(features=tf.train.Features(feature=found))
            writer.write(example.SerializeToString())


def photo(seed: int, side_px: int = 96) -> Image.Image:
    """A picture of soft shapes, as photos are."""
    noise = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((side_px, side_px), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, **options)
    return stream.getvalue()


def test_a_picture_that_is_saved_again_keeps_its_look():
    kept = different = 0
    for seed in range(40):
        picture = photo(seed)
        first = looks.group_of(encoded(picture, format="PNG"))
        assert looks.is_look(first)
        kept += first == looks.group_of(encoded(picture, format="JPEG", quality=75))
        small = picture.resize((86, 86))
        kept += first == looks.group_of(encoded(small, format="JPEG", quality=90))
        different += first != looks.group_of(encoded(photo(seed + 40), format="PNG"))
    assert kept >= 76
    assert different == 40


def test_the_look_is_the_hash_of_the_library():
    imagehash = pytest.importorskip("imagehash")
    for seed in range(20):
        expected = imagehash.phash(photo(seed).convert("L"), looks.FREQUENCIES)
        found = looks.group_of(encoded(photo(seed), format="PNG"))
        assert found.endswith(f":{expected}")


def test_the_look_is_that_of_the_upright_picture():
    turned = photo(1).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned clockwise
    upright = encoded(photo(1), format="PNG")
    stored = encoded(turned, format="PNG", exif=exif)
    assert looks.group_of(stored) == looks.group_of(upright)
    assert looks.group_of(encoded(turned, format="PNG")) != looks.group_of(upright)


@pytest.mark.parametrize(
    "image", [photo(1, 63), Image.new("RGB", (99, 99), "white")], ids=["small", "flat"]
)
def test_small_and_flat_pictures_go_by_themselves(image):
    assert looks.group_of(encoded(image, format="PNG")) == ""


def test_pictures_saved_again_share_a_split(tmp_path):
    for number in range(40):
        folder = tmp_path / f"pets/{('cat', 'dog')[number % 2]}"
        folder.mkdir(parents=True, exist_ok=True)
        photo(number).save(folder / f"{number}.png")
        photo(number).save(folder / f"{number}.jpg", quality=95)
        Image.new("RGB", (9, 9), (number, 0, 0)).save(folder / f"{number}.bmp")
    plan = layouts.plan(str(tmp_path / "pets"), layouts.Answers(group_by="looks"))
    rows = [
        found.row
        for unit in plan.units
        for found in reading.records_of(plan.read(unit), plan, records.Classes(()))
    ]
    assert len(rows) == 120
    rule = splits.assign(rows, splits.Cut(0.2, 0.2))
    placed = {row.key: rule.split_of(row.digest, row.split, row.group) for row in rows}
    together = sum(
        placed[key] == placed[key.replace(".png", ".jpg")]
        for key in placed
        if key.endswith(".png")
    )
    assert together >= 39
    of_small = Counter(split for key, split in placed.items() if key.endswith(".bmp"))
    assert set(of_small) == set(features.SPLITS)
    # Whoever looks alike in two official splits may be two pictures all the same.
    official = [row._replace(split="test" if ".png" in row.key else "") for row in rows]
    assert splits.assign(official, splits.Cut(0.2, 0.2)).images["test"] == {
        "cat": 20,
        "dog": 20,
    }
