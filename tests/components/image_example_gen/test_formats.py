"""Every format: the same properties, on a fake in its real form."""

import collections
import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from common.errors import ConfigError, DataError
from components.image_example_gen import (
    layouts,
    reading,
    records,
)
from components.image_example_gen.layouts import cifar
from components.image_example_gen.sources import limits, naming
from schema import features

DIGITS = tuple("0123456789")


@dataclasses.dataclass(frozen=True)
class Case:
    """A data set as a user may have it.

    Attributes:
      make: (fakes, folder) -> the data set's folder.
      format: what must be found.
      images: official split -> images.
      shape: height, width, channels.
      labels: a contract's classes.
    """

    make: Callable[..., pathlib.Path]
    format: str
    images: dict[str, int]
    shape: tuple[int, int, int]
    labels: tuple[str, ...]


def python(kind: str, protocol: int = 0) -> Callable[..., pathlib.Path]:
    def make(fakes, folder):
        binary = getattr(fakes, f"{kind}_binary")(folder.parent / "binary")
        return fakes.python_layout(binary, folder, protocol)

    return make


def split_folders(fakes, folder):
    for split, count in (("Training", 8), ("val", 2), ("testing", 3)):
        fakes.class_folders(folder / split, ("a b", "Ä"), per_class=count)
    return folder


def list_files(fakes, folder):
    fakes.class_folders(folder / "all images", ("x", "y"), per_class=6)
    lines = [
        (f"all images/{text}/image_{n:04}.png", label)
        for n in range(1, 7)
        for label, text in enumerate(("x", "y"))
    ]
    for name, part in (
        ("Train", lines[:8]),
        ("Eval", lines[8:10]),
        ("Test", lines[10:]),
    ):
        (folder / f"{name}.txt").write_text("".join(f"{p} {n}\n" for p, n in part))
    (folder / "classes.txt").write_text("cat\ndog\n")
    return folder


def table(fakes, folder):
    fakes.class_folders(folder / "images", ("x", "y"), per_class=4)
    rows = [
        f"images/{text}/image_{n:04}.png,{word},{'test' if n == 4 else 'train'}\n"
        for n in range(1, 5)
        for text, word in (("x", "cat"), ("y", "dog"))
    ]
    (folder / "labels.csv").write_text("Path,Label,Split\n" + "".join(rows))
    return folder


CIFAR10 = {"train": 80, "test": 40}
CIFAR100 = {"train": 300, "test": 300}
IDX = {"train": 60, "test": 60}
FINE = tuple(f"class_{number:02}" for number in range(100))
PETS = ("cat", "dog")

CASES = {
    "cifar10 binary": Case(
        lambda f, d: f.cifar10_binary(d),
        "cifar10_binary",
        CIFAR10,
        (32, 32, 3),
        cifar.class_names("cifar10"),
    ),
    **{
        f"cifar10 python, protocol {protocol}": Case(
            python("cifar10", protocol),
            "cifar10_python",
            CIFAR10,
            (32, 32, 3),
            cifar.class_names("cifar10"),
        )
        for protocol in (0, 2, 5)
    },
    "cifar100 binary": Case(
        lambda f, d: f.cifar100_binary(d),
        "cifar100_binary",
        CIFAR100,
        (32, 32, 3),
        FINE,
    ),
    "cifar100 python": Case(
        python("cifar100"), "cifar100_python", CIFAR100, (32, 32, 3), FINE
    ),
    "mnist": Case(lambda f, d: f.idx(d), "idx", IDX, (6, 5, 1), DIGITS),
    "mnist unpacked": Case(
        lambda f, d: f.idx(d, is_packed=False, separator="."),
        "idx",
        IDX,
        (6, 5, 1),
        DIGITS,
    ),
    "emnist": Case(
        lambda f, d: f.idx(d, prefix="emnist-letters-", test_name="test"),
        "idx",
        IDX,
        (5, 6, 1),
        DIGITS,
    ),
    "class folders": Case(
        lambda f, d: f.class_folders(d), "folder", {"": 40}, (8, 8, 3), PETS
    ),
    "gray digits": Case(
        lambda f, d: f.class_folders(d, DIGITS, 3, channels=1),
        "folder",
        {"": 30},
        (8, 8, 1),
        DIGITS,
    ),
    "jpeg": Case(
        lambda f, d: f.class_folders(d, suffix=".jpg"),
        "folder",
        {"": 40},
        (8, 8, 3),
        PETS,
    ),
    "webp": Case(
        lambda f, d: f.class_folders(d, suffix=".webp"),
        "folder",
        {"": 40},
        (8, 8, 3),
        PETS,
    ),
    "split folders": Case(
        split_folders,
        "folder",
        {"train": 16, "eval": 4, "test": 6},
        (8, 8, 3),
        ("a b", "Ä"),
    ),
    "list files": Case(
        list_files, "list", {"train": 8, "eval": 2, "test": 2}, (8, 8, 3), PETS
    ),
    "table": Case(table, "list", {"train": 6, "test": 2}, (8, 8, 3), PETS),
}


