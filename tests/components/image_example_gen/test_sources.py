"""Sources in place: the same files from every container, and what is refused."""

import dataclasses
import io
import os
import pickle
import shutil
import stat
import struct
import subprocess
import tarfile
import zipfile

import pytest

from common.errors import DataError
from components.image_example_gen.sources import limits, opening
from components.image_example_gen.sources.source import MemberTooLarge

LIMIT = limits.LIMITS.image_bytes


def content(source):
    return {member.name: member.read(LIMIT) for member in source.members()}


def make_tar(path, entries, mode="w"):
    """Tar of (TarInfo or name, bytes)."""
    with tarfile.open(path, mode) as tar:
        for info, data in entries:
            if isinstance(info, str):
                info = tarfile.TarInfo(info)
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    "suffix", ["", ".tar", ".tar.gz", ".tar.xz", ".tar.bz2", ".zip"]
)
def test_gives_the_same_files_from_every_container(fakes, tmp_path, suffix):
    folder = fakes.class_folders(tmp_path / "data" / "pets", per_class=3)
    path = folder.parent
    if suffix:
        path = fakes.pack(folder, tmp_path / f"pets{suffix}")
    source = opening.open_source(path)
    expected = {
        str(file.relative_to(folder.parent)): file.read_bytes()
        for file in folder.rglob("*.png")
    }
    assert content(source) == expected
    assert set(source.names()) == set(expected)
    again = pickle.loads(pickle.dumps(source))  # as Beam sends it to workers
    assert content(again) == expected


def test_believes_the_content_and_not_the_name(fakes, tmp_path):
    folder = fakes.class_folders(tmp_path / "pets", per_class=2)
    fakes.pack(folder, tmp_path / "a.zip").rename(tmp_path / "a.tar.gz")
    assert len(content(opening.open_source(tmp_path / "a.tar.gz"))) == 4


def test_reads_what_was_packed_as_the_folder_itself(fakes, tmp_path):
    """As `tar -cf a.tar .` and `zip -r a.zip .` do."""
    folder = fakes.class_folders(tmp_path / "pets", per_class=2)
    expected = content(opening.open_source(folder))
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(folder, ".")
    assert content(opening.open_source(tmp_path / "a.tar")) == expected
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("./", "")
        for name, data in expected.items():
            archive.writestr(f"./{name}", data)
    assert content(opening.open_source(tmp_path / "a.zip")) == expected


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.zip", b"hello", "is not a zip archive"),
        ("a.tar.gz", b"hello", "is not an archive"),
        ("a.tar", b"hello" * 300, "a.tar is damaged or incomplete after its start"),
        ("a.gz", b"\x1f\x8b\x08\x00hello", "is damaged or incomplete"),
        ("b.zip", b"PK\x03\x04hello", "is not a zip archive"),
        ("a.rar", b"Rar!\x1a\x07\x01\x00", "is a RAR archive"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c", "is a 7z archive"),
    ],
)
def test_refuses_what_is_no_archive(tmp_path, name, data, message):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        content(opening.open_source(path))


def test_says_that_nothing_is_there(tmp_path):
    with pytest.raises(DataError) as caught:
        opening.open_source(tmp_path / "absent")
    assert caught.value.message == f"no data at {tmp_path / 'absent'}"
    assert "--data" in caught.value.tip


def test_says_that_it_has_no_permission(unprivileged):
    folder, as_nobody = unprivileged
    (folder / "closed").mkdir()
    (folder / "closed" / "a.zip").touch()
    (folder / "closed").chmod(0)
    (folder / "b.zip").touch(mode=0)
    with as_nobody():
        for name in ("closed", "closed/a.zip", "b.zip"):
            with pytest.raises(DataError, match=r"cannot read .*: Permission denied"):
                list(opening.open_source(folder / name).names())


