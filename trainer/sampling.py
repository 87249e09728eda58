"""Classes of unlike size: how often an image is drawn, and how much it counts."""

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
    """Weight of each class, float32 [num_classes], 1 on the average over all images.

    A class counts as much as any other, as scikit-learn's 'balanced' has it. Classes
    without images get weight 0.

    Args:
      labels: int64 [num_examples].
    """
    counts = np.bincount(labels, minlength=num_classes)
    share = len(labels) / np.count_nonzero(counts)
    return np.where(counts, share / np.maximum(counts, 1), 0).astype(np.float32)


def balanced_repeats(labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """How often each image comes in an epoch in which the classes come equally often.

    A class of n images gets len(labels) / classes draws, shared among its images as
    evenly as whole numbers allow; which of them come once more follows from the seed and
    the epoch.

    Args:
      labels: int64 [num_examples].
      seed: of the training.
      epoch: from 0.

    Returns:
      int64 [num_examples]; the sum is len(labels) up to one a class.
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
