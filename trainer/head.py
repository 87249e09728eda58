"""Fits the class layer alone, on features of a frozen net.

This is multinomial logistic regression: convex, and solved in seconds by L-BFGS on all
features at once.
"""

import dataclasses
import logging
from collections.abc import Iterator, Sequence

import numpy as np
from scipy import optimize

_LOGGER = logging.getLogger("slimline.train")

# Enough, because each fit starts from the one before it.
MAX_ITERATIONS = 100
# Smallest root mean square of the features.
MIN_SCALE = 1e-6


@dataclasses.dataclass(frozen=True)
class Examples:
    """Features and labels to fit or measure a class layer.

    Attributes:
      features: float32 [n, units].
      labels: int64 [n].
    """

    features: np.ndarray
    labels: np.ndarray

    def at(self, places: np.ndarray) -> "Examples":
        """The examples at `places`."""
        return Examples(self.features[places], self.labels[places])


def joined(parts: Sequence[Examples]) -> Examples:
    """All examples of `parts`, in their order."""
    if len(parts) == 1:
        return parts[0]
    return Examples(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )


@dataclasses.dataclass(frozen=True)
class Head:
    """A fitted class layer.

    Attributes:
      weights: float32 [units, num_classes].
      biases: float32 [num_classes].
      weight_decay: L2 factor that it was fitted with.
      loss: mean cross-entropy on the examples it was fitted on, in nats.
    """

    weights: np.ndarray
    biases: np.ndarray
    weight_decay: float
    loss: float

    def logits(self, features: np.ndarray) -> np.ndarray:
        """float32 [n, num_classes]."""
        return features @ self.weights + self.biases

    def measure(self, examples: Examples) -> tuple[float, float]:
        """Top-1 and mean cross-entropy in nats."""
        log_probabilities = _log_softmax(self.logits(examples.features))
        right = log_probabilities.argmax(axis=1) == examples.labels
        chosen = np.take_along_axis(log_probabilities, examples.labels[:, None], axis=1)
        return float(right.mean()), float(-chosen.mean())


def fit(
    examples: Examples,
    num_classes: int,
    weight_decays: Sequence[float],
    *,
    class_weights: np.ndarray | None = None,
    label_smoothing: float = 0.0,
) -> Iterator[Head]:
    """A class layer for each weight decay, the largest first.

    Minimises the mean cross-entropy plus `weight_decay / 2` times the sum of the squared
    weights. Internally features are divided by their root mean square, so that a weight
    decay has the same effect for every net. Each fit starts from the one before it.

    Args:
      examples: to fit on.
      weight_decays: L2 factors.
      class_weights: weight of an example of each class, float32 [num_classes]; None for
        equal ones.
      label_smoothing: share of each target that is spread evenly over all classes.
    """
    scale = max(float(np.sqrt(np.mean(np.square(examples.features)))), MIN_SCALE)
    features, units = examples.features, examples.features.shape[1]
    unit = np.float32(1 / scale)
    targets = np.full(
        [len(features), num_classes], label_smoothing / num_classes, np.float32
    )
    targets[np.arange(len(features)), examples.labels] += 1 - label_smoothing
    shares = np.ones(len(features), np.float32)
    if class_weights is not None:
        shares = class_weights[examples.labels].astype(np.float32)
    shares = (shares / shares.sum())[:, None]

    def loss(parameters: np.ndarray, weight_decay: float) -> tuple[float, np.ndarray]:
        weights, biases = _unpack(parameters, units, num_classes)
        # Scaled weights in place of scaled features, which would be a copy.
        log_probabilities = _log_softmax(features @ (unit * weights) + biases)
        value = -float((shares * targets * log_probabilities).sum(dtype=np.float64))
        error = shares * (np.exp(log_probabilities) - targets)
        gradient = unit * (features.T @ error) + np.float32(weight_decay) * weights
        penalty = float(np.square(weights, dtype=np.float64).sum()) * weight_decay / 2
        flat = np.concatenate([gradient.ravel(), error.sum(axis=0)])
        return value + penalty, flat.astype(np.float64)

    parameters = np.zeros(units * num_classes + num_classes)
    for weight_decay in sorted(set(weight_decays), reverse=True):
        found = optimize.minimize(
            loss,
            parameters,
            (weight_decay,),
            "L-BFGS-B",
            jac=True,
            options={"maxiter": MAX_ITERATIONS},
        )
        parameters = found.x
        weights, biases = _unpack(parameters, units, num_classes)
        penalty = float(np.square(weights, dtype=np.float64).sum()) * weight_decay / 2
        yield Head(unit * weights, biases, weight_decay, found.fun - penalty)


def cross_validate(
    examples: Examples,
    num_classes: int,
    weight_decay: float,
    folds: int,
    *,
    class_weights: np.ndarray | None = None,
    label_smoothing: float = 0.0,
) -> int:
    """Number of examples that a class layer fitted without them classifies correctly.

    Args:
      examples: each fold has an equal share of every class, up to rounding.
      weight_decay: L2 factor.
      folds: at least 2, at most one for each example.
      num_classes, class_weights, label_smoothing: as for `fit`.
    """
    by_class = np.argsort(examples.labels, kind="stable")
    fold_of = np.empty(len(by_class), np.int64)
    fold_of[by_class] = np.arange(len(by_class)) % folds
    hits = 0
    for fold in range(folds):
        (fitted,) = fit(
            examples.at(np.flatnonzero(fold_of != fold)),
            num_classes,
            [weight_decay],
            class_weights=class_weights,
            label_smoothing=label_smoothing,
        )
        held_out = examples.at(np.flatnonzero(fold_of == fold))
        right = fitted.logits(held_out.features).argmax(axis=1) == held_out.labels
        hits += int(right.sum())
    return hits


def _unpack(
    parameters: np.ndarray, units: int, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    split = units * num_classes
    weights = parameters[:split].reshape(units, num_classes).astype(np.float32)
    return weights, parameters[split:].astype(np.float32)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
