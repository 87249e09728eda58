import numpy as np
import pytest
import tensorflow as tf
from scipy import special

from trainer import losses

v1 = tf.compat.v1

LOGITS = np.random.default_rng(2).normal(size=[5, 3]).astype(np.float32)
LABELS = np.array([0, 2, 1, 1, 0], np.int64)
TARGETS = np.eye(3, dtype=np.float32)[LABELS]


def run(labels, label_smoothing=0.0, class_weights=None):
    with tf.Graph().as_default(), v1.Session() as session:
        loss = losses.cross_entropy(
            tf.constant(labels), tf.constant(LOGITS), label_smoothing, class_weights
        )
        assert v1.losses.get_losses() == [loss]
        return session.run(loss)


def by_hand(targets, weights=1.0):
    return np.mean(weights * -(targets * special.log_softmax(LOGITS, axis=1)).sum(1))


def test_labels_and_their_targets_give_the_same():
    assert run(LABELS) == pytest.approx(by_hand(TARGETS), rel=1e-5)
    assert run(TARGETS) == pytest.approx(run(LABELS), rel=1e-5)


def test_mixed_targets():
    mixed = (0.3 * TARGETS + 0.7 * TARGETS[::-1]).astype(np.float32)
    assert run(mixed) == pytest.approx(by_hand(mixed), rel=1e-5)


@pytest.mark.parametrize("labels", [LABELS, TARGETS])
def test_label_smoothing_by_hand(labels):
    smooth = 0.9 * TARGETS + 0.1 / 3
    assert run(labels, 0.1) == pytest.approx(by_hand(smooth), rel=1e-5)


@pytest.mark.parametrize("labels", [LABELS, TARGETS])
def test_class_weights_by_hand(labels):
    """A mean over the batch, also where a class weighs nothing."""
    weights = np.array([0.5, 0.0, 2.0], np.float32)
    expected = by_hand(TARGETS, weights[LABELS])
    assert run(labels, class_weights=weights) == pytest.approx(expected, rel=1e-5)


def test_the_main_class_of_mixed_targets():
    mixed = tf.constant([[0.2, 0.8, 0.0], [0.6, 0.0, 0.4]])
    assert losses.main_class(mixed).numpy().tolist() == [1, 0]
    assert losses.main_class(tf.constant(LABELS)).numpy().tolist() == LABELS.tolist()
