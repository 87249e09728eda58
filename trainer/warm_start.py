"""Starts a training from the weights of another one."""

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf
import tensorflow.compat.v1 as v1

from common.errors import ConfigError
from trainer import class_rows
from trainer.config import TrainConfig, TrainerConfig
from trainer.nets import builder, variants
from trainer.nets.blocks import CLASS_LAYER
from trainer.weights import checkpoints, tf_checkpoint

_LOGGER = logging.getLogger("slimline.train")
_SHOWN = 4
Shapes = Mapping[str, Sequence[int]]


@dataclasses.dataclass(frozen=True)
class Start:
    """Where the variables of a net get their first values.

    Attributes:
      checkpoint: as a Saver takes it; '' initialises all from scratch.
      excluded: layers that are initialised from scratch all the same.
      is_partial: whether the checkpoint may lack others.
      is_told: whether the log says which were restored.
      fingerprint: SHA-256 of what the checkpoint was made from.
      about: name, source, hash and licence of published weights, fit for JSON.
    """

    checkpoint: str = ""
    excluded: tuple[str, ...] = ()
    is_partial: bool = False
    is_told: bool = True
    fingerprint: str = ""
    about: dict[str, Any] | None = None


FROM_SCRATCH = Start()


def start_of(train: TrainConfig) -> Start:
    """What `train.weights` and its companions mean.

    Raises:
      ConfigError: there is no such checkpoint.
    """
    if not train.weights:
        return FROM_SCRATCH
    return Start(
        checkpoints.checkpoint_in(train.weights),
        train.weights_exclude,
        train.weights_partial,
    )


def initialise(variables: Iterable[tf.Variable], start: Start) -> int:
    """Lets `variables` of the default graph start with the values in a checkpoint.

    Excluded layers are initialised from scratch, and where `start.is_partial` also what the
    checkpoint does not hold by name and shape. The log says which.

    Args:
      variables: of a net, '<net>/<row>/...'.
      start: with a checkpoint.

    Returns:
      How many are restored.

    Raises:
      ConfigError: as for `check`.
    """
    by_name = {variable.op.name: variable for variable in variables}
    shapes = _shapes_of(by_name.values())
    restored = _choose(shapes, start)
    v1.train.init_from_checkpoint(
        start.checkpoint, {name: by_name[name] for name in restored}
    )
    if not start.is_told:
        return len(restored)
    _LOGGER.info(
        "restored %d of %d variables from %s",
        len(restored),
        len(shapes),
        start.checkpoint,
    )
    fresh = [name for name in shapes if name not in restored]
    if fresh:
        _LOGGER.info("initialised from scratch: %s", ", ".join(fresh))
    return len(restored)


def check(config: TrainerConfig, num_classes: int | None = None) -> None:
    """Compares the net with the checkpoint that it is to start from, before a run.

    Args:
      config: with a `train.weights` that names a checkpoint.
      num_classes: of the dataset; None where it is not known yet, which leaves the class
        layer out of the comparison, as do class names beside the weights: by these the
        layer is rearranged (`class_rows`).

    Raises:
      ConfigError: there is no checkpoint, it cannot be read, or it does not hold all
        variables of the net but those of excluded layers, by name and shape;
        with `train.weights_partial`, it holds none.
    """
    start = start_of(config.train)
    if num_classes is None or class_rows.labels_of(config.train.weights):
        excluded = (*start.excluded, CLASS_LAYER)
        start = dataclasses.replace(start, excluded=excluded)
    variables = builder.variables(
        variants.spec_of(config.model),
        num_classes or 2,
        config.image_size_px,
        config.preprocessing.channels,
    )
    _choose(_shapes_of(variables), start)


def is_under(name: str, rows: Sequence[str]) -> bool:
    """Whether the variable '<net>/<row>/...' belongs to one of `rows` or lies below one."""
    _, _, inner = name.partition("/")
    return any(inner == row or inner.startswith(f"{row}/") for row in rows)


def _shapes_of(variables: Iterable[tf.Variable]) -> Shapes:
    return {variable.op.name: variable.shape.as_list() for variable in variables}


def _choose(shapes: Shapes, start: Start) -> list[str]:
    """Names of the variables to restore."""
    there = tf_checkpoint.shapes_in(start.checkpoint)
    wanted = [name for name in shapes if not is_under(name, start.excluded)]
    fitting = [name for name in wanted if there.get(name) == list(shapes[name])]
    if len(fitting) < len(wanted) and not (start.is_partial and fitting):
        raise _misfit(shapes, there, wanted, fitting, start.checkpoint)
    return fitting


def _misfit(
    shapes: Shapes,
    there: Shapes,
    wanted: Sequence[str],
    fitting: Sequence[str],
    path: str,
) -> ConfigError:
    if not fitting:
        return ConfigError(
            f"the weights in {path} are those of another net (train.weights)",
            found=", ".join(sorted({name.partition("/")[0] for name in there})),
            expected=wanted[0].partition("/")[0],
        )
    misfits = [name for name in wanted if name not in fitting]
    if all(
        is_under(name, [CLASS_LAYER])
        and list(there.get(name, ()))[:-1] == shapes[name][:-1]
        for name in misfits
    ):
        return ConfigError(
            f"the weights in {path} are for another number of classes (train.weights)",
            found=f"{there[misfits[0]][-1]} classes",
            expected=f"{shapes[misfits[0]][-1]}",
            tip="--set 'train.weights_exclude=[logits]' initialises the class layer from"
            " scratch",
        )
    listed = ", ".join(
        f"{name} (has shape {there[name]}, not {list(shapes[name])})"
        if name in there
        else f"{name} (missing)"
        for name in misfits[:_SHOWN]
    )
    return ConfigError(
        f"the weights in {path} fit {len(fitting)} of the {len(wanted)} variables to"
        " restore (train.weights)",
        found=listed + (", ..." if len(misfits) > _SHOWN else ""),
        tip="train.weights_exclude names layers to initialise from scratch;"
        " train.weights_partial=true restores what fits",
    )