# Formats whose data sets tests/data_zoo writes.
IN_THE_ZOO = {
    "tfrecord",
    "parquet",
    "npz",
    "names",
    "tiny_imagenet",
    "cub",
    "oxford_pets",
    "path_lists",
}


def read_all(plan, labels=()):
    """Records, unreadable and ignored of a whole source."""
    found = collections.defaultdict(list)
    for unit in plan.units:
        for item in reading.records_of(plan.read(unit), plan, records.Classes(labels)):
            found[type(item)].append(item)
    ignored = [item.name for item in found[records.Ignored]] + list(plan.ignored)
    return found[reading.Record], found[records.Unreadable], ignored


def pixels_of(plan, record):
    data = record.encoded or plan.source.read(record.name, 1 << 20)
    assert record.format == ("jpeg" if data.startswith(b"\xff\xd8") else "png")
    return tf.io.decode_image(data).numpy()


def test_every_format_is_in_the_table():
    here = {case.format for case in CASES.values()}
    assert here | IN_THE_ZOO == set(layouts.FORMATS)


@pytest.mark.parametrize("suffix", ["", ".tar", ".tar.gz", ".zip"])
@pytest.mark.parametrize("name", CASES)
def test_properties(fakes, tmp_path, name, suffix):
    case = CASES[name]
    folder = case.make(fakes, tmp_path / "the data")
    folder_plan = layouts.plan(str(folder))
    path = fakes.pack(folder, tmp_path / f"packed{suffix}") if suffix else tmp_path
    if not suffix and case.format not in ("folder", "list"):
        path = folder
    plan = layouts.plan(str(path))
    assert plan.layout.format == case.format
    assert layouts.plan(str(path), layouts.Answers(case.format)).layout == plan.layout
    found, unreadable, _ = read_all(plan, case.labels)
    assert unreadable == []
    counts = collections.Counter(record.row.split for record in found)
    assert counts == case.images
    keys = [record.row.key for record in found]
    assert len(set(keys)) == len(keys)
    texts = {record.row.text for record in found}
    assert texts == set(case.labels)
    assert all(case.labels[record.label] == record.row.text for record in found)
    for record in found[:: max(1, len(found) // 5)]:
        pixels = pixels_of(plan, record)
        assert pixels.shape == case.shape
        assert (record.row.height, record.row.width) == case.shape[:2]
        assert record.row.is_gray == (case.shape[2] == 1)
    # Keys, digests and labels do not depend on the container.
    as_folder = {record.row for record in read_all(folder_plan, case.labels)[0]}
    assert {record.row for record in found} == as_folder


@pytest.mark.parametrize("kind", ["cifar10", "cifar100"])
@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_python_layout_equals_the_binary_one(fakes, tmp_path, kind, protocol):
    binary = getattr(fakes, f"{kind}_binary")(tmp_path / "bin")
    python_folder = fakes.python_layout(binary, tmp_path / "py", protocol)
    first, _, _ = read_all(layouts.plan(str(binary)))
    second, _, _ = read_all(layouts.plan(str(python_folder)))
    assert [r.row.key.replace(".bin", "") for r in first] == [r.row.key for r in second]
    for a, b in zip(first, second, strict=True):
        assert (a.encoded, a.label, a.row.text) == (b.encoded, b.label, b.row.text)
        assert (a.row.digest, a.row.split) == (b.row.digest, b.row.split)


def test_pixels_stand_where_the_record_has_them(tmp_path):
    red, green, blue = (bytes(range(k, k + 64)) * 16 for k in (0, 64, 128))
    (tmp_path / "data_batch_1.bin").write_bytes(b"\x03" + red + green + blue)
    ((record,), _, _) = read_all(layouts.plan(str(tmp_path)))
    pixels = tf.io.decode_png(record.encoded).numpy()
    assert pixels[0, 0].tolist() == [0, 64, 128]
    assert pixels[0, 1].tolist() == [1, 65, 129]
    assert pixels[1, 0].tolist() == [32, 96, 160]
    assert (record.label, record.row.text) == (3, "cat")
    assert record.row.key == "data_batch_1.bin#0"


def test_contract_decides_the_labels(fakes, tmp_path):
    folder = fakes.class_folders(tmp_path / "pets", ("cat", "dog", "owl"), 2)
    found, _, _ = read_all(layouts.plan(str(folder)), ("dog", "cat"))
    assert {(r.row.text, r.label) for r in found} == {
        ("dog", 0),
        ("cat", 1),
        ("owl", features.UNKNOWN_LABEL),
    }


def test_class_numbers_are_names_where_the_contract_has_digits():
    digits, words = records.Classes(("1", "2", "3")), records.Classes(("cat", "dog"))
    pixels = np.zeros((1, 8, 8, 1), np.uint8)
    (batch,) = records.in_batches("train", "images", np.zeros(1, int), (), pixels)
    assert digits.of_pixels(batch, 3) == (2, "3")
    assert words.of_pixels(batch, 1) == (1, "dog")
    assert words.of_pixels(batch, 7) == (features.UNKNOWN_LABEL, "7")


def test_paths_in_lists_may_hold_blanks_and_backslashes(fakes, tmp_path):
    fakes.class_folders(tmp_path / "my pets", ("cat", "dog"), 1)
    (tmp_path / "train.TXT").write_text(
        "my pets/cat/image_0001.png  cat \r\n\r\nmy pets\\dog\\image_0001.png dog\r\n"
    )
    found, _, _ = read_all(layouts.plan(str(tmp_path)))
    assert [(r.row.key, r.row.text) for r in found] == [
        ("my pets/cat/image_0001.png", "cat"),
        ("my pets/dog/image_0001.png", "dog"),
    ]


def test_an_image_listed_twice_keeps_unique_keys(fakes, tmp_path):
    fakes.class_folders(tmp_path, ("cat",), 1)
    (tmp_path / "Train.txt").write_text("cat/image_0001.png 0\n")
    (tmp_path / "Test.txt").write_text("cat/image_0001.png 0\n")
    found, _, _ = read_all(layouts.plan(str(tmp_path)))
    assert sorted((r.row.key, r.row.split) for r in found) == [
        ("cat/image_0001.png", "test"),
        ("cat/image_0001.png#1", "train"),
    ]


def test_litter_is_ignored_and_counted(fakes, tmp_path):
    folder = fakes.class_folders(tmp_path / "pets", per_class=2)
    image = (folder / "cat" / "image_0001.png").read_bytes()
    for name in (
        ".DS_Store", "cat/.hidden.png", "cat/.ipynb_checkpoints/a.png", "cat/Thumbs.db",
        "__MACOSX/cat/a.png", "readme.txt", "cat/notes.md",
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(image)
    for path in (folder, fakes.pack(folder, tmp_path / "pets.tar")):
        found, _, ignored = read_all(layouts.plan(str(path)))
        assert (len(found), len(ignored)) == (4, 7)


def test_nested_folders_belong_to_their_class(fakes, tmp_path):
    fakes.class_folders(tmp_path / "pets" / "cat", ("siamese", "tabby"), 2)
    fakes.class_folders(tmp_path / "pets", ("dog",), 2)
    found, _, _ = read_all(layouts.plan(str(tmp_path)))
    assert collections.Counter(r.row.text for r in found) == {"cat": 4, "dog": 2}
    assert found[0].row.key == "cat/siamese/image_0001.png"


def test_a_class_may_be_called_train(fakes, tmp_path):
    fakes.class_folders(tmp_path, ("train", "tram"), 2)
    found, _, _ = read_all(layouts.plan(str(tmp_path)))
    assert {r.row.text for r in found} == {"train", "tram"}
    assert {r.row.split for r in found} == {""}


def test_unreadable_images_are_told_with_reasons(fakes, tmp_path):
    folder = fakes.class_folders(tmp_path / "pets", per_class=2)
    (folder / "cat" / "empty.png").write_bytes(b"")
    (folder / "cat" / "page.jpg").write_bytes(b"<html>not found</html>")
    (folder / "cat" / "scan.tif").write_bytes(b"II*\x00" + bytes(20))
    (folder / "dog" / "cut.png").write_bytes(
        (folder / "dog" / "image_0001.png").read_bytes()[:60]
    )
    _, unreadable, _ = read_all(layouts.plan(str(folder)))
    reasons = dict(unreadable)
    assert reasons["cat/empty.png"] == "the file is empty"
    assert reasons["cat/page.jpg"].startswith("HTML is not accepted")
    assert reasons["cat/scan.tif"].startswith("TIFF is not accepted")
    assert "damaged" in reasons["dog/cut.png"]


def test_too_large_files_are_unreadable_not_fatal(fakes, tmp_path, monkeypatch):
    folder = fakes.class_folders(tmp_path / "pets", per_class=2)
    (folder / "cat" / "big.png").write_bytes(bytes(5000))
    small = dataclasses.replace(limits.LIMITS, image_bytes=4000)
    monkeypatch.setattr(limits, "LIMITS", small)
    for path in (
        folder,
        fakes.pack(folder, tmp_path / "pets.tar"),
        fakes.pack(folder, tmp_path / "pets.zip"),
    ):
        found, unreadable, _ = read_all(layouts.plan(str(path)))
        assert len(found) == 4
        assert [key for key, _ in unreadable] == ["cat/big.png"]


def test_class_names_may_stand_behind_the_data_in_a_tar(fakes, tmp_path):
    import tarfile

    folder = fakes.cifar10_binary(tmp_path / "data")
    names = [f"kind_{n}" for n in range(10)]
    (folder / "batches.meta.txt").write_text("\n".join(names))
    with tarfile.open(tmp_path / "late.tar", "w") as tar:
        for file in sorted(folder.iterdir(), reverse=True):
            tar.add(file, f"data/{file.name}")
    found, _, _ = read_all(layouts.plan(str(tmp_path / "late.tar")))
    assert {r.row.text for r in found} == set(names)
    assert all(r.row.text == f"kind_{r.label}" for r in found)


def test_a_tar_of_batches_is_not_unpacked_to_be_recognised(
    fakes, tmp_path, monkeypatch
):
    path = fakes.pack(fakes.cifar10_binary(tmp_path / "data"), tmp_path / "a.tar.gz")
    seen = []
    original = naming.check_name
    monkeypatch.setattr(
        naming,
        "check_name",
        lambda name, where: seen.append(name) or original(name, where),
    )
    assert layouts.plan(str(path)).layout.format == "cifar10_binary"
    assert "data/test_batch.bin" not in seen


BAD = {}


def bad(message, **parts):
    def register(make):
        BAD[make.__name__.strip("_").replace("_", " ")] = (make, message, parts)
        return make

    return register


@bad(
    "record 4 of 'data_batch_1.bin' has 3,001 bytes",
    expected="3,073 (1 label + 32*32*3)",
)
def short_record(fakes, folder):
    fakes.cifar10_binary(folder, 5)
    path = folder / "data_batch_1.bin"
    path.write_bytes(path.read_bytes()[:-72])


@bad("record 0 of 'test.bin' has 0 bytes", expected="3,074 (2 label + 32*32*3)")
def empty_batch(fakes, folder):
    fakes.cifar100_binary(folder, 100)
    (folder / "test.bin").write_bytes(b"")


@bad("record 2 of 'test_batch.bin' has the class number 77", expected="0 to 9")
def wrong_label(fakes, folder):
    fakes.cifar10_binary(folder, 5)
    path = folder / "test_batch.bin"
    data = bytearray(path.read_bytes())
    data[2 * 3073] = 77
    path.write_bytes(data)


@bad("'batches.meta.txt' lists 3 classes", expected="10, one a line")
def few_names(fakes, folder):
    fakes.cifar10_binary(folder, 5)
    (folder / "batches.meta.txt").write_text("a\nb\nc\n")


@bad("'data_batch_1' is refused: it names 'os'.'system'", expected="a CIFAR batch")
def hostile_pickle(fakes, folder):
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(b"\x80\x02cos\nsystem\nU\x04true\x85R.")


@bad("'data' in 'data_batch_1' is not an array of images", found="list")
def pickle_without_array(fakes, folder):
    import pickle

    folder.mkdir()
    batch = {"data": [1, 2], "labels": [1, 2]}
    (folder / "data_batch_1").write_bytes(pickle.dumps(batch, 2))


@bad("'data_batch_1' has 2 images and 1 labels")
def pickle_with_few_labels(fakes, folder):
    import pickle

    folder.mkdir()
    batch = {"data": np.zeros((2, 3072), np.uint8), "labels": [1]}
    (folder / "data_batch_1").write_bytes(pickle.dumps(batch, 4))


@bad(
    "train-images-idx3-ubyte has 1,799 bytes behind its header",
    expected="1,800 (60 * 6 * 5)",
)
def short_idx(fakes, folder):
    fakes.idx(folder, is_packed=False)
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])


@bad("train-images-idx3-ubyte has 1,801 bytes behind its header")
def long_idx(fakes, folder):
    fakes.idx(folder, is_packed=False)
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes() + b"\x00")


