"""A look at data, and the contract made from it."""

import shutil

import pytest

from common.errors import DataError
from components.image_example_gen import inspection
from schema import contract, features


def test_sees_classes_sizes_and_trouble(fakes, tmp_path):
    folder = fakes.class_folders(tmp_path / "pets", ("dog", "Cat"), 5, channels=1)
    fakes.class_folders(folder, ("eel",), 3, size_px=20, channels=1, suffix=".jpg")
    shutil.copy(folder / "eel/image_0001.jpg", folder / "dog/again.jpg")
    (folder / "dog" / "bad.png").write_bytes(b"")
    (folder / "readme.md").write_text("hello")
    found = inspection.inspect(str(folder))
    assert found.format == "folder"
    assert found.images == {"all": {"Cat": 5, "dog": 6, "eel": 3}}
    assert found.labels == ("Cat", "dog", "eel")  # by their bytes, capitals first
    assert found.channels == 1
    assert found.width_px == inspection.SizeRange(8, 8, 20)
    assert found.formats == ("jpeg", "png")
    assert [tuple(bad) for bad in found.unreadable] == [
        ("dog/bad.png", "the file is empty")
    ]
    assert found.ignored == ("readme.md",)
    assert (found.duplicates, found.label_conflicts) == (1, 1)
    assert found.duplicates_across_splits == 0


def test_one_colour_image_makes_a_colour_data_set(fakes, tmp_path):
    fakes.class_folders(tmp_path, per_class=3, channels=1)
    fakes.class_folders(tmp_path, ("owl",), 1, channels=3)
    assert inspection.inspect(str(tmp_path)).channels == 3


def test_counts_copies_across_official_splits(fakes, tmp_path):
    for split in ("train", "test"):
        fakes.class_folders(tmp_path / split, per_class=3)
    shutil.copy(tmp_path / "test/cat/image_0001.png", tmp_path / "train/cat/copy.png")
    found = inspection.inspect(str(tmp_path))
    assert found.images["train"] == {"cat": 4, "dog": 3}
    assert (found.duplicates, found.duplicates_across_splits) == (1, 1)


def test_digits_go_by_value(fakes, tmp_path):
    fakes.class_folders(tmp_path, [str(n) for n in range(12)], 1)
    found = inspection.inspect(str(tmp_path))
    assert found.labels == tuple(str(n) for n in range(12))


def test_raw_formats_keep_their_own_order(fakes, tmp_path):
    folder = fakes.cifar10_binary(tmp_path / "cifar")
    names = [f"kind {n}" for n in reversed(range(10))]
    (folder / "batches.meta.txt").write_text("\n".join(names))
    found = inspection.inspect(str(folder))
    assert found.labels == tuple(names)
    assert set(found.images) == {"train", "test"}
    mnist = inspection.inspect(str(fakes.idx(tmp_path / "mnist")))
    assert mnist.labels == tuple("0123456789")
    assert (mnist.channels, mnist.height_px.maximum, mnist.width_px.maximum) == (
        1,
        6,
        5,
    )


def test_contract_is_the_curated_one_for_the_same_data(fakes, tmp_path):
    folder = fakes.cifar10_binary(tmp_path / "cifar")
    made = inspection.make_contract(inspection.inspect(str(folder)))
    assert made == contract.load(contract.find("cifar10"))


def test_contract_of_photos_leaves_room_for_other_sizes(fakes, tmp_path):
    folder = fakes.class_folders(tmp_path / "pets", ("cat", "dog"), 3)
    fakes.class_folders(folder, ("cow",), 3, suffix=".jpg", size_px=12)
    made = inspection.make_contract(inspection.inspect(str(folder)))
    schema = contract.parse_schema(made.schema_pbtxt, "made")
    ranges = {
        feature.name: (feature.int_domain.min, feature.int_domain.max)
        for feature in schema.feature
        if feature.HasField("int_domain")
    }
    assert ranges[features.HEIGHT] == ranges[features.WIDTH] == (1, 16_384)
    assert ranges[features.LABEL] == (0, 2)
    (formats,) = [d for d in schema.string_domain if d.name == "format"]
    assert list(formats.value) == ["jpeg", "png"]


def test_contract_refuses_one_class(fakes, tmp_path):
    folder = fakes.class_folders(tmp_path / "pets", ("cat",), 2)
    with pytest.raises(DataError, match="the data have one class only"):
        inspection.make_contract(inspection.inspect(str(folder)))


def test_refuses_data_without_a_readable_image(fakes, tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        inspection.inspect(str(tmp_path))
    assert caught.value.message.startswith("no readable image in")
    assert caught.value.found == "cat/a.png: the file is empty"
