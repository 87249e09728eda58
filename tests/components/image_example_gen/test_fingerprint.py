"""The fingerprint sees content and nothing else."""

import os
import shutil

import pytest

from common.errors import DataError
from components.image_example_gen.fingerprint import fingerprint


def test_copies_have_the_fingerprint_of_their_original(fakes, tmp_path):
    folder = fakes.class_folders(tmp_path / "pets", per_class=3)
    moved = tmp_path / "far" / "away"
    shutil.copytree(folder, moved, copy_function=shutil.copyfile)
    (moved / ".DS_Store").write_bytes(b"x")
    os.utime(moved / "cat" / "image_0001.png", (1, 1))
    assert fingerprint(moved) == fingerprint(str(folder))


def test_every_change_of_content_is_seen(fakes, tmp_path):
    folder = fakes.class_folders(tmp_path / "pets", per_class=3)
    first = folder / "cat" / "image_0001.png"
    seen = {fingerprint(folder)}
    first.rename(folder / "cat" / "renamed.png")
    seen.add(fingerprint(folder))
    (folder / "cat" / "renamed.png").rename(folder / "dog" / "renamed.png")
    seen.add(fingerprint(folder))
    (folder / "dog" / "renamed.png").write_bytes(b"x")
    seen.add(fingerprint(folder))
    (folder / "dog" / "renamed.png").unlink()
    seen.add(fingerprint(folder))
    assert len(seen) == 5


def test_what_cannot_be_read_counts_by_its_reason(fakes, tmp_path):
    folder = fakes.class_folders(tmp_path / "pets", per_class=3)
    seen = {fingerprint(folder)}
    link = folder / "cat" / "link.png"
    link.symlink_to("gone.png")
    seen.add(fingerprint(folder))
    link.unlink()
    link.symlink_to(link)
    seen.add(fingerprint(folder))
    link.unlink()
    link.symlink_to("image_0001.png")
    seen.add(fingerprint(folder))
    assert len(seen) == 4


def test_of_a_file_it_is_the_plain_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert fingerprint(tmp_path / "a").startswith("ba7816bf8f01cfea")


def test_says_that_nothing_is_there(tmp_path):
    with pytest.raises(DataError, match="no data at"):
        fingerprint(tmp_path / "absent")