@bad(
    "train-images-idx3-ubyte has 4 bytes behind its header",
    expected="(2147483647 * 65536 * 65537)",
)
def boastful_idx(fakes, folder):
    fakes.idx(folder, is_packed=False)
    head = bytes.fromhex("00000803 7fffffff 00010000 00010001".replace(" ", ""))
    (folder / "train-images-idx3-ubyte").write_bytes(head + bytes(4))


@bad(
    "the images in t10k-images-idx3-ubyte cannot be read",
    found="301x3 px, one side is more than 100 times the other",
)
def narrow_idx(fakes, folder):
    fakes.idx(folder, is_packed=False, height_px=3, width_px=301)


@bad("train-labels-idx1-ubyte is not an IDX file of labels", expected="0x00000801")
def wrong_magic(fakes, folder):
    fakes.idx(folder, is_packed=False)
    images_file = (folder / "train-images-idx3-ubyte").read_bytes()
    (folder / "train-labels-idx1-ubyte").write_bytes(images_file)


@bad("t10k-labels-idx1-ubyte.gz is incomplete: its gzip stream ends early")
def cut_gzip(fakes, folder):
    fakes.idx(folder)
    path = folder / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])


@bad("train-images-idx3-ubyte.gz has no labels beside it", expected="train-labels-idx1")
def no_labels(fakes, folder):
    fakes.idx(folder)
    (folder / "train-labels-idx1-ubyte.gz").unlink()


