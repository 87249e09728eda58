"""The orientation in the graph: the rule of `schema.orientation`, for whole batches."""

import io
import os
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from schema import orientation
from trainer import preprocessing, upright
from trainer.config import PreprocessingConfig

MUTANTS = int(os.environ.get("SLIMLINE_MUTANTS", "4000"))
BATCH = 500


def encode(pixels: np.ndarray, value: int | None, kind: str = "JPEG") -> bytes:
    """JPEG of highest quality or PNG, with that orientation."""
    tags = Image.Exif()
    if value is not None:
        tags[0x0112] = value
    # Some before and behind, and a thumbnail's directory.
    tags[0x010F], tags[0x0132] = "a maker", "2026:01:01 00:00:00"
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, quality=100, subsampling=0, exif=tags)
    return file.getvalue()


def as_big_endian(value: int) -> bytes:
    """Exif data in the other byte order than Pillow's."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, value, 0)
    return b"MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    random = np.random.default_rng(height)
    small = random.integers(0, 256, [5, 4, channels]).astype(np.float32)
    smooth = tf.image.resize(small, [height, width], "bicubic").numpy()
    return np.clip(smooth, 0, 255).astype(np.uint8)


def mutants(count: int) -> list[bytes]:
    """Images with Exif data, of which some bytes were changed, cut out or put in."""
    random = np.random.default_rng(17)
    pixels = picture(6, 5)
    plain = encode(pixels, 6)
    start = plain.index(b"Exif\0\0") - 4
    length = int.from_bytes(plain[start + 2 : start + 4], "big")
    block = b"Exif\0\0" + as_big_endian(3)
    other = struct.pack(">HH", 0xFFE1, len(block) + 2) + block
    seeds = [plain, plain[:start] + other + plain[start + 2 + length :]]
    seeds += [
        encode(pixels, value, kind) for value in (2, 8) for kind in ("PNG", "JPEG")
    ]
    found = list(seeds)
    while len(found) < count:
        data = bytearray(seeds[random.integers(len(seeds))])
        for _ in range(random.integers(1, 4)):
            place = int(random.integers(0, min(len(data), 150)))
            kind = random.integers(6)
            if kind < 3:
                data[place] = random.choice(
                    [0, 1, 2, 3, 6, 0x12, 0xE1, 0xFF, 0x49, 0x4D]
                )
            elif kind == 3:
                data[place] = random.integers(256)
            elif kind == 4:
                del data[place : place + int(random.integers(1, 9))]
            else:
                data[place:place] = random.bytes(int(random.integers(1, 9)))
        if random.random() < 0.1:
            del data[random.integers(len(data)) :]
        found.append(bytes(data))
    return found


def test_agrees_with_the_rule_in_python() -> None:
    found = mutants(MUTANTS)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        encoded = tf.compat.v1.placeholder(tf.string, [None])
        read = session.make_callable(upright.read(encoded), [encoded])
        in_graph = [
            value
            for start in range(0, len(found), BATCH)
            for value in read(found[start : start + BATCH]).tolist()
        ]
    expected = [orientation.read(data) for data in found]
    different = [
        (data, one, other)
        for data, one, other in zip(found, expected, in_graph, strict=True)
        if one != other
    ]
    assert not different, (len(different), different[0])
    # Else the mutations would show nothing.
    counts = np.bincount(expected, minlength=9)
    assert counts[1] > MUTANTS / 10
    assert all(counts[value] > MUTANTS / 20 for value in (2, 3, 6, 8))


def test_a_batch_of_none_is_a_batch_of_none() -> None:
    assert upright.read(tf.constant([], tf.string)).shape == [0]


def test_long_chains_of_segments_cost_little() -> None:
    chain = b"\xff\xd8" + b"\xff\xfe\0\2" * 1_000_000
    assert upright.read(tf.constant([chain])).numpy() == [1]


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("height", "width", "resize_px", "crop_px"),
    [(40, 40, 20, 20), (41, 64, 23, 20), (90, 33, 40, 31), (7, 19, 30, 29)],
)
def test_all_orientations_of_a_picture_are_one(
    height: int, width: int, resize_px: int, crop_px: int, interpolation: str, kind: str
) -> None:
    config = PreprocessingConfig(resize_px, crop_px, interpolation=interpolation)
    pixels = picture(height, width)
    stored = [_stored(pixels, value) for value in range(1, 9)]
    encoded = [
        encode(image, value, kind) for value, image in enumerate(stored, start=1)
    ]
    # What the decoder gives, turned by hand: JPEG's losses depend on where its blocks lie.
    upright_png = [
        encode(
            orientation.turn(tf.io.decode_image(data, 3).numpy(), value), None, "PNG"
        )
        for value, data in enumerate(encoded, start=1)
    ]
    decoded, expected = (
        preprocessing.decode_and_crop(tf.constant(batch), config).numpy()
        for batch in (encoded, upright_png)
    )
    np.testing.assert_allclose(decoded, expected, atol=1e-2)
    if kind == "PNG":
        np.testing.assert_allclose(decoded[1:], decoded[:1].repeat(7, 0), atol=1e-2)


def _stored(pixels: np.ndarray, value: int) -> np.ndarray:
    """What a camera held that way stores of an upright picture."""
    candidates = [orientation.turn(pixels, other) for other in range(1, 9)]
    return next(
        stored
        for stored in candidates
        if np.array_equal(orientation.turn(stored, value), pixels)
    )


# One image through the graph of preprocessing, in a session of its own.
SESSION = """
import sys
import tensorflow as tf
from trainer import preprocessing
from trainer.config import PreprocessingConfig

v1 = tf.compat.v1
with tf.Graph().as_default(), v1.Session() as session:
    encoded = v1.placeholder(tf.string, [None])
    config = PreprocessingConfig(resize_px=8, crop_px=8, channels=1)
    images = preprocessing.decode_and_crop(encoded, config)
    with open(sys.argv[1], "rb") as file:
        print(session.run(images, {encoded: [file.read()] * 4}).shape)
"""


def test_the_graph_optimizers_take_it(warm_forks, tmp_path) -> None:
    """One that gives up says so once a process, on stderr, and its gain is lost."""
    path = tmp_path / "picture.jpg"
    path.write_bytes(encode(picture(8, 8), 6))
    done = warm_forks.run(["python", "-c", SESSION, str(path)], tmp_path)
    assert (done.returncode, done.stdout) == (0, "(4, 8, 8, 1)\n"), done.stderr
    assert "meta_optimizer" not in done.stderr
