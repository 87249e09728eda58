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