@bad("'train-images-idx3-ubyte.gz' has 60 images and 50 labels")
def unequal_halves(fakes, folder):
    fakes.idx(folder, 60)
    fakes.idx(folder / "other", 50)
    name = "train-labels-idx1-ubyte.gz"
    (folder / "other" / name).replace(folder / name)
    for rest in (folder / "other").iterdir():
        rest.unlink()


@bad("is empty", expected="<class>/*.jpg")
def nothing(fakes, folder):
    folder.mkdir()


@bad(
    "no class folders in",
    found="a.png, b.png, labels.txt",
    expected="{train,val}/<class>",
)
def images_side_by_side(fakes, folder):
    fakes.class_folders(folder, ("x",), 2)
    (folder / "x" / "image_0001.png").rename(folder / "a.png")
    (folder / "x" / "image_0002.png").rename(folder / "b.png")
    (folder / "labels.txt").write_text("cat\ndog\n")


@bad("no images in", found="notes.txt")
def no_images(fakes, folder):
    folder.mkdir()
    (folder / "notes.txt").write_text("hello")


@bad("no images in", tip="give the archive itself")
def an_archive_in_a_folder(fakes, folder):
    folder.mkdir()
    (folder / "cifar-10-binary.tar.xz").write_bytes(b"x")


@bad("1 of 2 listed images are not there", found="line 1 of Train.txt: cat/missing.png")
def missing_image(fakes, folder):
    fakes.class_folders(folder, per_class=1)
    (folder / "Train.txt").write_text("cat/missing.png 0\ncat/image_0001.png 0\n")


