"""Bad files are judged alike wherever a folder is read."""

import os
import shutil

import pytest
from PIL import Image

from common.errors import DataError
from components.image_example_gen import (
    fingerprint,
    inspection,
    layouts,
    reading,
    records,
)
from data_check import labelled_images
from serving import encoding
from serving.batch_inference import listing

UNREADABLE = {
    "cat/closed.png": "Permission denied",
    "cat/empty.png": "the file is empty",
    "cat/gone.png": "a link that leads nowhere",
    "cat/pipe.png": "not a file",
    "cat/photo.heic": "HEIC is read where pillow-heif is installed",
    "cat/narrow.png": "16384x1 px, one side is more than 100 times the other",
    "dog/circle": "a link to a folder above it",
    "dog/self": "a link that leads to itself",
    "closed": "Permission denied",
    "bird": "a link that leads nowhere",
}
LITTER = [
    "@eaDir",
    "cat/@eaDir",
    "cat/Thumbs.db",
    "dog/.ipynb_checkpoints",
    "lost+found",
]
IMAGES = 6


@pytest.fixture
def folder(fakes, unprivileged):
    """A folder with all that goes wrong; what is done as somebody without permissions."""
    root, as_nobody = unprivileged
    path = fakes.class_folders(root / "pets", per_class=IMAGES // 2)
    some = path / "cat" / "image_0001.png"
    for name in ("@eaDir/a.jpg", "cat/@eaDir/a.jpg", "dog/.ipynb_checkpoints"):
        (path / name).mkdir(parents=True)
        shutil.copy(some, path / name / "SYNOPHOTO_THUMB_XL.png")
    (path / "cat" / "Thumbs.db").write_bytes(b"x")
    (path / "lost+found").mkdir(mode=0)
    (path / "closed").mkdir(mode=0)
    shutil.copy(some, path / "cat" / "closed.png")
    (path / "cat" / "closed.png").chmod(0)
    (path / "cat" / "empty.png").touch()
    (path / "cat" / "gone.png").symlink_to("nothing.png")
    (path / "cat" / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    Image.new("L", (16_384, 1)).save(path / "cat" / "narrow.png")
    os.mkfifo(path / "cat" / "pipe.png")
    (path / "dog" / "circle").symlink_to("..")
    (path / "dog" / "self").symlink_to("self")
    (path / "bird").symlink_to("gone")
    with as_nobody():
        yield path
    (path / "closed").chmod(0o700)
    (path / "lost+found").chmod(0o700)


def check(unreadable):
    """Whether all that cannot be read is named, each with its reason."""
    assert unreadable.keys() == UNREADABLE.keys()
    for name, reason in UNREADABLE.items():
        assert unreadable[name].startswith(reason)


def test_inspect(folder):
    found = inspection.inspect(str(folder))
    check(dict(found.unreadable))
    assert list(found.ignored) == LITTER
    assert found.images == {"all": {"cat": 3, "dog": 3}}


def test_ingest(folder):
    plan = layouts.plan(str(folder))
    found = [
        item
        for unit in plan.units
        for item in reading.records_of(
            plan.read(unit), plan, records.Classes(("cat", "dog"))
        )
    ]
    check(dict(item for item in found if isinstance(item, records.Unreadable)))
    assert sum(isinstance(item, reading.Record) for item in found) == IMAGES
    assert list(plan.ignored) == LITTER


def test_data_check(folder):
    found = list(labelled_images.from_path(str(folder)))
    names = {item.key for item in found if isinstance(item, records.Unreadable)}
    judged = {
        "cat/empty.png",
        "cat/narrow.png",
        "cat/photo.heic",
    }  # by `checking.check`
    assert names == UNREADABLE.keys() - judged


def test_batch_inference(folder):
    found = listing.find([str(folder)])
    reasons = {os.path.relpath(path, folder): why for path, why in found.unreadable}
    read = 0
    for file in found.files:
        verdict = encoding.check_file(file.path)
        read += not verdict.reason
        if verdict.reason:
            reasons[os.path.relpath(file.path, folder)] = verdict.reason
    check(reasons)
    assert (read, found.ignored) == (IMAGES, len(LITTER))


def test_a_fingerprint(folder):
    assert fingerprint.fingerprint(folder) == fingerprint.fingerprint(folder)


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_litter_in_an_archive_is_told_as_in_a_folder(fakes, tmp_path, suffix):
    path = fakes.class_folders(tmp_path / "pets", per_class=IMAGES // 2)
    for name in ("@eaDir/a.jpg", "cat/@eaDir/a.jpg", "dog/.ipynb_checkpoints"):
        (path / name).mkdir(parents=True)
        for place in range(3):
            thumb = path / name / f"{place}.png"
            shutil.copy(path / "cat" / "image_0001.png", thumb)
    expected = ["@eaDir", "cat/@eaDir", "dog/.ipynb_checkpoints"]
    assert list(inspection.inspect(str(path)).ignored) == expected
    found = inspection.inspect(str(fakes.pack(path, tmp_path / f"pets{suffix}")))
    assert list(found.ignored) == [f"pets/{name}" for name in expected]
    assert found.images == {"all": {"cat": 3, "dog": 3}}


def test_classes_that_look_alike(fakes, tmp_path):
    path = fakes.class_folders(tmp_path / "pets", ("train/Cat", "test/cat"), 3)
    with pytest.raises(DataError, match="two names look alike") as caught:
        inspection.inspect(str(path))
    assert caught.value.found == "'Cat' and 'cat'"


def test_a_folder_of_links_that_all_lead_nowhere(tmp_path):
    (tmp_path / "cat").mkdir()
    for number in range(5):
        (tmp_path / "cat" / f"{number}.png").symlink_to("/gone/away.png")
    with pytest.raises(DataError, match=r"nothing in .* can be read") as caught:
        inspection.inspect(str(tmp_path))
    assert caught.value.found == (
        "cat/0.png: a link that leads nowhere; cat/1.png: a link that leads nowhere;"
        " cat/2.png: a link that leads nowhere; and 2 more"
    )


def test_a_listed_image_that_cannot_be_read_is_no_error(fakes, tmp_path):
    path = fakes.class_folders(tmp_path / "pets", per_class=2)
    (path / "cat" / "gone.png").symlink_to("nothing")
    lines = ["path,label", "cat/gone.png,cat"]
    lines += [
        f"{name}/image_000{number}.png,{name}"
        for name in ("cat", "dog")
        for number in (1, 2)
    ]
    (path / "labels.csv").write_text("\n".join(lines))
    found = inspection.inspect(str(path))
    assert found.format == "list"
    assert dict(found.unreadable) == {"cat/gone.png": "a link that leads nowhere"}


def test_a_list_names_files_in_either_form(fakes, tmp_path):
    nfc, nfd = "caf\u00e9", "cafe\u0301"
    path = fakes.class_folders(tmp_path / "pets", ("dog", nfd), 2)
    lines = ["path,label"]
    lines += [
        f"{name}/image_000{number}.png,{name}"
        for name in ("dog", nfc)
        for number in (1, 2)
    ]
    (path / "labels.csv").write_text("\n".join(lines))
    assert inspection.inspect(str(path)).labels == (nfc, "dog")
