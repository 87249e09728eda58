"""Muon: the momentum of a kernel is made orthogonal before it becomes an update."""

import tensorflow as tf
import tensorflow.compat.v1 as v1

# Of the quintic polynomial a x + b x^3 + c x^5 that drives singular values into 0.7 to 1.2:
# the steepest at zero, so that few steps suffice.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_EPSILON = 1e-7


class Muon(v1.train.Optimizer):
    """Updates kernels of convolutions and dense layers, in place of gradient descent.

    A kernel is a matrix here, with a row for each output. It is scaled to the norm
    sqrt(outputs), then loses `rate` times its Nesterov momentum, made orthogonal. The size
    of the update does not depend on that of the gradients, and weight decay would have no
    effect.

    Args:
      rate: scalar float32, factor on the orthogonal matrix of an update.
      momentum: in [0, 1).
      steps: of the Newton-Schulz iteration.

    Reference: Jordan et al., 2024, https://kellerjordan.github.io/posts/muon; with the scaled
      kernels of its CIFAR-10 recipe, airbench94_muon in KellerJordan/cifar10-airbench.
    """

    def __init__(self, rate: tf.Tensor, momentum: float, steps: int):
        super().__init__(use_locking=False, name="Muon")
        self._rate = rate
        self._momentum = momentum
        self._steps = steps

    def _create_slots(self, var_list: list[tf.Variable]) -> None:
        for variable in var_list:
            self._zeros_slot(variable, "momentum", self.get_name())

    def _resource_apply_dense(
        self, grad: tf.Tensor, handle: tf.Variable
    ) -> tf.Operation:
        momentum = self.get_slot(handle, "momentum")
        average = self._momentum * momentum + grad
        ahead = grad + self._momentum * average
        outputs = handle.shape[-1]
        # On the device of the net, which need not be that of the variable.
        with v1.colocate_with(grad, ignore_existing=True):
            update = orthogonal(tf.reshape(ahead, [-1, outputs]), self._steps)
        update = tf.reshape(update, handle.shape)
        # A kernel of zeros stays one until this update.
        scale = tf.math.divide_no_nan(outputs**0.5, tf.norm(handle))
        return tf.group(
            momentum.assign(average, read_value=False),
            handle.assign(scale * handle - self._rate * update, read_value=False),
        )


def orthogonal(matrix: tf.Tensor, steps: int) -> tf.Tensor:
    """About the nearest orthogonal matrix to `matrix`, by Newton-Schulz iterations.

    Singular vectors stay, singular values come near 1; zeros stay zero. The transposed matrix
    gives the transposed result.

    Args:
      matrix: float32 [rows, columns], both static.
      steps: iterations; three are enough for training.

    Returns:
      float32 [rows, columns].
    """
    a, b, c = COEFFICIENTS
    rows, columns = matrix.shape
    # The smaller of the two products with itself.
    wide = tf.transpose(matrix) if rows > columns else matrix
    wide /= tf.norm(wide) + _EPSILON
    for _ in range(steps):
        gram = tf.matmul(wide, wide, transpose_b=True)
        wide = a * wide + tf.matmul(b * gram + c * tf.matmul(gram, gram), wide)
    return tf.transpose(wide) if rows > columns else wide