@bad("1 of 1 listed images are not there", found="../secret.png")
def climbing_path(fakes, folder):
    fakes.class_folders(folder, per_class=1)
    (folder.parent / "secret.png").write_bytes(b"x")
    (folder / "Train.txt").write_text("../secret.png 0\n")


@bad("line 2 of Train.txt has no label", expected="a class for every image")
def line_without_label(fakes, folder):
    fakes.class_folders(folder, per_class=1)
    (folder / "Train.txt").write_text("cat/image_0001.png 0\ndog/image_0001.png\n")


@bad("line 2 of labels.csv names the split 'exam'", expected="train, training")
def unknown_split(fakes, folder):
    fakes.class_folders(folder, per_class=1)
    (folder / "labels.csv").write_text(
        "path,label,split\ncat/image_0001.png,cat,exam\n"
    )


@pytest.mark.parametrize("name", BAD)
def test_refuses_bad_input_in_words(fakes, tmp_path, name):
    make, message, parts = BAD[name]
    folder = tmp_path / "the data"
    make(fakes, folder)
    with pytest.raises(DataError) as caught:
        read_all(layouts.plan(str(folder)))
    assert message in caught.value.message
    for part, text in parts.items():
        assert text in getattr(caught.value, part)


def test_refuses_an_unknown_format(tmp_path):
    with pytest.raises(ConfigError) as caught:
        layouts.plan(str(tmp_path), layouts.Answers("tiff"))
    assert caught.value.message == "unknown input format 'tiff'"
    assert caught.value.expected.startswith("auto, cifar10_binary")


def test_a_given_format_is_believed(fakes, tmp_path):
    folder = fakes.class_folders(tmp_path / "pets", per_class=2)
    with pytest.raises(DataError, match="no data in the format 'idx' in"):
        layouts.plan(str(folder), layouts.Answers("idx"))
