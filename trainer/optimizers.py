"""Rules that turn gradients into updates, and what is done to gradients before."""

import collections
from collections.abc import Collection, Mapping, Sequence

import tensorflow as tf
import tensorflow.compat.v1 as v1
import tf_slim as slim

from schema.errors import ConfigError
from trainer import layers, warm_start
from trainer.config import TrainConfig

GradientsAndVariables = Sequence[tuple[tf.Tensor, tf.Variable]]


def total_loss(train: TrainConfig) -> tf.Tensor:
    """All losses of the default graph; scalar float32.

    With adamw the L2 losses stay out: the weights decay by themselves.
    """
    return v1.losses.get_total_loss(
        add_regularization_losses=train.optimizer != "adamw"
    )


def train_op(
    loss: tf.Tensor,
    train: TrainConfig,
    rate: tf.Tensor,
    global_step: tf.Variable,
    *,
    factors: Mapping[str, float] = {},
    fixed: Collection[str] = (),
    is_loss_scaled: bool = False,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The update of all trainable variables and of batch norm's moving statistics.

    Args:
      loss: scalar.
      train: optimizer, momentum, clip_norm, weight_decay.
      rate: scalar, learning rate of this update.
      global_step: counted up by one.
      factors: on the rate, by the name of a variable; 1 for those that are not in it.
      fixed: names of variables that are not trained, beside those under `train.freeze`.
      is_loss_scaled: gradients are computed of the loss times a large factor, which
        float16 needs; an update whose gradients overflow is left out.

    Returns:
      The op, whose value is the loss before the update; and the global norm of the
      gradients before they are clipped, scalar float32.
    """
    norms: list[tf.Tensor] = []

    def transform(gradients: GradientsAndVariables) -> GradientsAndVariables:
        values, variables = zip(*gradients, strict=True)
        norm = tf.linalg.global_norm(values)
        norms.append(norm)
        if train.histograms:
            for value, variable in zip(values, variables, strict=True):
                v1.summary.histogram(f"gradients/{variable.op.name}", value)
        if train.clip_norm:
            values = tuple(tf.clip_by_global_norm(values, train.clip_norm, norm)[0])
        return list(zip(values, variables, strict=True))

    trained = [
        variable
        for variable in v1.trainable_variables()
        if variable.op.name not in fixed
        and not warm_start.is_under(variable.op.name, train.freeze)
    ]
    if not trained:
        raise ConfigError(
            "setting 'train.freeze' leaves nothing to train",
            found=", ".join(train.freeze),
        )
    optimizer = _by_factor(train, rate, factors)
    if is_loss_scaled:
        optimizer = _LossScaleOptimizer(
            optimizer, v1.mixed_precision.DynamicLossScale()
        )
    # Adds the updates of UPDATE_OPS as control dependencies of the gradients.
    update = slim.training.create_train_op(
        loss,
        optimizer,
        global_step=global_step,
        variables_to_train=trained,
        colocate_gradients_with_ops=True,  # each tower's on its device
        check_numerics=False,
        transform_grads_fn=transform,
    )
    return update, norms[0]


def make(train: TrainConfig, rate: tf.Tensor) -> v1.train.Optimizer:
    """The optimizer that `train.optimizer` names."""
    if train.optimizer in ("adam", "adamw"):
        return v1.train.AdamOptimizer(rate)
    if train.optimizer == "rmsprop":
        return v1.train.RMSPropOptimizer(rate, momentum=train.momentum)
    if train.optimizer == "gradient_descent":
        return v1.train.GradientDescentOptimizer(rate)
    return v1.train.MomentumOptimizer(
        rate, train.momentum, use_nesterov=train.optimizer == "nesterov"
    )


def rate_factors(names: Sequence[str], layer_rate_decay: float) -> dict[str, float]:
    """Factor on the learning rate of each variable of a net, by its name.

    The class layer learns at the full rate, the row in front of it at `layer_rate_decay`
    times that, the one before at its square, and so on. Only rows with variables count, and
    rows with one name before the slash, as 'group3/unit1' and 'group3/unit2', as one.

    Args:
      names: of trainable variables, '<net>/<row>/...', in the order of their rows.
      layer_rate_decay: in (0, 1].

    Reference: Howard and Ruder, arXiv:1801.06146, section 3.2 (discriminative fine-tuning).
    """
    row_of = {name: name.split("/")[1] for name in names}
    rows = list(dict.fromkeys(row_of.values()))
    return {
        name: layer_rate_decay ** (len(rows) - 1 - rows.index(row))
        for name, row in row_of.items()
    }


def _by_factor(
    train: TrainConfig, rate: tf.Tensor, factors: Mapping[str, float]
) -> v1.train.Optimizer:
    if train.optimizer != "adamw" and all(value == 1 for value in factors.values()):
        return make(train, rate)
    return _RateFactorOptimizer(train, rate, factors)


class _RateFactorOptimizer(v1.train.Optimizer):
    """An optimizer for each factor on the learning rate, behind one.

    With adamw the weights decay here, so that whoever leaves an update out leaves their
    decay out as well.
    """

    def __init__(
        self, train: TrainConfig, rate: tf.Tensor, factors: Mapping[str, float]
    ):
        super().__init__(use_locking=False, name="RateFactor")
        self._train = train
        self._rate = rate
        self._factors = factors

    def apply_gradients(
        self,
        grads_and_vars: GradientsAndVariables,
        global_step: tf.Variable | None = None,
        name: str | None = None,
    ) -> tf.Operation:
        """See base class."""
        if self._train.optimizer == "adamw" and self._train.weight_decay:
            values, variables = zip(*grads_and_vars, strict=True)
            share = self._train.weight_decay * self._rate
            names = {variable.name for variable in variables}
            decayed = _after_decay(values, share, names, self._factors)
            grads_and_vars = list(zip(decayed, variables, strict=True))
        groups = collections.defaultdict(list)
        for gradient, variable in grads_and_vars:
            factor = self._factors.get(variable.op.name, 1.0)
            groups[factor].append((gradient, variable))
        updates = [
            make(self._train, self._rate * factor).apply_gradients(group)
            for factor, group in sorted(groups.items())
        ]
        with tf.control_dependencies(updates):
            if global_step is None:
                return tf.no_op(name)
            return global_step.assign_add(1, name=name)


class _LossScaleOptimizer(v1.mixed_precision.MixedPrecisionLossScaleOptimizer):
    """TensorFlow's, but an update that is left out counts as a step all the same.

    What follows from the number of the step (rate, augmentation, measurements) must not
    wait for it.

    Reference: Micikevicius et al., arXiv:1710.03740, section 3.2.
    """

    def apply_gradients(
        self,
        grads_and_vars: GradientsAndVariables,
        global_step: tf.Variable | None = None,
        name: str | None = None,
    ) -> tf.Operation:
        """See base class."""
        update = super().apply_gradients(grads_and_vars, None, name)
        if global_step is None:
            return update
        with tf.control_dependencies([update]):
            return global_step.assign_add(1)


def _after_decay(
    values: Sequence[tf.Tensor],
    share: tf.Tensor,
    trained: Collection[str],
    factors: Mapping[str, float],
) -> list[tf.Tensor]:
    """`values`, not before the decayed weights have lost `share` of themselves.

    Of a variable in `factors` the share is multiplied by its factor.

    Once the gradients are known nothing reads the weights any more in this step, so the
    decay and the update add up.

    Reference: Loshchilov and Hutter, arXiv:1711.05101, algorithm 2.
    """
    with tf.control_dependencies(values):
        decays = [
            variable.assign_sub(
                share * factors.get(variable.op.name, 1.0) * variable, read_value=False
            )
            for variable in v1.get_collection(layers.DECAYED)
            if variable.name in trained
        ]
    with tf.control_dependencies(decays):
        return [tf.identity(value) for value in values]
