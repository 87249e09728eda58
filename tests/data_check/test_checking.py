"""Known defects, and the keys under which each is found."""

import dataclasses
import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from common.errors import ConfigError, DataError
from components.image_example_gen.inspection import SizeRange
from components.image_example_gen.records import Unreadable
from data_check import appearance, checking, labelled_images
from data_check.wrong_labels import WrongLabel

PER_CLASS = 6


@pytest.fixture
def pets(tmp_path, pictures, save):
    """train/ and test/ of cats and dogs, without a fault."""
    folder = tmp_path / "pets"
    for split in ("train", "test"):
        for text in ("cat", "dog"):
            for number in range(PER_CLASS):
                save(pictures.make(), folder / split / text / f"{number}.png")
    return folder


def check(folder):
    return checking.check(str(folder), labelled_images.from_path(str(folder)))


def keys(group):
    return [image.key for image in group.images]


def odd_keys(findings, kind):
    return [odd.image.key for odd in findings.odd_images[kind]]


def test_finds_nothing_where_nothing_is_wrong(pets):
    found = check(pets)
    assert found.images == {
        split: {"cat": PER_CLASS, "dog": PER_CLASS} for split in ("test", "train")
    }
    assert found.width_px == found.height_px == SizeRange(64, 64, 64)
    assert found.unreadable == found.exact_duplicates == found.near_duplicates == ()
    assert found.odd_images == dict.fromkeys(appearance.KINDS, ())
    assert found.usual == {}
    assert found.left_out == ()


def test_finds_copies_by_their_pixels(pets, save):
    shutil.copy(pets / "test/cat/0.png", pets / "train/cat/leak.png")
    # Another file, the same pixels.
    save(Image.open(pets / "train/dog/1.png"), pets / "train/dog/again.bmp")
    shutil.copy(pets / "train/cat/2.png", pets / "train/dog/conflict.png")
    found = check(pets)
    leak, conflict, again = found.exact_duplicates
    assert keys(leak) == ["test/cat/0.png", "train/cat/leak.png"]
    assert (leak.is_across_splits, leak.has_several_classes) == (True, False)
    assert keys(conflict) == ["train/cat/2.png", "train/dog/conflict.png"]
    assert (conflict.is_across_splits, conflict.has_several_classes) == (False, True)
    assert keys(again) == ["train/dog/1.png", "train/dog/again.bmp"]
    assert (again.is_across_splits, again.has_several_classes) == (False, False)
    assert found.near_duplicates == ()


def test_a_photo_and_its_upright_copy_are_equal(pets):
    tags = Image.Exif()
    tags[0x0112] = 6
    with Image.open(pets / "train/cat/1.png") as image:
        held = image.transpose(Image.Transpose.ROTATE_90)
    held.save(pets / "train/cat/held.png", exif=tags)
    (copies,) = check(pets).exact_duplicates
    assert keys(copies) == ["train/cat/1.png", "train/cat/held.png"]


def test_gray_pixels_are_equal_in_any_file(tmp_path, pictures, save):
    gray = pictures.gray(pictures.make())
    save(gray, tmp_path / "cat/gray.png")
    save(gray.convert("RGB"), tmp_path / "cat/colour.png")
    # The same bytes in another shape are another image.
    flat = np.asarray(gray).reshape(32, 128)
    save(Image.fromarray(flat), tmp_path / "dog/flat.png")
    (group,) = check(tmp_path).exact_duplicates
    assert keys(group) == ["cat/colour.png", "cat/gray.png"]


def test_finds_near_duplicates(pets, pictures, save):
    for original, changed in (
        ("train/cat/0.png", "test/cat/near.png"),
        ("train/dog/0.png", "train/dog/near.png"),
    ):
        save(pictures.nearly(Image.open(pets / original)), pets / changed)
    found = check(pets)
    assert found.exact_duplicates == ()
    across, within = found.near_duplicates
    assert keys(across) == ["test/cat/near.png", "train/cat/0.png"]
    assert across.is_across_splits
    assert keys(within) == ["train/dog/0.png", "train/dog/near.png"]
    assert not within.is_across_splits


