import os
import pathlib

import pytest

from common.errors import DataError
from serving.batch_inference import listing


def touch(folder, *names):
    for name in names:
        path = pathlib.Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def paths(*words, **more):
    return [file.path for file in listing.find(words, **more).files]


@pytest.fixture(autouse=True)
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch("photos", "b.png", "a.JPG", "cats/z.webp", "cats/old/y.gif", "scan.tiff")
    touch("photos", "notes.md", ".hidden.png", ".git/c.png", "cats/Thumbs.db")


IN_FOLDER = [
    "photos/a.JPG",
    "photos/b.png",
    "photos/cats/old/y.gif",
    "photos/cats/z.webp",
    "photos/scan.tiff",
]


def test_a_folder_means_the_images_in_it_in_order():
    assert paths("photos") == paths("./photos/") == IN_FOLDER
    absolute = pathlib.Path("photos").resolve()
    assert paths(str(absolute)) == [str(absolute.parent / path) for path in IN_FOLDER]


def test_what_is_passed_over_is_counted():
    # notes.md, .hidden.png, .git and Thumbs.db
    assert listing.find(["photos"]).ignored == 4
    assert listing.find(["photos/*.png"]).ignored == 0


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("photos/*", ["photos/a.JPG", "photos/b.png", "photos/notes.md", "photos/scan.tiff"]),
        ("photos/[ab].*", ["photos/a.JPG", "photos/b.png"]),
        ("photos/**/*.gif", ["photos/cats/old/y.gif"]),
        ("photos/**/*.png", ["photos/b.png"]),
        ("photos/*/*.webp", ["photos/cats/z.webp"]),
        ("p*/cats/**", ["photos/cats/old/y.gif", "photos/cats/z.webp"]),
        ("**/b.png", ["photos/b.png"]),
        ("photos/?.png", ["photos/b.png"]),
    ],
)  # fmt: skip
def test_a_pattern_means_files_of_any_name_that_fit(pattern, expected):
    assert paths(pattern) == expected
    absolute = pathlib.Path.cwd()
    assert paths(str(absolute / pattern)) == [str(absolute / path) for path in expected]


def test_what_exists_goes_before_its_meaning_as_a_pattern():
    touch("photos", "b[1].png", "b1.png")
    assert paths("photos/b[1].png") == ["photos/b[1].png"]


def test_words_that_overlap_give_each_file_once():
    assert paths("photos", "photos/b.png", "./photos/*.png", "photos") == IN_FOLDER


@pytest.mark.parametrize(
    "content",
    [
        b"photos/b.png\nphotos/no image.txt\n",
        b"\xef\xbb\xbfphotos/b.png\r\n\r\nphotos/no image.txt\r\n",
        b"photos/no image.txt\0photos/b.png\0",
        b"photos/b.png\nphotos/b.png\nphotos/no image.txt",
    ],
)
def test_a_list_has_a_path_a_line(content):
    touch("photos", "no image.txt")
    pathlib.Path("list.txt").write_bytes(content)
    assert paths("list.txt") == ["photos/b.png", "photos/no image.txt"]


def test_paths_in_a_list_start_at_its_folder():
    pathlib.Path("photos/list.txt").write_text("b.png\n/elsewhere/c.png\ngone.png\n")
    found = listing.find(["photos/list.txt"]).files
    assert [(file.path, file.size_bytes) for file in found] == [
        ("/elsewhere/c.png", listing.NO_FILE),
        ("photos/b.png", 0),
        ("photos/gone.png", listing.NO_FILE),
    ]


def test_odd_names_come_back_as_they_were():
    names = [
        "photos/new\nline.png",
        "photos/=x.png",
        "photos/\udcff.png",
        "photos/😀.png",
    ]
    for name in names:
        pathlib.Path(name).touch()
    assert set(names) < set(paths("photos"))
    pathlib.Path("list.txt").write_bytes(b"\0".join(map(os.fsencode, names)) + b"\0")
    # In the order of the bytes, as `LC_ALL=C sort` has it.
    assert paths("list.txt") == sorted(names, key=os.fsencode)


def test_links_are_followed_but_not_in_circles():
    pathlib.Path("elsewhere").mkdir()
    touch("elsewhere", "e.png")
    pathlib.Path("photos/link").symlink_to(pathlib.Path("elsewhere").resolve())
    pathlib.Path("photos/cats/above").symlink_to("..")
    pathlib.Path("photos/self.png").symlink_to("self.png")
    pathlib.Path("photos/gone.png").symlink_to("nothing.png")
    found = listing.find(["photos"])
    new = ["photos/gone.png", "photos/link/e.png", "photos/self.png"]
    assert [file.path for file in found.files] == sorted([*IN_FOLDER, *new])
    assert found.unreadable == [("photos/cats/above", "a link to a folder above it")]
    assert [file.path for file in listing.find(["photos/**/e.png"]).files] == [
        "photos/link/e.png"
    ]


def test_pipes_are_no_files():
    os.mkfifo("photos/pipe.png")
    found = {file.path: file for file in listing.find(["photos"]).files}
    assert found["photos/pipe.png"].size_bytes == listing.NO_FILE


def test_a_change_shows():
    before = listing.find(["photos"]).files
    pathlib.Path("photos/b.png").write_bytes(b"more")
    after = listing.find(["photos"]).files
    changed = [now.path for now, then in zip(after, before, strict=True) if now != then]
    assert changed == ["photos/b.png"]


def test_left_out():
    assert paths("photos/*", is_left_out=lambda path: "notes" in path) == [
        "photos/a.JPG",
        "photos/b.png",
        "photos/scan.tiff",
    ]


@pytest.mark.parametrize(
    ("word", "message", "found"),
    [
        ("empty", "no images in empty", ""),
        ("texts", "no images in texts", "1 other files"),
        ("none", "there is no 'none'", ""),
        ("", "there is no ''", ""),
        ("none/*.png", "there is no folder 'none'", "the pattern none/*.png"),
        ("photos/*.pdf", r"no images in photos/\*.pdf", ""),
        ("empty.txt", "no images in empty.txt", ""),
    ],
)
def test_nothing_is_an_error(word, message, found):
    pathlib.Path("empty").mkdir()
    touch("texts", "a.md")
    pathlib.Path("empty.txt").touch()
    with pytest.raises(DataError, match=message) as caught:
        listing.find([word])
    assert caught.value.found == found
