"""Balances classes of different sizes, by the draws of an image or by its weight."""

import numpy as np

from common.errors import ConfigError
from trainer.config import TrainConfig


def check(train: TrainConfig) -> None:
    """Refuses balancing twice.

    Raises:
      ConfigError: classes are to be balanced by sampling and by weights.
    """
    if train.balanced_sampling and train.class_weights != "none":
        raise ConfigError(
            "classes are balanced twice, by sampling and by weights",
            found="train.balanced_sampling true, train.class_weights"
            f" {train.class_weights}",
            expected="one of the two",
            tip="--set train.class_weights=none",
        )


def class_weights(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Weight of each class, float32 [num_classes], 1 on average over all images.

    All classes have the same total weight, as with scikit-learn's 'balanced'. Classes without
    images have weight 0.

    Args:
      labels: int64 [num_examples].
    """
    counts = np.bincount(labels, minlength=num_classes)
    share = len(labels) / np.count_nonzero(counts)
    return np.where(counts, share / np.maximum(counts, 1), 0).astype(np.float32)


def balanced_repeats(labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Passes over each image in an epoch that draws all classes equally often.

    Each class has len(labels) / classes draws, spread evenly over its images up to rounding;
    seed and epoch decide which of them come once more.

    Args:
      labels: int64 [num_examples].
      seed: of the training.
      epoch: from 0.

    Returns:
      int64 [num_examples]; the sum is len(labels), up to one for each class.
    """
    random = np.random.default_rng([seed, epoch])
    repeats = np.zeros(len(labels), np.int64)
    classes = np.unique(labels)
    for label in classes:
        members = random.permutation(np.flatnonzero(labels == label))
        draws = round(len(labels) / len(classes))
        whole, rest = divmod(draws, len(members))
        repeats[members] = whole
        repeats[members[:rest]] += 1
    return repeats
