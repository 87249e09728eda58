"""Begins a training with the weights of another one."""

import dataclasses
import logging
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf
import tensorflow.compat.v1 as v1

from schema.errors import ConfigError
from trainer.weights import checkpoints

_LOGGER = logging.getLogger("slimline.train")


@dataclasses.dataclass(frozen=True)
class Start:
    """Where the variables of a net get their first values.

    Attributes:
      checkpoint: as a Saver takes it; '' initialises all from scratch.
      excluded: rows of the net that are initialised from scratch all the same.
      fingerprint: SHA-256 of what the checkpoint was made from.
      about: name, source, hash and licence of published weights, fit for JSON.
    """

    checkpoint: str = ""
    excluded: tuple[str, ...] = ()
    fingerprint: str = ""
    about: dict[str, Any] | None = None


FROM_SCRATCH = Start()


def initialise(
    variables: Iterable[tf.Variable], path: str, excluded: Sequence[str]
) -> int:
    """Lets `variables` of the default graph begin with the values in a checkpoint.

    A variable keeps its own beginning where it is excluded or where the checkpoint holds
    none of its name and shape, as the logits after a change of classes. The log tells
    which.

    Args:
      variables: of a net, '<net>/<row>/...'.
      path: see `trainer.weights.checkpoints`.
      excluded: rows of the net, as 'logits' or 'group3'.

    Returns:
      How many begin with values of the checkpoint.

    Raises:
      ConfigError: no variable does, so it is another net's.
    """
    checkpoint = checkpoints.checkpoint_in(path)
    shapes = tf.train.load_checkpoint(checkpoint).get_variable_to_shape_map()
    taken, left = {}, []
    for variable in variables:
        name = variable.op.name
        is_fitting = shapes.get(name) == variable.shape.as_list()
        if is_fitting and not is_under(name, excluded):
            taken[name] = variable
        else:
            left.append(name)
    if not taken:
        raise ConfigError(
            f"the weights in {path} are those of another net (train.warm_start)",
            found=", ".join(sorted({name.partition("/")[0] for name in shapes})),
            expected=left[0].partition("/")[0] if left else "",
        )
    v1.train.init_from_checkpoint(checkpoint, taken)
    _LOGGER.info("%d variables begin with the values in %s", len(taken), checkpoint)
    if left:
        _LOGGER.info("these begin anew: %s", ", ".join(left))
    return len(taken)


def is_under(name: str, rows: Sequence[str]) -> bool:
    """Whether the variable '<net>/<row>/...' belongs to one of `rows` or lies below one."""
    _, _, inner = name.partition("/")
    return any(inner == row or inner.startswith(f"{row}/") for row in rows)
