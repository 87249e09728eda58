"""Volumes, processors, memory and GPUs of a compiled pipeline's containers."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2

from schema.errors import ConfigError

TRAIN = "train"
GPU_RESOURCE = "nvidia.com/gpu"
_EXECUTOR_SUFFIX = "_executor"
_CPU = re.compile(r"\d+(\.\d+)?|\d+m")
_MEMORY = re.compile(r"\d+(\.\d+)?(E|P|T|G|M|K|Ei|Pi|Ti|Gi|Mi|Ki)?")


@dataclasses.dataclass(frozen=True)
class KubernetesSettings:
    """Kubernetes settings of the containers.

    Attributes:
      volumes: mount path -> name of a persistent volume claim, for every component.
      cpu: component -> processors, as '4' or '500m'.
      memory: component -> bytes, as '8Gi'.
      gpus: for the Trainer.
    """

    volumes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cpu: Mapping[str, str] = dataclasses.field(default_factory=dict)
    memory: Mapping[str, str] = dataclasses.field(default_factory=dict)
    gpus: int = 0


def set_resources(spec: dict[str, Any], settings: KubernetesSettings) -> None:
    """Writes processors, memory and GPUs into the containers of a pipeline spec.

    Raises:
      ConfigError: a component that the pipeline does not have, or a quantity that is none.
    """
    for kind, wanted, pattern, example in (
        ("cpu", settings.cpu, _CPU, "4 or 500m"),
        ("memory", settings.memory, _MEMORY, "8Gi"),
    ):
        for component, quantity in wanted.items():
            if not pattern.fullmatch(quantity):
                raise ConfigError(
                    f"{kind} of '{component}' is no quantity of Kubernetes",
                    found=quantity,
                    expected=example,
                )
            resources = _container(spec, component).setdefault("resources", {})
            name = kind.capitalize()
            resources[f"resource{name}Request"] = quantity
            resources[f"resource{name}Limit"] = quantity
    if settings.gpus:
        _container(spec, TRAIN).setdefault("resources", {})["accelerator"] = {
            "resourceType": GPU_RESOURCE,
            "resourceCount": str(settings.gpus),
            # Read by backends before 2.4.
            "type": GPU_RESOURCE,
            "count": str(settings.gpus),
        }


def platform_spec(
    spec: Mapping[str, Any], settings: KubernetesSettings
) -> dict[str, Any]:
    """The second document of the file, which mounts the volumes; {} without volumes."""
    if not settings.volumes:
        return {}
    config = kubernetes_executor_config_pb2.KubernetesExecutorConfig()
    for mount_path, claim in sorted(settings.volumes.items()):
        mount = config.pvc_mount.add(mount_path=mount_path, constant=claim)
        mount.pvc_name_parameter.runtime_value.constant.string_value = claim
    executors = {
        label: json_format.MessageToDict(config)
        for label in spec["deploymentSpec"]["executors"]
    }
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}


def _container(spec: Mapping[str, Any], component: str) -> dict[str, Any]:
    executors = spec["deploymentSpec"]["executors"]
    label = f"{component}{_EXECUTOR_SUFFIX}"
    if label not in executors:
        known = sorted(name.removesuffix(_EXECUTOR_SUFFIX) for name in executors)
        raise ConfigError(
            f"the pipeline has no component '{component}'",
            expected=f"one of {', '.join(known)}",
        )
    return executors[label]["container"]
