"""Test-time augmentation: views of an image whose logits a served model averages."""

import tensorflow as tf

NONE = "none"
MIRROR_SHIFT = "mirror_shift"


def weighted_views(images: tf.Tensor, kind: str) -> tuple[list[tf.Tensor], list[float]]:
    """Views of each image, and the weights of their logits, which sum to 1.

    Args:
      images: float32 [batch, height, width, channels].
      kind: 'none', the image alone; 'mirror', the image and its left-right mirror image
        with equal weights; 'mirror_shift', these two with half of the weight, and with the
        other half the same two shifted by one px, once down and right, once up and left.
        Borders are reflected at the edge px.

    Returns:
      Views of the shape of `images`, the image as it is first.

    Reference: Jordan, arXiv:2404.00498, section 3.5.
    """
    views, weights = [images], [1.0]
    if kind == MIRROR_SHIFT:
        height_px, width_px = images.shape[1:3]
        bordered = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="REFLECT")
        views += [bordered[:, :height_px, :width_px], bordered[:, 2:, 2:]]
        weights = [0.5, 0.25, 0.25]
    if kind == NONE:
        return views, weights
    mirrored = [tf.reverse(view, axis=[2]) for view in views]
    return views + mirrored, [weight / 2 for weight in weights * 2]
