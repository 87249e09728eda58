"""Chooses the devices of a training and places its operations."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
import tensorflow.compat.v1 as v1

from common.errors import ConfigError
from trainer import plan
from trainer.config import TrainConfig

VARIABLES_DEVICE = "/device:CPU:0"
# Operations that hold a variable; the others of a tower are on the tower's device.
VARIABLE_OPERATIONS = ("VarHandleOp", "VariableV2", "Variable", "VarIsInitializedOp")


def choose(train: TrainConfig, gpus: Sequence[Any] | None = None) -> list[str]:
    """Devices of the towers; [''] for a single one that TensorFlow may place.

    Args:
      train: `device`, `devices` and `batch_size`.
      gpus: those of this machine; None asks TensorFlow.

    Raises:
      ConfigError: GPUs are asked for and absent, or the batch cannot be shared equally.
    """
    found = len(tf.config.list_physical_devices("GPU") if gpus is None else gpus)
    wants_gpus = train.device == "gpu" or (train.device == "auto" and found)
    if wants_gpus and found < train.devices:
        raise ConfigError(
            f"setting 'train.devices' asks for {train.devices} GPU"
            f"{'s' if train.devices > 1 else ''}",
            found=f"{found or 'no'} GPU{'' if found == 1 else 's'} on this machine",
            tip=f"--set train.devices={found}" if found else "--set train.device=cpu",
        )
    plan.check_batch(train)
    if train.devices == 1 and train.device == "auto":
        return [""]
    kind = "GPU" if wants_gpus else "CPU"
    return [f"/device:{kind}:{place}" for place in range(train.devices)]


def gpu_details(train: TrainConfig) -> list[dict[str, Any]]:
    """TensorFlow's details of each GPU that the training uses; [] on the CPU."""
    gpus = tf.config.list_physical_devices("GPU")
    used = [] if train.device == "cpu" else gpus[: train.devices]
    return [tf.config.experimental.get_device_details(gpu) for gpu in used]


def configure(config: v1.ConfigProto, names: Sequence[str]) -> v1.ConfigProto:
    """Gives a session as many CPU devices as towers need; returns `config`."""
    cpus = [name for name in names if "CPU" in name]
    if cpus:
        config.device_count["CPU"] = len(cpus)
    if any("GPU" in name for name in names):
        # Operations without a kernel for the GPU run on the CPU.
        config.allow_soft_placement = True
    return config


def place(name: str) -> Callable[[Any], str] | None:
    """For `tf.device`: everything on `name` but the variables, which share one device."""
    if not name:
        return None
    return lambda operation: (
        VARIABLES_DEVICE if operation.type in VARIABLE_OPERATIONS else name
    )
