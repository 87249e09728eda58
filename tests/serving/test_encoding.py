import io

import numpy as np
import pytest
from PIL import Image

from common.errors import DataError
from schema import images
from serving import encoding

PIXELS = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)


def encoded(kind, pixels=PIXELS, **arguments):
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, kind, **arguments)
    return target.getvalue()


def decoded(data):
    image = Image.open(io.BytesIO(data))
    assert image.format == "PNG"
    return np.asarray(image)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_png_and_jpeg_stay_as_they_are(kind, tmp_path):
    data = encoded(kind)
    path = tmp_path / "image"
    path.write_bytes(data)
    assert encoding.encode(data, "x") == data
    assert encoding.encode(path, "x") == encoding.encode(str(path), "x") == data


@pytest.mark.parametrize("kind", ["BMP", "GIF", "WEBP"])
def test_other_formats_become_png(kind):
    gray = np.full((5, 4), 77, np.uint8)
    options = {"lossless": True} if kind == "WEBP" else {}
    result = decoded(encoding.encode(encoded(kind, gray, **options), "x"))
    assert np.unique(result).tolist() == [77]


@pytest.mark.parametrize(
    ("pixels", "shape"),
    [
        (PIXELS, (5, 4, 3)),
        (PIXELS[:, :, 0], (5, 4)),
        (PIXELS[:, :, :1], (5, 4)),
        (np.dstack([PIXELS, PIXELS[:, :, :1]]), (5, 4, 3)),
    ],
)
def test_arrays_keep_their_pixels(pixels, shape):
    result = decoded(encoding.encode(pixels, "x"))
    assert result.shape == shape
    np.testing.assert_array_equal(
        result, pixels.reshape(5, 4, -1)[:, :, :3].reshape(shape)
    )


def test_pil_images():
    np.testing.assert_array_equal(
        decoded(encoding.encode(Image.fromarray(PIXELS), "x")), PIXELS
    )


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"", "cannot read image cat: the file is empty"),
        (b"<html>not found</html>", "cannot read image cat: HTML is not accepted"),
        (encoded("PNG")[:20], "cannot read image cat"),
        (encoded("BMP")[:-20], "cannot read image cat: damaged"),
        (PIXELS.astype(np.float32), "cat is not an image"),
        (PIXELS[0, 0], "cat is not an image"),
        (PIXELS[:0], "cat is not an image"),
        (5, "cat is not an image"),
        ("/no/such/file.png", "cannot read image cat: No such file"),
    ],
)
def test_what_is_no_image_is_refused_by_name(image, message):
    with pytest.raises(DataError, match=message):
        encoding.encode(image, "cat")


def test_limits(monkeypatch, tmp_path):
    data = encoded("PNG")
    path = tmp_path / "image.png"
    path.write_bytes(data)
    monkeypatch.setattr(images, "MAX_PIXELS", 19)
    for image in (data, PIXELS):
        with pytest.raises(DataError, match="4x5 px, at most 19 in all"):
            encoding.encode(image, "cat")
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 10)
    for image in (data, path):
        with pytest.raises(DataError, match=r"cat: \d+ bytes, at most 10"):
            encoding.encode(image, "cat")


@pytest.mark.parametrize("percent", [30, 60, 90, 99])
def test_a_cut_image_is_refused_as_in_ingest(percent):
    data = encoded("JPEG", np.tile(PIXELS, (20, 20, 1)))
    cut = data[: len(data) * percent // 100]
    with pytest.raises(DataError) as caught:
        encoding.encode(cut, "cat")
    assert caught.value.message.endswith(images.check_image(cut).reason)


def test_pixels_may_be_left_to_a_server():
    damaged = encoded("PNG", np.tile(PIXELS, (20, 20, 1)))[:-20]
    assert encoding.encode(damaged, "cat", is_decoded=False) == damaged
    with pytest.raises(DataError, match="cannot read image cat"):
        encoding.encode(damaged, "cat")
    with pytest.raises(DataError, match="cannot read image cat: not an image"):
        encoding.encode(b"hello", "cat", is_decoded=False)
