"""Loss scaling, without which gradients in float16 would vanish."""

from collections.abc import Sequence

import tensorflow as tf
import tensorflow.compat.v1 as v1


class LossScale(v1.mixed_precision.DynamicLossScale):
    """TensorFlow's; `is_applied` is false for a skipped update."""

    is_applied: tf.Tensor | None = None

    def update(self, grads: Sequence[tf.Tensor]) -> tuple[tf.Operation, tf.Tensor]:
        """See base class."""
        update, self.is_applied = super().update(grads)
        return update, self.is_applied


class LossScaleOptimizer(v1.mixed_precision.MixedPrecisionLossScaleOptimizer):
    """TensorFlow's, but a skipped update counts as a step.

    Rate, augmentation and measurements depend on the number of the step.

    Reference: Micikevicius et al., arXiv:1710.03740, section 3.2.
    """

    def apply_gradients(
        self,
        grads_and_vars: Sequence[tuple[tf.Tensor, tf.Variable]],
        global_step: tf.Variable | None = None,
        name: str | None = None,
    ) -> tf.Operation:
        """See base class."""
        update = super().apply_gradients(grads_and_vars, None, name)
        if global_step is None:
            return update
        with tf.control_dependencies([update]):
            return global_step.assign_add(1)
