"""The class layer of a trained model, rearranged for a training with other classes."""

import logging
import pathlib
from collections.abc import Sequence

import numpy as np

from common.errors import ConfigError
from pushed_models import class_names
from trainer import checkpoints
from trainer.nets.blocks import CLASS_LAYER
from trainer.weights import tf_checkpoint

_LOGGER = logging.getLogger("slimline.train")


def labels_of(weights: str) -> tuple[str, ...]:
    """Class names of the model of `train.weights`, in label order; () where unknown."""
    try:
        return class_names.of_model(pathlib.Path(weights))
    except (OSError, UnicodeDecodeError):
        return ()


def write(
    target: str, checkpoint: str, before: Sequence[str], labels: Sequence[str]
) -> None:
    """Writes a checkpoint whose class layer is that of another one, matched by class name.

    Classes in both keep their weights, whatever their numbers; new classes start with
    weights and bias 0. The log says how many were kept, and which were not.

    Args:
      target: path of the new checkpoint, without its ending.
      checkpoint: as a Saver takes it.
      before: class names in the label order of `checkpoint`.
      labels: class names in the label order of `target`.

    Raises:
      ConfigError: `checkpoint` is damaged, or its class layer is not one for `before`.
    """
    values = tf_checkpoint.values_in(checkpoint)
    rows = [name for name in values if name.split("/")[1:2] == [CLASS_LAYER]]
    for name in rows:
        if values[name].shape[-1] != len(before):
            raise ConfigError(
                f"the weights in {checkpoint} do not fit the class names beside them"
                " (train.weights)",
                found=f"{name} of shape {list(values[name].shape)}",
                expected=f"{len(before)} classes",
            )
    checkpoints.write_values(
        target, values | {name: _by_name(values[name], before, labels) for name in rows}
    )
    _tell(before, labels)


def _by_name(
    values: np.ndarray, before: Sequence[str], labels: Sequence[str]
) -> np.ndarray:
    """[..., len(labels)] of [..., len(before)]."""
    numbers = {name: number for number, name in enumerate(before)}
    kept = [name in numbers for name in labels]
    found = np.zeros([*values.shape[:-1], len(labels)], values.dtype)
    found[..., kept] = values[
        ..., [numbers[name] for name in labels if name in numbers]
    ]
    return found


def _tell(before: Sequence[str], labels: Sequence[str]) -> None:
    kept = set(before) & set(labels)
    texts = [f"kept {len(kept)} of {len(before)} class rows by name"]
    for title, names in (("initialised from scratch", labels), ("dropped", before)):
        if changed := [name for name in names if name not in kept]:
            texts.append(f"{title}: {class_names.listed(changed)}")
    _LOGGER.info("; ".join(texts))
