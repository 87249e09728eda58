"""Damaged archives and images: only our own errors, at once."""

import random
import time

import pytest
from PIL import Image

from common.errors import ConfigError, DataError
from components.image_example_gen import layouts
from components.image_example_gen.sources import opening
from schema import images

MANY = pytest.param(2000, marks=pytest.mark.nightly)


def mutate(generator: random.Random, data: bytes) -> bytes:
    """`data` with a few bytes changed, cut out or put in."""
    mutant = bytearray(data)
    for _ in range(generator.randint(1, 6)):
        place = generator.randrange(len(mutant))
        kind = generator.random()
        if kind < 0.7:
            mutant[place] = generator.choice(
                (0, 127, 128, 255, generator.randrange(256))
            )
        elif kind < 0.85 and len(mutant) > 100:
            del mutant[place : place + generator.randrange(1, 40)]
        else:
            mutant[place:place] = generator.randbytes(generator.randrange(1, 20))
    return bytes(mutant)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.xz", ".tar.bz2", ".zip"])
@pytest.mark.parametrize("count", [100, MANY])
def test_archives(fakes, tmp_path, suffix, count):
    folder = fakes.class_folders(tmp_path / "pets", per_class=2)
    data = fakes.pack(folder, tmp_path / f"pets{suffix}").read_bytes()
    generator = random.Random(suffix)
    path = tmp_path / "mutant"
    refused = 0
    for _ in range(count):
        path.write_bytes(mutate(generator, data))
        start = time.monotonic()
        try:
            plan = layouts.plan(str(path))
            for unit in plan.units:
                for _ in plan.read(unit):
                    pass
        except (ConfigError, DataError):  # a changed name can be a question
            refused += 1
        assert time.monotonic() - start < 2
    assert refused > count // 10


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".bmp", ".webp"])
@pytest.mark.parametrize("count", [100, MANY])
def test_images(fakes, tmp_path, suffix, count):
    folder = fakes.class_folders(tmp_path, ("cat",), 1, suffix=suffix, size_px=16)
    data = (folder / "cat" / f"image_0001{suffix}").read_bytes()
    generator = random.Random(suffix)
    for _ in range(count):
        verdict = images.check_image(mutate(generator, data))
        if not verdict.reason:
            assert verdict.format in ("jpeg", "png")
            assert 0 < verdict.height * verdict.width <= images.MAX_PIXELS


def test_zip_of_an_unknown_version(fakes, tmp_path):
    path = fakes.pack(fakes.class_folders(tmp_path / "pets"), tmp_path / "pets.zip")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 6] = 200
    path.write_bytes(data)
    with pytest.raises(DataError, match="is not a zip archive"):
        list(opening.open_source(path).names())


def test_folder_with_odd_names(tmp_path):
    (tmp_path / "cat\n").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "cat\n" / "a.png")
    with pytest.raises(DataError, match="control characters"):
        list(opening.open_source(tmp_path).names())
