"""One verdict on encoded images."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from schema import image_header, images


def encoded(kind: str, mode: str = "RGB", size=(12, 9), **options) -> bytes:
    random = np.random.default_rng(3)
    channels = len(mode) if mode != "P" else 3
    pixels = random.integers(0, 256, (size[1], size[0], channels), np.uint8)
    pixels = pixels[..., 0] if channels == 1 else pixels
    image = Image.fromarray(pixels, "RGB" if mode == "P" else mode).convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
        + struct.pack(">I", zlib.crc32(chunk)) + b"\x00\x00\x00\x00IDAT"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "mode", "channels"),
    [
        ("JPEG", "RGB", 3),
        ("JPEG", "L", 1),
        ("PNG", "RGB", 3),
        ("PNG", "L", 1),
        ("PNG", "RGBA", 3),
        ("PNG", "P", 3),
        ("JPEG", "CMYK", 3),
    ],
)
def test_keeps_jpeg_and_png_as_they_are(kind, mode, channels):
    data = encoded(kind, mode)
    verdict = images.check_image(data)
    assert verdict.reason == ""
    assert verdict.encoded is data
    assert (verdict.format, verdict.height, verdict.width) == (kind.lower(), 9, 12)
    assert verdict.channels == channels


@pytest.mark.parametrize("kind", ["BMP", "GIF", "WEBP", "TIFF", "PPM"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_turns_other_formats_into_png(kind, mode):
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(kind, mode, **options)
    verdict = images.check_image(data)
    assert (verdict.reason, verdict.format) == ("", "png")
    with Image.open(io.BytesIO(data)) as original:
        expected = np.asarray(original.convert("RGB"))
    pixels = tf.io.decode_png(verdict.encoded, channels=3).numpy()
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("mode", ["1", "P"])
def test_reads_a_bmp_with_a_palette(mode):
    """TensorFlow would take the places in the palette for gray values, or read nothing."""
    data = encoded("BMP", mode if mode == "P" else "L")
    if mode == "1":
        with Image.open(io.BytesIO(data)) as image:
            file = io.BytesIO()
            image.convert("1").save(file, "BMP")
            data = file.getvalue()
    with Image.open(io.BytesIO(data)) as original:
        expected = np.asarray(original.convert("RGB"))
    verdict = images.check_image(data)
    assert verdict.reason == ""
    pixels = tf.io.decode_png(verdict.encoded, channels=3).numpy()
    np.testing.assert_array_equal(pixels, expected)


def test_a_gif_of_many_pixels_is_read_without_tensorflow(monkeypatch):
    frames = [Image.new("RGB", (5, 4), colour) for colour in ("red", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert image_header.gif_pixels(file.getvalue()) == 40
    monkeypatch.setattr(images, "_MAX_GIF_PIXELS", 39)
    monkeypatch.setattr(images, "_decode", None)
    assert images.check_image(file.getvalue()).reason == ""


@pytest.mark.parametrize("mode", ["I;16", "F"])
def test_refuses_a_tiff_of_more_than_8_bits(mode):
    file = io.BytesIO()
    Image.new(mode, (5, 4)).save(file, "TIFF")
    reason = images.check_image(file.getvalue()).reason
    assert reason.startswith("TIFF of more than 8 bits a channel: convert it to JPEG")


def test_refuses_a_tiff_of_several_pages():
    pages = [Image.new("RGB", (5, 4), colour) for colour in ("red", "blue")]
    file = io.BytesIO()
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    assert images.check_image(file.getvalue()).reason.startswith("TIFF of 2 pages: ")


def test_says_how_to_convert_heic():
    data = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)
    reason = images.check_image(data).reason
    assert "pip install pillow-heif" in reason
    assert "convert it to JPEG or PNG" in reason


def test_takes_the_first_frame_of_a_gif():
    frames = [Image.new("RGB", (5, 4), colour) for colour in ("red", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    verdict = images.check_image(file.getvalue())
    pixels = tf.io.decode_png(verdict.encoded).numpy()
    assert pixels.shape == (4, 5, 3)
    assert pixels[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 100), (4000, 40)])
def test_takes_narrow_images(width, height):
    verdict = images.check_image(encoded("PNG", size=(width, height)))
    assert (verdict.reason, verdict.width, verdict.height) == ("", width, height)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello world", "not an image: it starts with b'hello wo'"),
        (b"II*\x00" + b"\x00" * 20, "TIFF is not accepted"),
        (b"%PDF-1.4", "PDF is not accepted"),
        (b"<!doctype html><html>", "HTML is not accepted"),
        (png_header(0, 5), "damaged|an image of 0x5 px|not an image"),
        (png_header(65_535, 4), "65535x4 px, at most 16,384 a side"),
        (png_header(10_000, 10_000), "10000x10000 px, at most 50,000,000 in all"),
        (png_header(2**31 - 1, 2**31 - 1), "more than 50,000,000 pixels|at most"),
        (png_header(101, 1), "101x1 px, one side is more than 100 times the other"),
        (png_header(40, 16_384), "40x16384 px, one side is more than 100 times"),
        (png_header(4, 4), "damaged|end early"),
        (encoded("PNG") + b"", ""),
    ],
)
def test_says_why(data, reason):
    verdict = images.check_image(data)
    assert bool(verdict.reason) == bool(reason)
    if reason:
        import re

        assert re.search(reason, verdict.reason), verdict.reason


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_the_header_says_the_same_of_whole_images(kind):
    data = encoded(kind, size=(12, 9))
    assert images.check_header(data) == images.check_image(data)


def test_the_header_says_nothing_of_damaged_pixels():
    data = encoded("PNG", size=(40, 30))
    damaged = data[:-20]
    assert images.check_image(damaged).reason == "PNG data are damaged or end early"
    assert images.check_header(damaged).reason == ""
    assert images.check_header(damaged).encoded == damaged
    for other in (b"", b"hello world", png_header(65_535, 4)):
        assert images.check_header(other).reason == images.check_image(other).reason


def test_refuses_too_many_bytes(monkeypatch):
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 10)
    assert images.check_image(b"x" * 11).reason == "11 bytes, at most 10 are read"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_cut_images_are_refused_not_completed(kind):
    data = encoded(kind, size=(40, 30))
    # The last bytes of JPEG, PNG and GIF are end marks that decoders can do without.
    for percent in range(1, 96):
        assert images.check_image(data[: len(data) * percent // 100]).reason, percent


@pytest.mark.parametrize("channels", [1, 3])
def test_png_of_raw_pixels_is_lossless_and_repeatable(channels):
    random = np.random.default_rng(5)
    pixels = random.integers(0, 256, (7, 6, 5, channels)).astype(np.uint8)
    encoded_images = list(images.encode_pngs(pixels))
    assert encoded_images == list(images.encode_pngs(pixels))
    for data, expected in zip(encoded_images, pixels, strict=True):
        np.testing.assert_array_equal(tf.io.decode_png(data).numpy(), expected)
        with Image.open(io.BytesIO(data)) as image:
            image.verify()


def test_png_takes_transposed_views():
    planes = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
    view = planes.transpose(0, 2, 3, 1)
    for data, expected in zip(images.encode_pngs(view), view, strict=True):
        np.testing.assert_array_equal(tf.io.decode_png(data).numpy(), expected)
