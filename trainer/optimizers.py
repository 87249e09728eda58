"""Rules that turn gradients into updates, and what is done to gradients before."""

import collections
from collections.abc import Collection, Mapping, Sequence

import tensorflow as tf
import tensorflow.compat.v1 as v1
import tf_slim as slim

from schema.errors import ConfigError
from trainer import layers, variable_groups, warm_start
from trainer.config import TrainConfig

GradientsAndVariables = Sequence[tuple[tf.Tensor, tf.Variable]]


def total_loss(train: TrainConfig) -> tf.Tensor:
    """All losses of the default graph; scalar float32.

    With decoupled decay the L2 losses stay out: the weights decay by themselves.
    """
    factors = _decay_factors(train)
    regularised = v1.get_collection(layers.DECAYED)
    is_decoupled = _is_decoupled(train)
    if not is_decoupled and factors == {each.op.name: 1.0 for each in regularised}:
        return v1.losses.get_total_loss()
    loss = v1.losses.get_total_loss(add_regularization_losses=False)
    if is_decoupled or not factors:
        return loss
    return loss + train.weight_decay * tf.add_n(
        [
            factors[variable.op.name] * tf.nn.l2_loss(variable)
            for variable in slim.get_model_variables()
            if variable.op.name in factors
        ]
    )


def train_op(
    loss: tf.Tensor,
    train: TrainConfig,
    rate: tf.Tensor,
    global_step: tf.Variable,
    *,
    is_loss_scaled: bool = False,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The update of all trainable variables and of batch norm's moving statistics.

    Args:
      loss: scalar.
      train: optimizer, momentum, clip_norm, weight_decay, and the factors of groups.
      rate: scalar, learning rate of this update.
      global_step: counted up by one.
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
        if not warm_start.is_under(variable.op.name, train.freeze)
    ]
    if not trained:
        raise ConfigError(
            "setting 'train.freeze' leaves nothing to train",
            found=", ".join(train.freeze),
        )
    optimizer = _by_group(train, rate, trained)
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


def _by_group(
    train: TrainConfig, rate: tf.Tensor, trained: Sequence[tf.Variable]
) -> v1.train.Optimizer:
    factors = variable_groups.rate_factors(
        [variable.op.name for variable in v1.trainable_variables()],
        _first_row(),
        train,
    )
    is_alike = all(factors[variable.op.name] == 1 for variable in trained)
    if is_alike and not _is_decoupled(train):
        return make(train, rate)
    return _GroupOptimizer(train, rate, factors, _decay_factors(train))


def _is_decoupled(train: TrainConfig) -> bool:
    return train.decoupled_decay or train.optimizer == "adamw"


def _first_row() -> str:
    return variable_groups.row_of(slim.get_model_variables()[0].op.name)


def _decay_factors(train: TrainConfig) -> dict[str, float]:
    """Factor on the weight decay of each variable of the default graph that decays."""
    if not train.weight_decay:
        return {}
    return variable_groups.decay_factors(
        [variable.op.name for variable in v1.trainable_variables()],
        {variable.op.name for variable in v1.get_collection(layers.DECAYED)},
        _first_row(),
        train,
    )


class _GroupOptimizer(v1.train.Optimizer):
    """An optimizer for each factor on the learning rate, behind one.

    With decoupled decay the weights decay here, so that whoever leaves an update out leaves
    their decay out as well.

    Args:
      train: as for `make`.
      rate: scalar, before its factors.
      factors: on the rate, by the name of a variable.
      decays: factors on the weight decay, by the name of a variable.
    """

    def __init__(
        self,
        train: TrainConfig,
        rate: tf.Tensor,
        factors: Mapping[str, float],
        decays: Mapping[str, float],
    ):
        super().__init__(use_locking=False, name="RateFactor")
        self._train = train
        self._rate = rate
        self._factors = factors
        self._decays = decays

    def apply_gradients(
        self,
        grads_and_vars: GradientsAndVariables,
        global_step: tf.Variable | None = None,
        name: str | None = None,
    ) -> tf.Operation:
        """See base class."""
        if _is_decoupled(self._train) and self._train.weight_decay:
            values, variables = zip(*grads_and_vars, strict=True)
            shares = {
                name: self._factors[name] * factor
                for name, factor in self._decays.items()
            }
            decay = self._train.weight_decay * self._rate
            decayed = _after_decay(values, variables, decay, shares)
            grads_and_vars = list(zip(decayed, variables, strict=True))
        groups = collections.defaultdict(list)
        for gradient, variable in grads_and_vars:
            groups[self._factors[variable.op.name]].append((gradient, variable))
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
    variables: Sequence[tf.Variable],
    decay: tf.Tensor,
    shares: Mapping[str, float],
) -> list[tf.Tensor]:
    """`values`, not before the weights have decayed.

    Of a variable in `shares`, by its name, `decay` times its share is taken off.

    Once the gradients are known nothing reads the weights any more in this step, so the
    decay and the update add up.

    Reference: Loshchilov and Hutter, arXiv:1711.05101, algorithms 1 and 2; the schedule
      multiplies the decay by way of the rate, as in PyTorch and Keras.
    """
    with tf.control_dependencies(values):
        decays = [
            variable.assign_sub(
                decay * shares[variable.op.name] * variable, read_value=False
            )
            for variable in variables
            if variable.op.name in shares
        ]
    with tf.control_dependencies(decays):
        return [tf.identity(value) for value in values]
