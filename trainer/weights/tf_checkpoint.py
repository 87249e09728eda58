"""Reads the checkpoints of TensorFlow 1's Saver, as those of tf-slim's published nets.

TensorFlow reads V2 checkpoints (`x.index` and `x.data-...`) and V1 ones (one file). Saved
moving averages replace their variables. Slots of optimizers and scalars such as
`global_step` belong to no net and are left out.
"""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from trainer.weights import checkpoints, tensors
from trainer.weights.tensors import Refused, Tensors

KIND = "a TensorFlow checkpoint"
AVERAGE = "/ExponentialMovingAverage"
AVERAGES_TAKEN = "moving averages of the weights"
# Errors of TensorFlow's reader for a damaged file.
_ERRORS = (
    tf.errors.OpError,
    IndexError,
    KeyError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"


def read(path: pathlib.Path) -> tuple[Tensors, str]:
    """Tensors of a checkpoint by the names of variables, as in 'vgg_16/fc8/weights'.

    Args:
      path: prefix, `.index`, V1 file, or folder of one checkpoint.

    Returns:
      The tensors, and `AVERAGES_TAKEN` where they are moving averages, else ''.

    Raises:
      ConfigError: there is no checkpoint, it is damaged, or it is one of objects, which has
        no names of variables.
    """
    with tensors.refusing(path, KIND):
        checkpoint = locate(path)
    with _reading(str(checkpoint)) as reader:
        size = sum(file.stat().st_size for file in checkpoints.files_of(checkpoint))
        names, has_averages = _choose(reader, size)
        found = {name: reader.get_tensor(source) for name, source in names.items()}
        return found, AVERAGES_TAKEN if has_averages else ""


def values_in(checkpoint: str) -> Tensors:
    """All tensors in a checkpoint by name, slots and averages included.

    Args:
      checkpoint: as for `shapes_in`.

    Raises:
      ConfigError: it is damaged.
    """
    with _reading(checkpoint) as reader:
        names = reader.get_variable_to_shape_map()
        return {name: reader.get_tensor(name) for name in sorted(names)}


def shapes_in(checkpoint: str) -> dict[str, list[int]]:
    """Shapes of all tensors in a checkpoint by name, slots and averages included.

    Args:
      checkpoint: see `trainer.weights.checkpoints.checkpoint_in`.

    Raises:
      ConfigError: it is damaged.
    """
    with _reading(checkpoint) as reader:
        return dict(reader.get_variable_to_shape_map())


@contextlib.contextmanager
def _reading(checkpoint: str) -> Iterator[Any]:
    """A reader of a checkpoint; errors inside become a ConfigError."""
    with tensors.refusing(pathlib.Path(checkpoint), KIND):
        try:
            yield tf.train.load_checkpoint(checkpoint)
        except Refused:
            raise
        except _ERRORS as error:
            message = getattr(error, "message", None) or str(error)
            reason = (message or type(error).__name__).splitlines()[0]
            raise Refused(f"it is damaged ({reason})") from error


def locate(path: pathlib.Path) -> pathlib.Path:
    """The checkpoint at `path`, or the only one in the folder `path`.

    Raises:
      Refused: there is none, or several.
    """
    found = checkpoints.find(path)
    if found is not None:
        return found
    if not path.is_dir():
        raise Refused("there is no checkpoint of that name")
    inside = sorted(
        below.with_name(below.name.removesuffix(checkpoints.INDEX))
        for below in path.glob(f"*{checkpoints.INDEX}")
    )
    inside = inside or [
        below for below in sorted(path.iterdir()) if checkpoints.is_table(below)
    ]
    if len(inside) != 1:
        listed = ", ".join(below.name for below in inside)
        raise Refused(f"the folder holds {listed or 'no checkpoint'}; name one of them")
    return inside[0]


def _choose(reader: Any, size: int) -> tuple[dict[str, str], bool]:
    """Name of the variable -> name of the tensor to take for it."""
    shapes = reader.get_variable_to_shape_map()
    types = reader.get_variable_to_dtype_map()
    if _OBJECTS in shapes:
        raise Refused(
            "it is a checkpoint of objects, which has no names of variables; save the"
            " Keras model as '.h5' instead"
        )
    averaged = {name.removesuffix(AVERAGE) for name in shapes if name.endswith(AVERAGE)}
    chosen = {name: f"{name}{AVERAGE}" for name in averaged}
    for name, shape in shapes.items():
        # The name of a slot is that of its variable and its own.
        is_slot = name.rpartition("/")[0] in shapes or name.endswith(AVERAGE)
        if shape and not is_slot and name not in averaged:
            chosen[name] = name
    if not chosen:
        raise Refused("it holds no variables")
    arrays = [
        (
            tensors.read_type(types[name].name, name),
            tensors.check_shape(shapes[name], name),
        )
        for name in chosen.values()
    ]
    tensors.check_total(arrays, size)
    return dict(sorted(chosen.items())), bool(averaged)
