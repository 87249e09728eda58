"""Values of decoding, resizing, cropping and standardisation."""

import io
import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from schema import features, images
from trainer import input_pipeline, preprocessing
from trainer.config import PreprocessingConfig


def encode(image: np.ndarray, image_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, image_format, quality=95)
    return buffer.getvalue()


def decode(encoded: list[bytes], config: PreprocessingConfig) -> np.ndarray:
    return preprocessing.decode_and_crop(tf.constant(encoded), config).numpy()


def test_image_of_the_right_size_keeps_its_pixels() -> None:
    image = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    decoded = decode([encode(image)], PreprocessingConfig(resize_px=8, crop_px=8))
    np.testing.assert_array_equal(decoded[0], image)


def test_wide_image_keeps_its_ratio_and_its_middle() -> None:
    # Columns 0-7 black, 8-15 white, 16-23 black: the middle square is white.
    image = np.zeros([8, 24, 3], np.uint8)
    image[:, 8:16] = 255
    decoded = decode([encode(image)], PreprocessingConfig(resize_px=8, crop_px=8))
    np.testing.assert_array_equal(decoded[0], np.full([8, 8, 3], 255))


def test_tall_image_is_shrunk_to_its_short_side() -> None:
    image = np.full([40, 20, 3], 100, np.uint8)
    config = PreprocessingConfig(resize_px=10, crop_px=10)
    decoded = decode([encode(image)], config)
    assert decoded.shape == (1, 10, 10, 3)
    np.testing.assert_allclose(decoded, 100, atol=1e-3)


def test_shrinking_averages_instead_of_skipping() -> None:
    # One-px stripes shrunk to half: without anti-aliasing they would stay 0 or 255.
    image = np.zeros([16, 16, 1], np.uint8)
    image[:, ::2] = 255
    config = PreprocessingConfig(resize_px=8, crop_px=8, channels=1)
    decoded = decode([encode(image[..., 0])], config)
    np.testing.assert_allclose(decoded[0, :, 2:-2], 127.5, atol=32)


def test_crop_takes_the_centre() -> None:
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    config = PreprocessingConfig(resize_px=8, crop_px=4, channels=1)
    np.testing.assert_array_equal(
        decode([encode(image)], config)[0, :, :, 0], image[2:6, 2:6]
    )


def resized_then_cropped(image: np.ndarray, config: PreprocessingConfig) -> np.ndarray:
    """The whole image resized, and its centre: what must come out, in two plain steps."""
    sides = np.array(image.shape[:2], np.float64)
    size = np.rint(sides * config.resize_px / sides.min()).astype(int)
    resized = tf.image.resize(image, size, config.interpolation, antialias=True)
    top, left = (size - config.crop_px) // 2
    crop = resized[top : top + config.crop_px, left : left + config.crop_px]
    return np.clip(crop.numpy(), 0.0, 255.0)


SIZES = (
    (1, 1), (1, 9), (100, 1), (3, 299), (2, 7), (8, 8), (31, 32), (33, 64), (97, 41),
    (224, 224), (225, 224), (350, 500), (499, 333), (1200, 90), (640, 641), (20, 1999),
)  # fmt: skip


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("resize_px", "crop_px"),
    [(1, 1), (2, 1), (5, 5), (8, 3), (32, 32), (37, 28), (224, 224), (256, 223)],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_equals_a_crop_of_the_whole_image_resized(
    channels: int, resize_px: int, crop_px: int, interpolation: str
) -> None:
    config = PreprocessingConfig(
        resize_px, crop_px, channels, interpolation=interpolation
    )
    random = np.random.default_rng(resize_px)
    noise = [
        random.integers(0, 256, [*size, channels]).astype(np.uint8) for size in SIZES
    ]
    encoded = [tf.io.encode_png(image).numpy() for image in noise]
    expected = [resized_then_cropped(image, config) for image in noise]
    # Noise, the hardest case: positions in float32 are off by a millionth of the side.
    np.testing.assert_allclose(decode(encoded, config), expected, atol=0.05)