def test_finds_odd_images(pets, pictures, save):
    spoilt = {
        "dark": pictures.darken(pictures.make()),
        "light": pictures.lighten(pictures.make()),
        "blurry": pictures.blurry(),
        "low_information": pictures.plain(),
        "grayscale": pictures.gray(pictures.make()),
        "odd_aspect_ratio": pictures.make().resize((128, 32)),
        "odd_size": pictures.make(640),
    }
    for kind, image in spoilt.items():
        save(image, pets / "train" / "cat" / f"{kind}.png")
    found = check(pets)
    for kind in spoilt:
        assert f"train/cat/{kind}.png" in odd_keys(found, kind)
    assert odd_keys(found, "dark") == ["train/cat/dark.png"]
    assert odd_keys(found, "light") == ["train/cat/light.png"]
    assert odd_keys(found, "grayscale") == ["train/cat/grayscale.png"]
    assert odd_keys(found, "odd_aspect_ratio") == ["train/cat/odd_aspect_ratio.png"]
    assert odd_keys(found, "odd_size")[0] == "train/cat/odd_size.png"
    assert odd_keys(found, "low_information")[0] == "train/cat/low_information.png"
    assert found.width_px == SizeRange(64, 64, 640)
    assert found.height_px == SizeRange(32, 64, 640)


def test_gray_is_no_fault_where_all_are(tmp_path, pictures, save):
    for number in range(3):
        save(pictures.gray(pictures.make()), tmp_path / "cat" / f"{number}.png")
    found = check(tmp_path)
    assert found.odd_images["grayscale"] == ()
    assert found.usual["grayscale"] == 3


def test_tells_unreadable_images_with_reasons(pets):
    whole = (pets / "train/cat/0.png").read_bytes()
    (pets / "train/cat/0.png").write_bytes(whole[: len(whole) // 2])
    (pets / "test/dog/empty.png").write_bytes(b"")
    found = check(pets)
    assert found.unreadable == (
        Unreadable("test/dog/empty.png", "the file is empty"),
        Unreadable("train/cat/0.png", "PNG data are damaged or end early"),
    )
    assert found.images["train"] == {"cat": PER_CLASS - 1, "dog": PER_CLASS}


def test_refuses_data_without_a_readable_image(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/a.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        check(tmp_path)
    assert caught.value.message == f"no readable image in {tmp_path}"
    assert caught.value.found == "cat/a.png: the file is empty"


def test_without_cleanvision_says_what_is_left_out(pets, monkeypatch):
    monkeypatch.setitem(sys.modules, "cleanvision", None)
    monkeypatch.setitem(sys.modules, "cleanvision.issue_managers", None)
    shutil.copy(pets / "test/cat/0.png", pets / "train/cat/leak.png")
    found = check(pets)
    assert keys(found.exact_duplicates[0]) == ["test/cat/0.png", "train/cat/leak.png"]
    assert found.near_duplicates is None
    assert found.odd_images is None
    assert found.usual is None
    assert found.left_out == (appearance.NOT_INSTALLED,)


def test_a_run_doubts_labels_of_its_images(pets, write_evaluation, tmp_path):
    names = [f"test/{text}/{n}.png" for text in ("cat", "dog") for n in range(6)]
    labels = [0] * 6 + [1] * 6
    probabilities = np.full((12, 2), 0.1)
    probabilities[range(12), labels] = 0.9
    probabilities[2] = (0.02, 0.98)
    uri = write_evaluation(
        tmp_path / "run", names, labels, probabilities, ("cat", "dog")
    )
    images = labelled_images.from_path(str(pets))
    (doubt,) = checking.check("pets", images, uri).wrong_labels
    assert doubt == WrongLabel("test/cat/2.png", "cat", "dog", 0.02)
    assert check(pets).wrong_labels is None


def test_refuses_a_run_on_other_images(pets, write_evaluation, tmp_path):
    labels = [0] * 5 + [1] * 5
    probabilities = np.eye(2)[labels]
    probabilities[0] = (0, 1)
    names = [f"other/{n}.png" for n in range(10)]
    uri = write_evaluation(
        tmp_path / "run", names, labels, probabilities, ("cat", "dog")
    )
    with pytest.raises(ConfigError, match="not made with the images of pets"):
        checking.check("pets", labelled_images.from_path(str(pets)), uri)


def test_findings_become_json(pets):
    shutil.copy(pets / "test/cat/0.png", pets / "train/dog/leak.png")
    told = json.loads(json.dumps(dataclasses.asdict(check(pets))))
    assert told["exact_duplicates"] == [
        {
            "images": [
                {"key": "test/cat/0.png", "split": "test", "text": "cat"},
                {"key": "train/dog/leak.png", "split": "train", "text": "dog"},
            ],
            "is_across_splits": True,
            "has_several_classes": True,
        }
    ]
    assert set(told["odd_images"]) == set(appearance.KINDS)
