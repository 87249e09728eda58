"""What training sees of an image, and its hash."""

import hashlib

import numpy as np
import tensorflow as tf

from schema import images, orientation

DIGEST_BYTES = 16


def decode(verdict: images.Verdict) -> np.ndarray:
    """Pixels of an image that was found readable, upright, by the decoder of training.

    Returns:
      uint8 [height, width, channels]: one channel for gray, even where the file holds
      three equal ones; else 3. Alpha is dropped.
    """
    with tf.device("/cpu:0"):
        pixels = tf.io.decode_image(
            verdict.encoded, channels=verdict.channels, expand_animations=False
        ).numpy()
    pixels = orientation.turn(pixels, orientation.read(verdict.encoded))
    is_gray = (pixels == pixels[..., :1]).all()
    return pixels[..., :1] if is_gray else pixels


def digest_of(pixels: np.ndarray) -> bytes:
    """Hash that two images share if and only if size and pixels are equal."""
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=DIGEST_BYTES)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()