@pytest.mark.parametrize(("height", "width"), [(1, 101), (301, 3), (16_384, 1)])
def test_a_narrow_image_is_an_invalid_argument(height: int, width: int) -> None:
    config = PreprocessingConfig(resize_px=224, crop_px=224)
    narrow = encode(np.zeros([height, width], np.uint8))
    good = encode(np.zeros([height, -(-height // 100)], np.uint8))
    reason = "one side is more than 100 times the other"
    assert reason in images.check_image(narrow).reason
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        encoded = tf.compat.v1.placeholder(tf.string, [None])
        run = session.make_callable(
            preprocessing.decode_and_crop(encoded, config), [encoded]
        )
        assert run([good]).shape == (1, 224, 224, 3)
        start = time.perf_counter()
        with pytest.raises(tf.errors.InvalidArgumentError, match=reason):
            run([good, narrow])
        # Resizing all of the narrowest one would take a minute.
        assert time.perf_counter() - start < 5


def test_memory_is_bounded_by_the_decoded_image(tmp_path: pathlib.Path) -> None:
    """A few of the shapes that the benchmark goes through, in a process of its own."""
    root = pathlib.Path(__file__).parents[2]
    file = tmp_path / "shapes.json"
    script = [sys.executable, str(root / "benchmarks" / "image_shapes.py")]
    done = subprocess.run(
        [*script, "--shapes", "40", "--json", str(file)],
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shapes = json.loads(file.read_text())["results"]
    assert len(shapes) == 40
    for shape in shapes:
        long, short = (
            max(shape["width"], shape["height"]),
            min(shape["width"], shape["height"]),
        )
        assert shape["is_refused_by_graph"] == (long > 100 * short)
        assert bool(shape["reason"]) == (
            long > 100 * short or long > images.MAX_SIDE_PX
        )


def test_gray_and_colour_share_a_batch() -> None:
    gray = np.full([8, 8], 50, np.uint8)
    colour = np.full([8, 8, 3], 200, np.uint8)
    config = PreprocessingConfig(resize_px=8, crop_px=8)
    decoded = decode([encode(gray), encode(colour, "JPEG")], config)
    np.testing.assert_allclose(decoded[0], 50)
    np.testing.assert_allclose(decoded[1], 200, atol=2)


def test_graph_and_eager_agree() -> None:
    image = np.random.default_rng(3).integers(0, 256, [23, 31, 3]).astype(np.uint8)
    config = PreprocessingConfig(resize_px=12, crop_px=10)
    eager = decode([encode(image)], config)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        in_graph = session.run(
            preprocessing.decode_and_crop(tf.constant([encode(image)]), config)
        )
    np.testing.assert_allclose(in_graph, eager, atol=1e-4)


def test_per_image_gives_zero_mean_and_unit_variance() -> None:
    levels = tf.random.stateless_uniform([3, 8, 8, 3], [1, 2], 0, 255)
    config = PreprocessingConfig(standardise="per_image")
    standard = preprocessing.standardise(levels, config).numpy()
    np.testing.assert_allclose(standard.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(standard.std(axis=(1, 2, 3)), 1, atol=1e-4)


def test_minus_one_to_one_maps_black_and_white() -> None:
    config = PreprocessingConfig(standardise="minus_one_to_one")
    levels = tf.constant([0.0, 127.5, 255.0], shape=[1, 3, 1, 1])
    standard = preprocessing.standardise(levels, config).numpy().ravel()
    np.testing.assert_allclose(standard, [-1, 0, 1])


@pytest.mark.parametrize("channels", [1, 3])
def test_dataset_standardises_by_channel_of_the_analysed_split(
    make_fake, channels: int
) -> None:
    config = PreprocessingConfig(
        resize_px=8, crop_px=8, channels=channels, standardise="dataset"
    )
    fake = make_fake(config)
    pixels = fake.images.reshape(-1, channels).astype(np.float64)
    expected = (fake.images - pixels.mean(axis=0)) / pixels.std(axis=0)
    split = input_pipeline.load_split([fake.pattern], fake.transform, 2**30)
    np.testing.assert_allclose(split.images, expected, atol=1e-4)
    np.testing.assert_array_equal(split.labels, fake.labels)


def test_serving_needs_no_label(make_fake) -> None:
    config = PreprocessingConfig(resize_px=8, crop_px=8)
    fake = make_fake(config)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        transformed = fake.transform.transform_raw_features(
            {features.ENCODED: tf.constant(fake.encoded[:2])}
        )
        decoded = session.run(transformed[features.IMAGE_XF])
    assert decoded.shape == (2, 8, 8, 3)
