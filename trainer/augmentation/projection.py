"""Images through affine matrices, in one interpolation."""

import tensorflow as tf


def project(
    images: tf.Tensor,
    rows: list[tf.Tensor],
    fill_mode: str,
    size_px: tuple[int, int] | None = None,
) -> tf.Tensor:
    """Each image through a matrix of its own, bilinear.

    Args:
      rows: two rows of three, float32 [batch, 1] each: from column, row and 1 of a px in
        the result to column and row of its source.
      fill_mode: 'CONSTANT', zero outside the image, or 'NEAREST', the nearest px.
      size_px: height and width of the result; those of the images by default.
    """
    size_px = size_px or tuple(images.shape[1:3])
    last_row = [tf.zeros_like(rows[0]), tf.zeros_like(rows[0])]
    projected = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.concat([*rows, *last_row], axis=1),
        output_shape=tf.constant(size_px, tf.int32),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode=fill_mode,
    )
    return tf.ensure_shape(projected, [images.shape[0], *size_px, images.shape[3]])
