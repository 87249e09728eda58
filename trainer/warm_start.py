"""Starts a training from existing weights."""

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
from trainer.nets.geometry import is_row_of
from trainer.weights import checkpoints, tf_checkpoint

_LOGGER = logging.getLogger("slimline.train")
_SHOWN = 4
Shapes = Mapping[str, Sequence[int]]


@dataclasses.dataclass(frozen=True)
class Start:
    """Source of the first values of a net's variables.

    Attributes:
      checkpoint: as a Saver takes it; '' initialises all from scratch.
      excluded: layers that are initialised from scratch all the same.
      is_partial: whether the checkpoint may lack others.
      is_logged: whether the log lists the restored variables.
      fingerprint: SHA-256 of the files that the checkpoint was made from.
      about: manifest of published weights, fit for JSON.
    """

    checkpoint: str = ""
    excluded: tuple[str, ...] = ()
    is_partial: bool = False
    is_logged: bool = True
    fingerprint: str = ""
    about: dict[str, Any] | None = None


FROM_SCRATCH = Start()


def start_of(train: TrainConfig) -> Start:
    """The start that `train.weights` and the settings beside it ask for.

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
    """Initialises `variables` of the default graph with the values in a checkpoint.

    Excluded layers are initialised from scratch, and with `start.is_partial` also variables
    that the checkpoint lacks by name and shape. The log lists them.

    Args:
      variables: of a net, '<net>/<row>/...'.
      start: with a checkpoint.

    Returns:
      Number of restored variables.

    Raises:
      ConfigError: as for `check`.
    """
    by_name = {variable.op.name: variable for variable in variables}
    shapes = _shapes_of(by_name.values())
    restored = _choose(shapes, start)
    v1.train.init_from_checkpoint(
        start.checkpoint, {name: by_name[name] for name in restored}
    )
    if not start.is_logged:
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
    """Compares the net with the checkpoint of `train.weights`, before a run.

    Args:
      config: with a `train.weights` that names a checkpoint.
      num_classes: of the dataset; None where it is unknown, which leaves the class layer out
        of the comparison. So do class names beside the weights, by which the layer is
        rearranged (`class_rows`).

    Raises:
      ConfigError: there is no checkpoint, it cannot be read, or it lacks variables of layers
        that are not excluded, by name and shape; with `train.weights_partial`, it lacks all.
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
    """Whether the variable '<net>/<row>/...' belongs to one of `rows` or is below one."""
    return is_row_of(name.partition("/")[2], rows)


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