BAD_NAMES = [
    "../x.png", "/abs/x.png", "a/../../b.png", "C:/x.png", "c:x.png", "a\\..\\b.png",
    "..", "a/..", "cat/\u202egnp.exe", "cat/\x07.png", "cat/\n.png", "x" * 300 + ".png",
    "/".join(["deep"] * 300), "cat/\x7f.png", "\\\\server\\share", "a/./../b",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_refuses_odd_names_and_writes_nothing(tmp_path, name, kind):
    path = tmp_path / f"bad.{kind}"
    if kind == "tar":
        make_tar(path, [("cat/a.png", b"1"), (name, b"2")])
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("cat/a.png", b"1")
            archive.writestr(zipfile.ZipInfo(name), b"2")
    with pytest.raises(DataError, match=r"bad\.(tar|zip) holds a"):
        content(opening.open_source(path))
    assert os.listdir(tmp_path) == [path.name]  # noqa: PTH208


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_refuses_links_and_devices_in_a_tar(tmp_path, kind):
    info = tarfile.TarInfo("cat/b.png")
    info.type, info.linkname = kind, "/etc/passwd"
    path = make_tar(tmp_path / "bad.tar", [("cat/a.png", b"1"), (info, b"")])
    with pytest.raises(DataError, match=r"holds cat/b\.png, a link or device"):
        content(opening.open_source(path))


def test_refuses_links_in_a_zip(tmp_path):
    info = zipfile.ZipInfo("cat/b.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="a link or device"):
        content(opening.open_source(tmp_path / "bad.zip"))


@pytest.mark.parametrize("second", ["cat/a.png", "CAT/A.png", "./cat/a.png"])
def test_refuses_a_name_twice(tmp_path, second):
    path = make_tar(tmp_path / "bad.tar", [("cat/a.png", b"1"), (second, b"2")])
    with pytest.raises(DataError, match="twice"):
        content(opening.open_source(path))


def test_accepts_a_leading_dot(tmp_path):
    path = make_tar(tmp_path / "good.tar", [("./cat/a.png", b"1")])
    assert content(opening.open_source(path)) == {"cat/a.png": b"1"}


def test_refuses_overlapping_zip_members(tmp_path):
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cat/a.png", b"1" * 1000)
        archive.writestr("cat/b.png", b"2" * 1000)
    data = bytearray(path.read_bytes())
    second = data.rfind(b"PK\x01\x02")
    data[second + 42 : second + 46] = struct.pack(
        "<I", 0
    )  # where its bytes are said to be
    path.write_bytes(data)
    with pytest.raises(DataError, match="overlap"):
        content(opening.open_source(path))


def test_refuses_a_locked_zip(tmp_path):
    path = tmp_path / "locked.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cat/a.png", b"1")
    data = bytearray(path.read_bytes())
    entry = data.rfind(b"PK\x01\x02")
    data[entry + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="protected by a password"):
        content(opening.open_source(path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"members": 3}, "more than 3 files"),
        ({"total_bytes": 5000}, "more than 5,000 bytes"),
        ({"ratio_floor_bytes": 1000, "ratio": 2}, "more than 2 times its size"),
    ],
)
@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.xz", ".zip"])
def test_refuses_bombs(fakes, tmp_path, monkeypatch, changes, message, suffix):
    folder = tmp_path / "zeros"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.png").write_bytes(bytes(20_000))
    path = fakes.pack(folder, tmp_path / f"zeros{suffix}")
    small = dataclasses.replace(limits.LIMITS, **changes)
    monkeypatch.setattr(limits, "LIMITS", small)
    with pytest.raises(DataError, match=message):
        content(opening.open_source(path))


