import io

import pytest
from PIL import Image

from common.errors import DataError
from components.image_example_gen import samples


def test_one_image_of_each_class_first(fakes, tmp_path):
    folder = fakes.class_folders(tmp_path, ("ant", "bee", "cat", "dog"), 9)
    (folder / "ant" / "image_0000.png").write_bytes(b"no image")
    drawn = samples.draw(str(folder), 4, seed=1)
    assert [sample.text for sample in drawn] == ["ant", "bee", "cat", "dog"]
    for sample in drawn:
        with Image.open(io.BytesIO(sample.encoded)) as image:
            assert image.size == (8, 8)


def test_more_images_than_classes(fakes, tmp_path):
    folder = fakes.class_folders(tmp_path, ("ant", "bee"), 2)
    drawn = samples.draw(str(folder), 9, seed=1)
    assert [sample.text for sample in drawn] == ["ant", "ant", "bee", "bee"]
    assert len({sample.encoded for sample in drawn}) == 4


@pytest.mark.parametrize("is_packed", [False, True])
def test_raw_pixels_have_the_names_of_their_classes(fakes, tmp_path, is_packed):
    path = fakes.cifar10_binary(tmp_path / "cifar")
    if is_packed:
        path = fakes.pack(path, tmp_path / "cifar.tar.gz")
    drawn = samples.draw(str(path), 3, seed=1)
    assert len({sample.text for sample in drawn}) == 3
    assert all(sample.text.isalpha() for sample in drawn)
    assert drawn == samples.draw(str(path), 3, seed=1)


def test_nothing_readable(fakes, tmp_path):
    folder = fakes.class_folders(tmp_path, ("ant", "bee"), 1)
    for path in folder.glob("*/*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match="no readable image"):
        samples.draw(str(folder), 3, seed=1)
