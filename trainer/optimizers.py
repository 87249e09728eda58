"""Optimizers: what happens to gradients, and how they update the weights."""

import collections
import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence

import tensorflow as tf
import tensorflow.compat.v1 as v1
import tf_slim as slim

from common.errors import ConfigError
from trainer import (
    layers,
    loss_scaling,
    microbatches,
    muon,
    variable_groups,
    warm_start,
)
from trainer.config import TrainConfig

GradientsAndVariables = Sequence[tuple[tf.Tensor, tf.Variable]]


@dataclasses.dataclass(frozen=True)
class Update:
    """An update of all trained variables and of batch norm's moving statistics.

    Attributes:
      op: runs it; its value is the loss before the update.
      loss: scalar float32, mean of the microbatches.
      gradient_norm: scalar float32, global norm of the gradients before they are clipped.
      is_applied: scalar bool, whether the gradients were finite; None where updates are
        never skipped.
    """

    op: tf.Tensor
    loss: tf.Tensor
    gradient_norm: tf.Tensor
    is_applied: tf.Tensor | None = None


def total_loss(train: TrainConfig) -> tf.Tensor:
    """All losses of the default graph; scalar float32.

    Decoupled decay replaces the L2 losses.
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
    later: Sequence[Callable[[], tf.Tensor]] = (),
    fixed: Collection[str] = (),
    is_loss_scaled: bool = False,
) -> Update:
    """The update by the gradients of a batch, or by their mean over microbatches.

    Args:
      loss: scalar; of the first microbatch where there are `later` ones.
      train: optimizer, momentum, clip_norm, weight_decay, and the factors of groups.
      rate: scalar, learning rate of this update.
      global_step: counted up by one.
      later: build the losses of the further microbatches.
      fixed: names of variables that are not trained, besides those of `train.freeze`.
      is_loss_scaled: the loss is multiplied by a large factor before its gradients, which
        float16 needs; an update whose gradients overflow is skipped.

    Raises:
      ConfigError: nothing is trained.
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
    optimizer = _by_group(train, rate, trained)
    scale = loss_scaling.LossScale() if is_loss_scaled else None
    if scale:
        optimizer = loss_scaling.LossScaleOptimizer(optimizer, scale)
    losses = [loss]
    if later:
        optimizer, losses = microbatches.accumulate(optimizer, trained, loss, later)
    # Adds the updates of UPDATE_OPS as control dependencies of the gradients.
    op = slim.training.create_train_op(
        losses[-1],
        optimizer,
        global_step=global_step,
        variables_to_train=trained,
        colocate_gradients_with_ops=True,  # each tower's on its device
        check_numerics=False,
        transform_grads_fn=transform,
    )
    if later:
        loss = tf.add_n(losses) / len(losses)
        with tf.control_dependencies([op]):
            op = tf.identity(loss)
    return Update(op, loss, norms[0], scale.is_applied if scale else None)


def make(
    train: TrainConfig, rate: tf.Tensor, has_muon: bool = False
) -> v1.train.Optimizer:
    """The optimizer of `train.optimizer`; of muon that for kernels only with `has_muon`."""
    if has_muon:
        return muon.Muon(rate, train.muon_momentum, train.muon_steps)
    if train.optimizer in ("adam", "adamw"):
        return v1.train.AdamOptimizer(rate)
    if train.optimizer == "rmsprop":
        return v1.train.RMSPropOptimizer(rate, momentum=train.momentum)
    if train.optimizer == "gradient_descent":
        return v1.train.GradientDescentOptimizer(rate)
    return v1.train.MomentumOptimizer(
        rate, train.momentum, use_nesterov=train.optimizer in ("nesterov", "muon")
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
    if is_alike and not _is_decoupled(train) and train.optimizer != "muon":
        return make(train, rate)
    return _GroupOptimizer(train, rate, factors, _decay_factors(train))


def _is_decoupled(train: TrainConfig) -> bool:
    return train.decoupled_decay or train.optimizer == "adamw"


def _has_muon(train: TrainConfig, variable: tf.Variable) -> bool:
    return train.optimizer == "muon" and variable_groups.is_kernel(
        variable.op.name, variable.shape.rank
    )


def _first_row() -> str:
    return variable_groups.row_of(slim.get_model_variables()[0].op.name)


def _decay_factors(train: TrainConfig) -> dict[str, float]:
    """Factor on the weight decay of each variable of the default graph that decays."""
    if not train.weight_decay:
        return {}
    return variable_groups.decay_factors(
        [
            variable.op.name
            for variable in v1.trainable_variables()
            # Their norm is fixed.
            if not _has_muon(train, variable)
        ],
        {variable.op.name for variable in v1.get_collection(layers.DECAYED)},
        _first_row(),
        train,
    )


class _GroupOptimizer(v1.train.Optimizer):
    """One optimizer in front of one for each rule and each factor on the learning rate.

    Decoupled decay happens here, so that a skipped update also skips the decay.

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
            factor = self._factors[variable.op.name]
            groups[_has_muon(self._train, variable), factor].append(
                (gradient, variable)
            )
        updates = [
            make(self._train, self._rate * factor, has_muon).apply_gradients(group)
            for (has_muon, factor), group in sorted(groups.items())
        ]
        with tf.control_dependencies(updates):
            if global_step is None:
                return tf.no_op(name)
            return global_step.assign_add(1, name=name)


def _after_decay(
    values: Sequence[tf.Tensor],
    variables: Sequence[tf.Variable],
    decay: tf.Tensor,
    shares: Mapping[str, float],
) -> list[tf.Tensor]:
    """`values`, after each variable in `shares` has decayed by `decay` times its share.

    Once the gradients are known, nothing else reads the weights in this step, so decay and
    update add up.

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