def test_reads_no_more_of_a_member_than_asked_for(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.png").write_bytes(bytes(1000))
    make_tar(tmp_path / "a.tar", [("a.png", bytes(1000))])
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", bytes(1000))
    for path in (folder, tmp_path / "a.tar", tmp_path / "a.zip"):
        (member,) = opening.open_source(path).members()
        with pytest.raises(MemberTooLarge):
            member.read(999)


def test_refuses_endless_headers(tmp_path):
    info = tarfile.TarInfo("cat/a.png")
    info.pax_headers = {"comment": "x" * (8 << 20)}
    path = make_tar(tmp_path / "bad.tar", [(info, b"")])
    with pytest.raises(DataError, match="on one header"):
        content(opening.open_source(path))


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.xz", ".zip"])
def test_never_takes_a_cut_archive_for_a_whole_one(fakes, tmp_path, suffix):
    folder = fakes.class_folders(tmp_path / "pets", per_class=3, size_px=24)
    path = fakes.pack(folder, tmp_path / f"pets{suffix}")
    data = path.read_bytes()
    if suffix == ".tar":
        data = data[: data.rindex(b"IEND") + 512]  # without the padding behind the mark
    for part in range(1, 20):
        path.write_bytes(data[: len(data) * part // 20])
        with pytest.raises(DataError):
            content(opening.open_source(path))


def test_folder_follows_links_but_not_in_circles(fakes, tmp_path):
    real = fakes.class_folders(tmp_path / "real", per_class=1)
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "cat").symlink_to(real / "cat")
    assert list(opening.open_source(linked).names()) == ["cat/image_0001.png"]
    (linked / "circle").symlink_to(linked)
    source = opening.open_source(linked)
    assert list(source.names()) == ["cat/image_0001.png"]
    assert source.unreadable == {"circle": "a link to a folder above it"}


def test_a_hard_link_is_the_earlier_file_of_the_same_tar(tmp_path):
    link = tarfile.TarInfo("./cat/c.png")
    link.type, link.linkname = tarfile.LNKTYPE, "./cat/a.png"
    again = tarfile.TarInfo("cat/d.png")
    again.type, again.linkname = tarfile.LNKTYPE, "cat/c.png"
    entries = [("./cat/a.png", b"1"), ("cat/b.png", b"22"), (link, b""), (again, b"")]
    path = make_tar(tmp_path / "a.tar.gz", entries, "w:gz")
    source = opening.open_source(path)
    assert content(source) == {
        "cat/a.png": b"1",
        "cat/b.png": b"22",
        "cat/c.png": b"1",
        "cat/d.png": b"1",
    }
    assert content(pickle.loads(pickle.dumps(source))) == content(source)


@pytest.mark.skipif(not shutil.which("tar"), reason="tar is not installed")
def test_reads_what_tar_makes_of_hard_links(tmp_path):
    folder = tmp_path / "pets" / "cat"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"1")
    os.link(folder / "a.png", folder / "b.png")
    (folder / "c.png").symlink_to("a.png")
    path = tmp_path / "pets.tar"
    subprocess.run(
        ["tar", "-cf", path, "--dereference", "-C", tmp_path, "pets"], check=True
    )
    assert content(opening.open_source(path)) == {
        f"pets/cat/{name}.png": b"1" for name in "abc"
    }


@pytest.mark.parametrize(
    "target", ["cat/z.png", "../cat/a.png", "/cat/a.png", "cat/b.png"]
)
def test_refuses_a_hard_link_to_no_earlier_file(tmp_path, target):
    link = tarfile.TarInfo("cat/b.png")
    link.type, link.linkname = tarfile.LNKTYPE, target
    path = make_tar(
        tmp_path / "bad.tar", [("cat/a.png", b"1"), (link, b""), ("cat/z.png", b"3")]
    )
    with pytest.raises(DataError, match=r"holds cat/b\.png, a link") as caught:
        content(opening.open_source(path))
    assert "--hard-dereference" in caught.value.tip


def test_hard_links_count_against_the_limits(tmp_path, monkeypatch):
    entries = [("cat/a.png", bytes(20_000))]
    for number in range(9):
        link = tarfile.TarInfo(f"cat/{number}.png")
        link.type, link.linkname = tarfile.LNKTYPE, "cat/a.png"
        entries.append((link, b""))
    path = make_tar(tmp_path / "bad.tar", entries)
    small = dataclasses.replace(limits.LIMITS, total_bytes=100_000)
    monkeypatch.setattr(limits, "LIMITS", small)
    with pytest.raises(DataError, match="more than 100,000 bytes"):
        content(opening.open_source(path))


NFC, NFD = "caf\u00e9", "cafe\u0301"


def write_names(tmp_path, kind, names):
    """A source with a file for each name."""
    path = tmp_path / f"data.{kind}"
    if kind == "folder":
        for name in names:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(b"1")
    elif kind == "tar":
        make_tar(path, [(name, b"1") for name in names])
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, b"1")
    return path


@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
def test_names_are_given_in_nfc(tmp_path, kind):
    path = write_names(tmp_path, kind, [f"{NFD}/a.png", "dog/b.png"])
    source = opening.open_source(path)
    assert content(source) == {f"{NFC}/a.png": b"1", "dog/b.png": b"1"}
    # As Beam sends it to workers, which ask for the names they are given.
    again = pickle.loads(pickle.dumps(source))
    if again.is_random_access:
        assert [member.read(9) for member in again.members([f"{NFC}/a.png"])] == [b"1"]


@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
def test_refuses_two_spellings_of_one_folder(tmp_path, kind):
    path = write_names(tmp_path, kind, [f"{NFD}/a.png", f"{NFC}/b.png"])
    with pytest.raises(DataError, match="two names look alike") as caught:
        content(opening.open_source(path))
    assert "(c a f U+00E9)" in caught.value.found
    assert "(c a f e U+0301)" in caught.value.found


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (f"{NFD}/a.png".encode(), f"{NFC}/a.png"),  # as Finder writes it
        ("ж/a.png".encode(), "ж/a.png"),
        (b"caf\x82/a.png", f"{NFC}/a.png"),  # cp437, as old tools write it
    ],
)
def test_zip_names_without_the_flag(tmp_path, raw, expected):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x" * len(raw), b"1")
    path.write_bytes(path.read_bytes().replace(b"x" * len(raw), raw))
    assert content(opening.open_source(path)) == {expected: b"1"}
