import base64
import io

import numpy as np
import pytest
from PIL import Image

from report import thumbnails
from schema import orientation


def encode(pixels, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def decode(address):
    _, _, data = address.partition(";base64,")
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_large_images_shrink_and_keep_their_shape():
    red = np.zeros((200, 100, 3), np.uint8) + np.array([200, 0, 0], np.uint8)
    image = decode(thumbnails.of_encoded(encode(red, "JPEG")))
    assert image.size == (32, 64)
    assert np.allclose(np.asarray(image), (200, 0, 0), atol=8)


def test_tiny_ones_stay_exact():
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) * 3
    image = decode(thumbnails.of_encoded(encode(pixels)))
    assert image.format == "PNG"
    assert np.array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize("value", range(1, 9))
def test_photos_stand_upright(value):
    stored = np.zeros([8, 12], np.uint8)
    stored[:3, :2] = 255
    tags = Image.Exif()
    tags[0x0112] = value
    file = io.BytesIO()
    Image.fromarray(stored).save(file, "PNG", exif=tags)
    shown = decode(thumbnails.of_encoded(file.getvalue()))
    expected = orientation.turn(stored, value)
    np.testing.assert_array_equal(np.asarray(shown.convert("L")), expected)


@pytest.mark.parametrize("encoded", (b"", b"GIF89a", encode(np.eye(9) > 0)[:60]))
def test_what_cannot_be_decoded_has_no_picture(encoded):
    assert thumbnails.of_encoded(encoded) is None


def test_they_stop_at_their_bytes():
    noise = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), np.uint8)
    encoded = {str(place): encode(pixels) for place, pixels in enumerate(noise)}
    keys = ["gone", *encoded]
    whole = thumbnails.within(keys, encoded, 1_000_000)
    assert list(whole) == list(encoded)
    limit = sum(len(whole[key]) for key in "0123")
    assert list(thumbnails.within(keys, encoded, limit)) == list("0123")
