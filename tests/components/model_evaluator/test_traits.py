"""Values by which a split is sliced."""

import io

import numpy as np
import pytest
from PIL import Image

from components.model_evaluator import traits
from schema import features


@pytest.mark.parametrize(
    ("height", "width", "bucket"),
    [
        (8, 8, "up to 32 px"),
        (32, 20, "up to 32 px"),
        (20, 33, "33 to 64 px"),
        (64, 64, "33 to 64 px"),
        (300, 200, "257 to 512 px"),
    ],
)
def test_size_is_a_bucket_of_the_longer_side(
    height: int, width: int, bucket: str
) -> None:
    example = {features.HEIGHT: np.array([height]), features.WIDTH: np.array([width])}
    assert traits.size(example) == bucket


@pytest.mark.parametrize(
    ("mode", "kind", "expected"),
    [
        ("L", "PNG", "gray"),
        ("L", "JPEG", "gray"),
        ("RGB", "PNG", "colour"),
        ("RGB", "JPEG", "colour"),
        ("P", "PNG", "colour"),
    ],
)
def test_colour_is_how_the_image_is_stored(mode: str, kind: str, expected: str) -> None:
    file = io.BytesIO()
    Image.new(mode, (5, 4)).save(file, kind)
    assert traits.colour({features.ENCODED: np.array([file.getvalue()])}) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"data_batch_1.bin#17", "data_batch_1.bin"),
        (b"photos/night/cat_1.jpg", "photos/night"),
        (b"cat_1.jpg", "."),
    ],
)
def test_source_is_the_file_of_many_or_the_folder(key: bytes, expected: str) -> None:
    assert traits.source({features.KEY: np.array([key], object)}) == expected
