import numpy as np
import pytest
from PIL import Image


class Pictures:
    """Makes pictures that cleanvision finds nothing wrong with, and spoils them."""

    def __init__(self):
        self._random = np.random.default_rng(0)

    def make(self, size_px=64):
        """A colour picture of shapes and noise, unlike all others."""
        coarse = self._random.integers(0, 256, (8, 8, 3)).astype(np.uint8)
        image = Image.fromarray(coarse).resize(
            (size_px, size_px), Image.Resampling.NEAREST
        )
        noise = self._random.integers(-12, 13, (size_px, size_px, 3))
        return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype("u1"))

    def darken(self, image):
        return image.point(lambda level: level // 16)

    def lighten(self, image):
        return image.point(lambda level: 248 + level // 32)

    def blurry(self):
        """A ramp: no edge, and no level more frequent than others."""
        row = np.arange(64)
        levels = row[None, :] * 3 + row[:, None] % 3
        levels = np.stack([levels, levels, levels // 2], axis=-1)
        return Image.fromarray(levels.astype(np.uint8))

    def gray(self, image):
        return image.convert("L")

    def nearly(self, image):
        """The same to the eye, with other pixels."""
        pixels = np.asarray(image).copy()
        pixels[0, 0] ^= 1
        return Image.fromarray(pixels)

    def plain(self, size_px=64):
        return Image.new("RGB", (size_px, size_px), (90, 120, 150))


@pytest.fixture
def pictures():
    return Pictures()


@pytest.fixture
def save():
    """Saves a picture below folders that are made."""

    def write(image, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        return path

    return write
