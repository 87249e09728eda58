"""Exact measurements of checkpoints on a split."""

import contextlib
import dataclasses

import numpy as np
import tensorflow as tf
import tensorflow.compat.v1 as v1

from trainer import graphs, test_time
from trainer.config import TrainerConfig
from trainer.input_pipeline import Split

# Relative difference of two figures of the same weights, computed in another order.
ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One exact pass over a split.

    Attributes:
      step: updates that the weights have seen.
      weights: 'raw' or 'ema'.
      top_1: share of the images whose most probable class is right.
      cross_entropy: mean of -log(probability of the right class), in nats.
    """

    step: int
    weights: str
    top_1: float
    cross_entropy: float

    def is_better_than(self, other: "Measurement | None") -> bool:
        """Higher top-1; of equal ones the lower cross-entropy, by more than rounding."""
        if other is None or self.top_1 != other.top_1:
            return other is None or self.top_1 > other.top_1
        return self.cross_entropy < other.cross_entropy * (1 - ROUNDING)


class EvalSession(contextlib.AbstractContextManager["EvalSession"]):
    """An inference graph with a session, to measure checkpoints on one split.

    Args:
      split: to measure on.
      norm_by_batch: batch norm takes the statistics of each batch, as in training; for
        comparison with its moving averages only.
      test_time_views: views that `probabilities` averages over; measurements are of the
        images as they are.
    """

    def __init__(
        self,
        config: TrainerConfig,
        split: Split,
        num_classes: int,
        *,
        norm_by_batch: bool = False,
        test_time_views: str = test_time.NONE,
    ):
        self._split = split
        size_px = config.preprocessing.crop_px
        with tf.Graph().as_default() as graph:
            self._images = v1.placeholder(
                tf.float32, [None, size_px, size_px, config.preprocessing.channels]
            )
            self._labels = v1.placeholder(tf.int64, [None])
            inference = graphs.build_inference(
                self._images,
                num_classes,
                config,
                norm_by_batch=norm_by_batch,
                test_time_views=test_time_views,
            )
            self._probabilities = inference.probabilities
            self._savers = inference.savers
            self._right = tf.reduce_sum(
                tf.cast(
                    tf.equal(tf.argmax(inference.logits, axis=1), self._labels),
                    tf.int64,
                )
            )
            self._cross_entropy = tf.reduce_sum(
                tf.nn.sparse_softmax_cross_entropy_with_logits(
                    labels=self._labels, logits=inference.logits
                )
            )
        self._session = v1.Session(graph=graph)

    def __exit__(self, *exception: object) -> None:
        self._session.close()

    def measure(self, checkpoint: str, step: int) -> list[Measurement]:
        """One exact pass with each kind of weights in `checkpoint`."""
        return [self.measure_one(checkpoint, step, weights) for weights in self._savers]

    @property
    def has_batch_norm(self) -> bool:
        """Whether the net normalises anywhere."""
        variables = self._session.graph.get_collection(v1.GraphKeys.MODEL_VARIABLES)
        return any("/moving_mean" in variable.name for variable in variables)

    def probabilities(
        self, checkpoint: str, weights: str, images: np.ndarray
    ) -> np.ndarray:
        """float32 [batch, num_classes] of preprocessed images."""
        self._restore(checkpoint, weights)
        return self._session.run(self._probabilities, {self._images: images})

    def _restore(self, checkpoint: str, weights: str) -> None:
        # A Saver looks at the default graph to tell graph mode from eager mode.
        with self._session.graph.as_default():
            self._savers[weights].restore(self._session, checkpoint)

    def measure_one(self, checkpoint: str, step: int, weights: str) -> Measurement:
        """One exact pass with one kind of weights: 'raw' or 'ema'."""
        self._restore(checkpoint, weights)
        right, cross_entropy = 0, 0.0
        for images, labels in self._split.batches():
            batch_right, batch_cross_entropy = self._session.run(
                [self._right, self._cross_entropy],
                {self._images: images, self._labels: labels},
            )
            right += int(batch_right)
            cross_entropy += float(batch_cross_entropy)
        count = self._split.num_examples
        return Measurement(step, weights, right / count, cross_entropy / count)
