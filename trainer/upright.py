"""Reads the Exif orientation in the graph, by the rule of `schema.orientation`.

The operations work on all images of a batch together: an image without Exif data takes one
or two microseconds. A loop over images would take as long as decoding small ones.
"""

import tensorflow as tf

from schema import image_header, orientation

_HEAD_BYTES = 10  # of a segment or chunk, enough to recognise Exif data
_BIG_ENDIAN_WEIGHTS = (1 << 24, 1 << 16, 1 << 8, 1)


def read(encoded: tf.Tensor) -> tf.Tensor:
    """Orientation of each encoded image.

    Args:
      encoded: string [batch].

    Returns:
      int64 [batch], 1 to 8.
    """
    start, end = _find_exif(encoded)
    return tf.cond(
        tf.reduce_any(end > start),
        lambda: _read_tag(encoded, start, end),
        lambda: tf.ones_like(start),
    )


def _read_tag(encoded: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    """Orientation in the Exif data between `start` and `end` of each image."""
    header = _bytes_at(encoded, start, end, 8)
    is_little = _equals(header[:, :4], orientation.LITTLE_ENDIAN)
    is_known = is_little | _equals(header[:, :4], orientation.BIG_ENDIAN)
    directory = start + _number(header[:, 4:], is_little)
    count = _number(_bytes_at(encoded, directory, end, 2), is_little)
    count = tf.minimum(count, orientation.MAX_ENTRIES)
    first = directory + 2
    last = tf.minimum(end, first + orientation.ENTRY_BYTES * count)

    def step(
        place: tf.Tensor, is_open: tf.Tensor, found: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        entry = _bytes_at(encoded, place, end, orientation.ENTRY_BYTES)
        is_tag = tf.equal(_number(entry[:, :2], is_little), orientation.TAG)
        value = _number(entry[:, 8:10], is_little)
        is_valid = (
            tf.equal(_number(entry[:, 2:4], is_little), orientation.SHORT)
            & tf.equal(_number(entry[:, 4:8], is_little), 1)
            & (value >= 1)
            & (value <= len(orientation.TURNS))
        )
        found = tf.where(is_open & is_tag & is_valid, value, found)
        place += orientation.ENTRY_BYTES
        is_open &= ~is_tag & (place + orientation.ENTRY_BYTES <= last)
        return place, is_open, found

    *_, found = tf.while_loop(
        lambda place, is_open, found: tf.reduce_any(is_open),
        step,
        (
            first,
            is_known & (first + orientation.ENTRY_BYTES <= last),
            tf.ones_like(start),
        ),
    )
    return found


def turns(found: tf.Tensor) -> tf.Tensor:
    """The `orientation.Turn` of each orientation, bool [batch, 3]."""
    return tf.gather(tf.constant(orientation.TURNS), found - 1)


def turn(images: tf.Tensor, turns: tf.Tensor) -> tf.Tensor:
    """Upright images.

    Args:
      images: [batch, side, side, channels].
      turns: bool [batch, 3], an `orientation.Turn` each.
    """

    def turned() -> tf.Tensor:
        flips_rows, flips_columns, is_transposed = tf.unstack(
            turns[:, :, tf.newaxis, tf.newaxis, tf.newaxis], axis=1
        )
        found = tf.where(flips_rows, tf.reverse(images, [1]), images)
        found = tf.where(flips_columns, tf.reverse(found, [2]), found)
        return tf.where(is_transposed, tf.transpose(found, [0, 2, 1, 3]), found)

    return tf.cond(tf.reduce_any(turns), turned, lambda: images)


def _find_exif(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Start and end of the Exif data of each image, int64 [batch]; equal where it has none."""
    end_of_image = tf.cast(tf.strings.length(encoded), tf.int64)
    zeros = tf.zeros_like(end_of_image)
    is_jpeg = _starts_with(encoded, image_header.JPEG_SIGNATURE)
    is_png = _starts_with(encoded, image_header.PNG_SIGNATURE)
    first = tf.where(is_png, zeros + 8, zeros + 2)
    before_exif = tf.where(is_png, zeros + 8, zeros + 10)
    checksum = tf.where(is_png, zeros + 4, zeros)

    def step(
        place: tf.Tensor, is_open: tf.Tensor, start: tf.Tensor, end: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        head = _bytes_at(encoded, place, end_of_image, _HEAD_BYTES)
        marker, name = head[:, 1], head[:, 4:8]
        is_exif = tf.where(
            is_png,
            _equals(name, orientation.PNG_EXIF),
            tf.equal(marker, 0xE1) & _equals(head[:, 4:], orientation.EXIF_HEADER),
        )
        is_skipped = tf.where(
            is_png,
            ~_equals(name, orientation.PNG_PIXELS),
            ((marker >= 0xE0) & (marker <= 0xEF)) | tf.equal(marker, 0xFE),
        )
        is_skipped &= is_png | tf.equal(head[:, 0], 0xFF)
        length = tf.where(is_png, 8 + _number(head[:, :4]), 2 + _number(head[:, 2:4]))
        is_found = is_open & is_skipped & is_exif
        after = tf.minimum(place + length, end_of_image)
        start = tf.where(is_found, place + before_exif, start)
        end = tf.where(is_found, after, end)
        place = after + checksum
        is_open &= is_skipped & ~is_exif & (place + 4 <= end_of_image)
        return place, is_open, start, end

    *_, start, end = tf.while_loop(
        lambda place, is_open, start, end: tf.reduce_any(is_open),
        step,
        (first, is_jpeg | is_png, zeros, zeros),
        maximum_iterations=orientation.MAX_SEGMENTS,
    )
    return start, end


def _bytes_at(
    encoded: tf.Tensor, place: tf.Tensor, end: tf.Tensor, count: int
) -> tf.Tensor:
    """Bytes of each image from `place` on, int64 [batch, count]; zeros from `end` on."""
    place = tf.minimum(place, end)
    part = tf.strings.substr(encoded, place, tf.minimum(end - place, count))
    padded = tf.strings.substr(tf.strings.join([part, b"\0" * count]), 0, count)
    values = tf.reshape(tf.io.decode_raw(padded, tf.uint8), [-1, count])
    values.set_shape([encoded.shape[0], count])
    return tf.cast(values, tf.int64)


def _starts_with(encoded: tf.Tensor, signature: bytes) -> tf.Tensor:
    return tf.equal(tf.strings.substr(encoded, 0, len(signature)), signature)


def _equals(values: tf.Tensor, expected: bytes) -> tf.Tensor:
    return tf.reduce_all(tf.equal(values, list(expected)), axis=1)


def _number(values: tf.Tensor, is_little: tf.Tensor | None = None) -> tf.Tensor:
    """Unsigned number in bytes [batch, count]; big-endian by default."""
    of_bytes = _BIG_ENDIAN_WEIGHTS[-values.shape[1] :]
    weights = tf.constant(of_bytes, tf.int64)
    if is_little is not None:
        # Turned round here: Grappler gives up on a graph that turns four numbers round.
        turned = tf.constant(of_bytes[::-1], tf.int64)
        weights = tf.where(is_little[:, tf.newaxis], turned, weights)
    return tf.reduce_sum(values * weights, axis=1)
