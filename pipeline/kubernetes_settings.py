"""Volumes, processors, memory and GPUs of a compiled pipeline's containers."""

import dataclasses
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2

from pipeline import kubeflow_slots
from schema.errors import ConfigError

TRAIN = "train"
KUBEFLOW_SCHEMA = "2.1.0"
GPU_RESOURCE = "nvidia.com/gpu"
_EXECUTOR_SUFFIX = "_executor"
_CPU = re.compile(r"\d+(\.\d+)?|\d+m")
_MEMORY = re.compile(r"\d+(\.\d+)?(E|P|T|G|M|K|Ei|Pi|Ti|Gi|Mi|Ki)?")
_CLAIM = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


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

    def mounts(self, path: str) -> bool:
        """Whether `path` lies on one of the volumes."""
        place = pathlib.PurePosixPath(path)
        return any(place.is_relative_to(mount) for mount in self.volumes)


def from_text(
    volumes: Sequence[str] = (),
    cpu: Sequence[str] = (),
    memory: Sequence[str] = (),
    gpus: int = 0,
) -> KubernetesSettings:
    """Settings as a person types them.

    Args:
      volumes: CLAIM:MOUNT_PATH each, as 'images:/slimline'.
      cpu: COMPONENT=QUANTITY each, as 'train=4'.
      memory: COMPONENT=QUANTITY each, as 'train=8Gi'.
      gpus: for the Trainer.

    Raises:
      ConfigError: one that is not of this form, or a path or component with two values.
    """
    return KubernetesSettings(
        volumes=_without_conflicts("--volume", _volumes(volumes)),
        cpu=_without_conflicts("--cpu", _quantities("--cpu", cpu, "train=4")),
        memory=_without_conflicts(
            "--memory", _quantities("--memory", memory, "train=8Gi")
        ),
        gpus=gpus,
    )


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


def unmounted(spec: Mapping[str, Any], settings: KubernetesSettings) -> list[str]:
    """Sentences about folders of a pipeline spec that lie on no volume.

    What only one container sees is gone with it.
    """
    if spec["schemaVersion"] != KUBEFLOW_SCHEMA:
        return []
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    found = []
    for name, what in (("data", "images"), ("serving_folder", "models")):
        path = parameters[name]["defaultValue"]
        if "://" not in path and not settings.mounts(path):
            found.append(f"no --volume mounts {path}, the folder of the {what}")
    return found


def platform_spec(
    spec: Mapping[str, Any], settings: KubernetesSettings
) -> dict[str, Any]:
    """The second document of the file, which mounts the volumes; {} without volumes.

    With volumes there is a ledger that slots may be claimed in, by the id of the run.
    """
    if not settings.volumes:
        return {}
    config = kubernetes_executor_config_pb2.KubernetesExecutorConfig()
    config.field_path_as_env.add(
        name=kubeflow_slots.RUN_VARIABLE, field_path=kubeflow_slots.RUN_FIELD
    )
    for mount_path, claim in sorted(settings.volumes.items()):
        mount = config.pvc_mount.add(mount_path=mount_path, constant=claim)
        mount.pvc_name_parameter.runtime_value.constant.string_value = claim
    executors = {
        label: json_format.MessageToDict(config)
        for label in spec["deploymentSpec"]["executors"]
    }
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}


def _volumes(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Mount path and claim of each."""
    for text in texts:
        claim, _, path = text.partition(":")
        is_path = path.startswith("/") and path != "/" and ":" not in path
        if not is_path or not _CLAIM.fullmatch(claim):
            raise ConfigError(
                "--volume takes the name of a persistent volume claim and a mount path",
                found=text,
                expected="CLAIM:MOUNT_PATH, as slimline:/slimline",
            )
        yield path.rstrip("/"), claim


def _quantities(
    option: str, texts: Sequence[str], example: str
) -> Iterator[tuple[str, str]]:
    """Component and quantity of each."""
    for text in texts:
        component, equals, quantity = text.partition("=")
        if not equals or not component:
            raise ConfigError(
                f"{option} takes a component and a quantity",
                found=text,
                expected=f"as {example}",
            )
        yield component, quantity


def _without_conflicts(option: str, pairs: Iterator[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in pairs:
        if found.setdefault(key, value) != value:
            raise ConfigError(
                f"{option} is given twice for {key}",
                found=f"{found[key]} and {value}",
                expected="one value",
            )
    return found


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
