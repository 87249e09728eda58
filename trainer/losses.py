"""The loss on a batch of labels or of mixed targets."""

import numpy as np
import tensorflow as tf
import tensorflow.compat.v1 as v1


def cross_entropy(
    labels: tf.Tensor,
    logits: tf.Tensor,
    label_smoothing: float = 0.0,
    class_weights: np.ndarray | None = None,
) -> tf.Tensor:
    """Mean cross-entropy of the batch, put into the collection of losses.

    Args:
      labels: int64 [batch], or targets, float32 [batch, num_classes], rows of sum 1.
      logits: float32 [batch, num_classes].
      label_smoothing: share of each target that is spread evenly over all classes
        (Szegedy et al., arXiv:1512.00567, section 7).
      class_weights: float32 [num_classes], weight of an image of each class; mixed images
        have a mean weight. None for equal ones.

    Returns:
      Scalar float32.
    """
    is_sparse = labels.dtype.is_integer
    if is_sparse and not label_smoothing and class_weights is None:
        return v1.losses.sparse_softmax_cross_entropy(labels, logits)
    targets = tf.one_hot(labels, logits.shape[1]) if is_sparse else labels
    weights = 1.0 if class_weights is None else tf.linalg.matvec(targets, class_weights)
    return v1.losses.softmax_cross_entropy(
        targets,
        logits,
        weights,
        label_smoothing,
        reduction=v1.losses.Reduction.SUM_OVER_BATCH_SIZE,
    )


def main_class(labels: tf.Tensor) -> tf.Tensor:
    """Class of each label, or the largest class of each target; int64 [batch]."""
    return labels if labels.dtype.is_integer else tf.argmax(labels, axis=1)
