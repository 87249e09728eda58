"""The verdict on files agrees with TensorFlow's decoders, however the files are damaged.

All 5,000 files: SLIMLINE_MUTANTS=5000 pytest -s tests/schema/test_decoder_agreement.py
"""

import io
import os
import random
import struct
import zlib
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, PngImagePlugin

from schema import image_header, images

MUTANTS = int(os.environ.get("SLIMLINE_MUTANTS", "600"))
SIZE = (31, 24)


def picture() -> Image.Image:
    noise = np.random.default_rng(1).normal(0, 9, (SIZE[1], SIZE[0], 3))
    levels = np.clip(np.cumsum(noise, axis=1) + 128, 0, 255)
    return Image.fromarray(levels.astype(np.uint8))


def encode(kind: str, mode: str = "RGB", **options) -> bytes:
    image = picture()
    if mode == "LA":
        image = image.convert("L")
    file = io.BytesIO()
    image.convert(mode).save(file, kind, **options)
    return file.getvalue()


def originals() -> list[bytes]:
    found = [
        encode("JPEG", mode, progressive=is_progressive, **options)
        for mode in ("RGB", "L", "CMYK")
        for is_progressive in (False, True)
        for options in (
            {},
            {"restart_marker_blocks": 2},
            {"exif": b"Exif\0\0" + b"x" * 40},
        )
    ]
    for mode in ("RGB", "L", "P", "RGBA", "LA", "1", "I;16"):
        found.append(encode("PNG", mode))
        text = PngImagePlugin.PngInfo()
        text.add_text("comment", "a word " * 9, zip=True)
        found.append(encode("PNG", mode, pnginfo=text, dpi=(72, 72), gamma=0.45))
    found += [encode("GIF", mode) for mode in ("RGB", "L", "1")]
    found.append(
        encode("GIF", save_all=True, append_images=[Image.new("RGB", SIZE, "red")])
    )
    found += [encode("BMP", mode) for mode in ("RGB", "RGBA")]
    return found


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, place = [], len(image_header.PNG_SIGNATURE)
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        found.append(
            (data[place + 4 : place + 8], data[place + 8 : place + 8 + length])
        )
        place += 12 + length
    return found


def pack(found: list[tuple[bytes, bytes]], generator: random.Random) -> bytes:
    """PNG of chunks, some of them with a wrong checksum."""
    data = image_header.PNG_SIGNATURE
    for name, content in found:
        checksum = zlib.crc32(name + content)
        is_optional = name[:1].islower()
        if generator.random() < (0.3 if is_optional else 0.03):
            checksum ^= 1
        data += struct.pack(">I", len(content)) + name + content
        data += struct.pack(">I", checksum)
    return data


def change_bytes(data: bytes, generator: random.Random) -> bytes:
    mutant = bytearray(data)
    for _ in range(generator.randint(1, 4)):
        # Headers are the first bytes; evenly spread changes would hardly meet them.
        end = len(mutant) if generator.random() < 0.6 else min(len(mutant), 200)
        place, kind = generator.randrange(end), generator.random()
        if kind < 0.7:
            mutant[place] = generator.choice((0, 127, 255, generator.randrange(256)))
        elif kind < 0.8:
            del mutant[place : place + generator.randrange(1, 40)]
        elif kind < 0.9:
            mutant[place:place] = generator.randbytes(generator.randrange(1, 20))
        elif len(mutant) > 40:
            del mutant[generator.randrange(len(mutant) // 2, len(mutant)) :]
    return bytes(mutant)


def change_chunks(data: bytes, generator: random.Random) -> bytes:
    """PNG with chunks changed, moved, doubled, left out or added, checksums mostly right."""
    found = chunks(data)
    place = generator.randrange(len(found))
    name, content = found[place]
    kind = generator.randrange(6)
    if kind == 0 and content:
        changed = bytearray(content)
        changed[generator.randrange(len(changed))] = generator.randrange(256)
        found[place] = (name, bytes(changed))
    elif kind == 1:
        found.insert(generator.randrange(1, len(found) + 1), found[place])
    elif kind == 2:
        found.pop(place)
    elif kind == 3:
        # More text than Pillow takes, once packed and once not.
        text = b"word\0" + generator.choice(
            (b"", b"\0" + zlib.compress(bytes(3 << 20)))
        )
        long = text if len(text) > 9 else text + bytes(2 << 20)
        added = (b"zTXt" if long is text else b"tEXt", long)
        found.insert(generator.randrange(1, len(found)), added)
    elif kind == 4:
        names = (b"pHYs", b"iCCP", b"gAMA", b"sRGB", b"tRNS", b"eXIf", b"quIz", b"QUIZ")
        added = (generator.choice(names), generator.randbytes(generator.randrange(20)))
        found.insert(generator.randrange(1, len(found)), added)
    return pack(found, generator)


def mutants() -> list[bytes]:
    generator = random.Random(20)
    files = originals()
    found = []
    for number in range(MUTANTS):
        data = files[number % len(files)]
        is_png = image_header.kind_of(data) == image_header.PNG
        change = change_chunks if is_png and generator.random() < 0.7 else change_bytes
        found.append(change(data, generator))
    return found


def is_decoded(data: bytes) -> bool:
    """Whether the operation of the served graph decodes the bytes."""
    try:
        tf.io.decode_image(data, channels=3, expand_animations=False)
    except tf.errors.OpError:
        return False
    return True


def is_for_tensorflow(data: bytes) -> bool:
    """Whether TensorFlow is the one to say: not of BMP of fewer colours, nor of a WebP."""
    kind = image_header.kind_of(data)
    return kind in ("JPEG", "PNG", "GIF") or (
        kind == "BMP" and image_header.is_true_colour_bmp(data)
    )


def test_the_verdict_agrees_with_tensorflow():
    counts: Counter[str] = Counter()
    for number, data in enumerate(mutants()):
        verdict = images.check_image(data)
        # Limits of size are no matter of the decoder, which would unpack any.
        if " at most " in verdict.reason or not is_for_tensorflow(data):
            counts["not for the decoder"] += 1
            continue
        expected = is_decoded(data)
        kind = image_header.kind_of(data)
        counts[f"{kind} {'decoded' if expected else 'refused'}"] += 1
        assert (not verdict.reason) == expected, (number, kind, verdict.reason)
        if expected:
            assert is_decoded(verdict.encoded)
        header = images.read_header(data)
        if expected and kind in images.KEPT:
            assert (header.height, header.width) == (verdict.height, verdict.width)
            shape = tf.io.decode_image(data, channels=verdict.channels).shape
            assert tuple(shape) == (verdict.height, verdict.width, verdict.channels)
    print(f"\n{MUTANTS:,} mutated files, 0 differences: {dict(sorted(counts.items()))}")
    for kind in ("JPEG", "PNG", "GIF", "BMP"):
        assert min(counts[f"{kind} decoded"], counts[f"{kind} refused"]) > 0


def test_the_originals_are_read():
    for data in originals():
        assert images.check_image(data).reason == ""


@pytest.mark.parametrize("name", [b"tEXt", b"zTXt", b"iCCP"])
def test_a_large_optional_chunk_of_a_png_is_let_be(name):
    content = b"word\0" + (
        bytes(2 << 20) if name == b"tEXt" else b"\0" + zlib.compress(bytes(2 << 20))
    )
    ihdr, *rest = chunks(encode("PNG"))
    data = pack([ihdr, (name, content), *rest], random.Random(2))
    assert is_decoded(data)
    assert images.check_image(data) == images.Verdict("", data, "png", 24, 31, 3)
    assert images.check_header(data) == images.check_image(data)
