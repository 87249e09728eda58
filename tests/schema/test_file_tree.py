"""What lies in a folder: nothing ends the walk, and nothing is passed over in silence."""

import os
import socket

import pytest

from schema import file_tree
from schema.file_tree import Kind


def entries(folder, depth=None):
    return {entry.name: entry[::2] for entry in file_tree.walk(folder, depth)}


def test_gives_files_at_any_depth(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "1.png").touch()
    (tmp_path / "2.png").touch()
    expected = {"a/b/1.png": (Kind.FILE, ""), "2.png": (Kind.FILE, "")}
    assert entries(tmp_path) == expected
    assert entries(tmp_path, depth=1) == {"2.png": (Kind.FILE, "")}
    assert entries(tmp_path, depth=3) == expected


def test_follows_links_but_not_in_circles(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").touch()
    (tmp_path / "linked").symlink_to("a")
    (tmp_path / "file.png").symlink_to("a/1.png")
    (tmp_path / "a" / "circle").symlink_to(tmp_path)
    assert entries(tmp_path) == {
        "a/1.png": (Kind.FILE, ""),
        "linked/1.png": (Kind.FILE, ""),
        "file.png": (Kind.FILE, ""),
        "a/circle": (Kind.CLOSED, "a link to a folder above it"),
        "linked/circle": (Kind.CLOSED, "a link to a folder above it"),
    }


def test_names_what_cannot_be_read(tmp_path):
    (tmp_path / "gone.png").symlink_to("nothing")
    (tmp_path / "self").symlink_to("self")
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        assert entries(tmp_path) == {
            "gone.png": (Kind.BROKEN, "a link that leads nowhere"),
            "self": (Kind.BROKEN, "a link that leads to itself"),
            "pipe.png": (Kind.BROKEN, "not a file"),
            "socket": (Kind.BROKEN, "not a file"),
        }


def test_litter_is_named_and_not_entered(tmp_path):
    for name in ("@eaDir", "cat/.git", "lost+found"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "1.png").touch()
    (tmp_path / "Thumbs.db").symlink_to("nothing")
    assert entries(tmp_path) == dict.fromkeys(
        ("@eaDir", "cat/.git", "lost+found", "Thumbs.db"), (Kind.LITTER, "")
    )


def test_a_closed_folder_is_named(unprivileged):
    folder, as_nobody = unprivileged
    (folder / "closed").mkdir(mode=0)
    (folder / "listed").mkdir()
    (folder / "listed" / "1.png").touch()
    (folder / "listed").chmod(0o444)
    with as_nobody():
        found = entries(folder)
        assert entries(folder / "closed") == {"": (Kind.CLOSED, "Permission denied")}
    assert found["closed"] == (Kind.CLOSED, "Permission denied")
    # Its names can be seen, the files cannot be opened.
    assert found["listed/1.png"] in (
        (Kind.FILE, ""),
        (Kind.BROKEN, "Permission denied"),
    )


def test_a_folder_that_is_gone(tmp_path):
    expected = {"": (Kind.CLOSED, "No such file or directory")}
    assert entries(tmp_path / "gone") == expected


def test_reads_regular_files_only(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone").symlink_to("nothing")
    (tmp_path / "file").write_bytes(b"12345")
    assert file_tree.read_file(tmp_path / "file", 4) == b"1234"
    for name, reason in (
        ("pipe", "not a file"),
        (".", "not a file"),
        ("gone", "a link that leads nowhere"),
        ("absent", "No such file or directory"),
        ("a\0b", "embedded null byte"),
    ):
        with pytest.raises(OSError, match=reason):
            file_tree.read_file(os.path.join(tmp_path, name), 4)  # noqa: PTH118


def test_a_file_without_permission(unprivileged):
    folder, as_nobody = unprivileged
    (folder / "closed.png").touch(mode=0)
    with as_nobody(), pytest.raises(PermissionError) as caught:
        file_tree.read_file(folder / "closed.png", 4)
    assert caught.value.strerror == "Permission denied"
