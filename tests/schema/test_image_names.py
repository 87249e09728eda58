import pytest

from schema import image_names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat/a.png", False),
        (".hidden/a.png", True),
        ("cat/.ipynb_checkpoints/a.png", True),
        ("__MACOSX/cat/._a.png", True),
        ("cat/Thumbs.db", True),
        ("cat/@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg", True),
        ("#recycle/cat/a.png", True),
        ("$RECYCLE.BIN/S-1-5-21/$R1.png", True),
        ("System Volume Information/a.png", True),
        ("lost+found/a.png", True),
        ("cat/.Trash-1000/files/a.png", True),
        ("cat/.thumbnails/a.png", True),
        (".git/a.png", True),
        (".dvc/cache/a.png", True),
        ("cat/._a.png", True),
        ("found/a.png", False),
        ("recycle/a.png", False),
        ("thumbs/a.png", False),
    ],
)
def test_knows_litter(name, expected):
    assert image_names.is_litter(name) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat/a.png", True),
        ("cat/A.JPG", True),
        # Nobody decodes it, which is said of it by name.
        ("cat/a.tiff", True),
        ("cat/a.png.txt", False),
        ("cat/png", False),
        ("cat/._a.png", False),
    ],
)
def test_knows_images(name, expected):
    assert image_names.is_image_name(name) is expected


@pytest.mark.parametrize(
    ("name", "litter", "why"),
    [
        ("cat/@eaDir/a.jpg/x.jpg", "cat/@eaDir", "thumbnails of a Synology NAS"),
        ("cat/._a.png", "cat/._a.png", "attributes of macOS files"),
        (".Trash-1000/files/a.png", ".Trash-1000", "deleted files of a desktop"),
        (".cache/a.png", ".cache", "hidden"),
        ("cat/a.png", "", "no part of the layout"),
        ("cat/a.txt", "", "no image by its name"),
    ],
)
def test_says_why_a_file_is_ignored(name, litter, why):
    assert image_names.litter_in(name) == litter
    assert image_names.why_ignored(name) == why
