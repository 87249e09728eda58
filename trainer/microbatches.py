"""Splits a batch into microbatches, whose mean gradient is that of the batch."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
import tensorflow.compat.v1 as v1


def split(
    images: tf.Tensor, labels: tf.Tensor, count: int
) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """A batch in `count` equal parts, in its order."""
    if count == 1:
        return [(images, labels)]
    parts = (tf.split(batch, count) for batch in (images, labels))
    return list(zip(*parts, strict=True))


def accumulate(
    optimizer: v1.train.Optimizer,
    variables: Sequence[tf.Variable],
    loss: tf.Tensor,
    later: Sequence[Callable[[], tf.Tensor]],
) -> tuple[v1.train.Optimizer, list[tf.Tensor]]:
    """Adds up the gradients of all microbatches but the last.

    A microbatch starts after the gradients of the earlier ones, whose memory is then free.
    Batch norm's updates of each come before its gradients.

    Args:
      optimizer: computes and applies gradients.
      variables: to train.
      loss: scalar, of the first microbatch.
      later: build the losses of the further ones.

    Returns:
      An optimizer that computes the gradients of the last loss and applies the mean of all;
      and the losses in their order.
    """
    losses = [loss]
    sums: list[tf.Tensor] = []
    for build in later:
        losses[-1] = _after_update_ops(losses[-1])
        found = optimizer.compute_gradients(
            losses[-1], variables, colocate_gradients_with_ops=True
        )
        gradients = [gradient for gradient, _ in found]
        sums = list(map(tf.add, sums, gradients)) if sums else gradients
        with tf.control_dependencies([losses[-1], *sums]):
            losses.append(build())
    return _MeanOptimizer(optimizer, sums, len(losses)), losses


class _MeanOptimizer(v1.train.Optimizer):
    """An optimizer that takes the mean of gradients over microbatches.

    Args:
      optimizer: what it stands in front of.
      sums: of the gradients of all microbatches but the last, in the order of variables.
      count: of the microbatches.
    """

    def __init__(
        self, optimizer: v1.train.Optimizer, sums: Sequence[tf.Tensor], count: int
    ):
        super().__init__(use_locking=False, name="Mean")
        self._optimizer = optimizer
        self._sums = sums
        self._count = count

    def compute_gradients(
        self, *arguments: Any, **settings: Any
    ) -> list[tuple[tf.Tensor, tf.Variable]]:
        """See base class."""
        last = self._optimizer.compute_gradients(*arguments, **settings)
        return [
            ((earlier + gradient) / self._count, variable)
            for earlier, (gradient, variable) in zip(self._sums, last, strict=True)
        ]

    def apply_gradients(self, *arguments: Any, **settings: Any) -> tf.Operation:
        """See base class."""
        return self._optimizer.apply_gradients(*arguments, **settings)


def _after_update_ops(loss: tf.Tensor) -> tf.Tensor:
    """`loss`, not before what is in `UPDATE_OPS`, which is taken out of there."""
    graph = v1.get_default_graph()
    with tf.control_dependencies(graph.get_collection(v1.GraphKeys.UPDATE_OPS)):
        loss = tf.identity(loss)
    graph.clear_collection(v1.GraphKeys.UPDATE_OPS)
    return loss
