"""The class layer alone, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from trainer import head, sampling


def clouds(count=300, units=12, num_classes=4, seed=0):
    """Points about a centre for each class, so near that classes overlap."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(num_classes, units))
    labels = generator.integers(num_classes, size=count)
    features = centres[labels] + generator.normal(size=(count, units))
    return head.Examples(features.astype(np.float32), labels.astype(np.int64))


def fitted(examples, weight_decay, num_classes=4, **arguments):
    (found,) = head.fit(examples, num_classes, [weight_decay], **arguments)
    return found


@pytest.mark.parametrize("weight_decay", [0.1, 0.001])
@pytest.mark.parametrize("is_balanced", [False, True])
def test_equals_scikit_learn(weight_decay, is_balanced):
    examples = clouds()
    # A rare class, so that balancing matters.
    examples = examples.at(
        np.concatenate(
            [
                np.flatnonzero(examples.labels != 1),
                np.flatnonzero(examples.labels == 1)[:8],
            ]
        )
    )
    # Ours divides features by their root mean square first.
    scale = np.sqrt(np.mean(np.square(examples.features)))
    peer = LogisticRegression(
        C=1 / (weight_decay * len(examples.labels)),
        max_iter=2000,
        tol=1e-8,
        class_weight="balanced" if is_balanced else None,
    ).fit(examples.features / scale, examples.labels)
    weights = sampling.class_weights(examples.labels, 4) if is_balanced else None
    found = fitted(examples, weight_decay, class_weights=weights)
    expected = peer.decision_function(examples.features / scale)
    logits = found.logits(examples.features)
    # Logits are defined up to a number for each example.
    np.testing.assert_allclose(
        logits - logits.mean(1, keepdims=True),
        expected - expected.mean(1, keepdims=True),
        atol=0.02,
    )


def test_the_unit_of_features_does_not_matter():
    examples = clouds()
    larger = head.Examples(examples.features * 1000, examples.labels)
    np.testing.assert_allclose(
        fitted(larger, 0.01).logits(larger.features),
        fitted(examples, 0.01).logits(examples.features),
        atol=0.02,
    )


def test_from_the_largest_weight_decay_to_the_smallest():
    found = list(head.fit(clouds(), 4, [0.001, 1.0, 0.1, 0.1]))
    assert [each.weight_decay for each in found] == [1.0, 0.1, 0.001]
    norms = [np.square(each.weights).sum() for each in found]
    assert norms == sorted(norms)
    losses = [each.loss for each in found]
    assert losses == sorted(losses, reverse=True)


def test_measures_by_hand():
    found = head.Head(np.eye(2, dtype=np.float32), np.zeros(2, np.float32), 0.1, 0.0)
    examples = head.Examples(
        np.log(np.array([[3, 1], [3, 1]], np.float32)), np.array([0, 1])
    )
    top_1, cross_entropy = found.measure(examples)
    assert top_1 == 0.5
    assert cross_entropy == pytest.approx(-(np.log(0.75) + np.log(0.25)) / 2)


def test_label_smoothing_bounds_the_probabilities():
    # One image a class: without smoothing the loss falls as long as weights may grow.
    examples = head.Examples(np.eye(4, dtype=np.float32), np.arange(4))
    found = fitted(examples, 1e-7, label_smoothing=0.2)
    logits = found.logits(examples.features)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.diag(probabilities), 0.85, atol=0.01)


def test_features_that_never_vary_and_classes_without_examples():
    examples = head.Examples(np.zeros([3, 5], np.float32), np.array([0, 1, 0]))
    found = fitted(examples, 0.1, num_classes=3)
    assert np.isfinite(found.weights).all()
    top_1, _ = found.measure(examples)
    assert top_1 == pytest.approx(2 / 3)
