"""Volumes, resources, nodes and retries of a compiled pipeline's containers."""

import dataclasses
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2

from common.errors import ConfigError
from pipeline.kubeflow import slots
from pipeline.kubeflow.package import SCHEMA_VERSION

T = TypeVar("T")

TRAIN = "train"
# In place of a component: every one that has no value of its own.
ALL = "all"
GPU_RESOURCE = "nvidia.com/gpu"
_EXECUTOR_SUFFIX = "_executor"
_CPU = re.compile(r"\d+(\.\d+)?|\d+m")
_MEMORY = re.compile(r"\d+(\.\d+)?(E|P|T|G|M|K|Ei|Pi|Ti|Gi|Mi|Ki)?")
_NAME = r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?"
_LABEL = r"(?:[a-z0-9][-a-z0-9.]*/)?[A-Za-z0-9](?:[-\w.]{0,61}[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[-\w.]{0,61}[A-Za-z0-9])?)?"
_EFFECT = "NoSchedule|PreferNoSchedule|NoExecute"
# Option -> form of a value, what it is in words, how to write it.
_QUANTITY = ("([^=]+)=(.*)", "a component and a quantity")
_FORMS = {
    "--volume": (
        rf"({_NAME}):(/[^:]*[^:/])/*",
        "the name of a persistent volume claim and a mount path",
        "CLAIM:MOUNT_PATH, as slimline:/slimline",
    ),
    "--cpu": (*_QUANTITY, "COMPONENT=QUANTITY, as train=4"),
    "--memory": (*_QUANTITY, "COMPONENT=QUANTITY, as train=8Gi"),
    "--toleration": (
        rf"({_LABEL})(?:=({_VALUE}))?(?::({_EFFECT}))?",
        "a taint",
        "KEY[=VALUE][:EFFECT], as nvidia.com/gpu=present:NoSchedule",
    ),
    "--node-selector": (
        rf"(?:(\w+):)?({_LABEL})=({_VALUE})",
        "a label of nodes and its value",
        "[COMPONENT:]LABEL=VALUE, as train:pool=gpu",
    ),
    "--pull-secret": (_NAME, "the name of a secret", "as regcred"),
}
# Between two attempts of a task; each wait is twice as long as the one before.
_BACKOFF = {
    "backoffDuration": "60s",
    "backoffFactor": 2.0,
    "backoffMaxDuration": "3600s",
}


@dataclasses.dataclass(frozen=True)
class KubernetesSettings:
    """Kubernetes settings of the containers.

    Attributes:
      volumes: mount path -> name of a persistent volume claim, for every component.
      cpu: component or `ALL` -> processors, as '4' or '500m'.
      memory: component or `ALL` -> bytes, as '8Gi'.
      gpus: for the Trainer.
      tolerations: taints that every component tolerates, as `Toleration` of Kubernetes.
      node_selectors: component or `ALL` -> labels of the nodes that it may run on.
      pull_secrets: names of the secrets with which nodes pull the image.
      retries: attempts of a failed task after the first.
    """

    volumes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cpu: Mapping[str, str] = dataclasses.field(default_factory=dict)
    memory: Mapping[str, str] = dataclasses.field(default_factory=dict)
    gpus: int = 0
    tolerations: tuple[Mapping[str, str], ...] = ()
    node_selectors: Mapping[str, Mapping[str, str]] = dataclasses.field(
        default_factory=dict
    )
    pull_secrets: tuple[str, ...] = ()
    retries: int = 0

    def mounts(self, path: str) -> bool:
        """Whether `path` lies on one of the volumes."""
        place = pathlib.PurePosixPath(path)
        return any(place.is_relative_to(mount) for mount in self.volumes)


def from_text(
    volumes: Sequence[str] = (),
    cpu: Sequence[str] = (),
    memory: Sequence[str] = (),
    gpus: int = 0,
    tolerations: Sequence[str] = (),
    node_selectors: Sequence[str] = (),
    pull_secrets: Sequence[str] = (),
    retries: int = 0,
) -> KubernetesSettings:
    """Settings as a person types them, each in the form of its option (`_FORMS`).

    Raises:
      ConfigError: one that is not of this form, or a path or component with two values.
    """
    selectors: dict[str, dict[str, str]] = {}
    pairs = (
        (f"{component or ALL}:{label}", value)
        for component, label, value in _read("--node-selector", node_selectors)
    )
    for key, value in _without_conflicts("--node-selector", pairs).items():
        component, _, label = key.partition(":")
        selectors.setdefault(component, {})[label] = value
    claims = ((path, claim) for claim, path in _read("--volume", volumes))
    return KubernetesSettings(
        volumes=_without_conflicts("--volume", claims),
        cpu=_without_conflicts("--cpu", _read("--cpu", cpu)),
        memory=_without_conflicts("--memory", _read("--memory", memory)),
        gpus=gpus,
        tolerations=tuple(
            _toleration(*parts) for parts in _read("--toleration", tolerations)
        ),
        node_selectors=selectors,
        pull_secrets=tuple(name for (name,) in _read("--pull-secret", pull_secrets)),
        retries=retries,
    )


def set_retries(spec: dict[str, Any], settings: KubernetesSettings) -> None:
    """Lets every task of a pipeline spec be tried again when it fails."""
    if settings.retries:
        for task in spec["root"]["dag"]["tasks"].values():
            task["retryPolicy"] = {"maxRetryCount": settings.retries, **_BACKOFF}


def set_resources(spec: dict[str, Any], settings: KubernetesSettings) -> None:
    """Writes processors, memory and GPUs into the containers of a pipeline spec.

    Raises:
      ConfigError: a component that the pipeline does not have, or a quantity that is none.
    """
    for kind, wanted, pattern, example in (
        ("cpu", settings.cpu, _CPU, "4 or 500m"),
        ("memory", settings.memory, _MEMORY, "8Gi"),
    ):
        for component, quantity in _of_each(spec, wanted).items():
            if not pattern.fullmatch(quantity):
                raise ConfigError(
                    f"{kind} of '{component}' is not a quantity of Kubernetes",
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
    if spec["schemaVersion"] != SCHEMA_VERSION:
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
    """The second document of the file, with volumes, nodes and secrets; {} without any.

    With volumes there is a ledger that slots may be claimed in, by the id of the run.

    Raises:
      ConfigError: a component that the pipeline does not have.
    """
    selectors = _of_each(spec, settings.node_selectors)
    shared = kubernetes_executor_config_pb2.KubernetesExecutorConfig()
    if settings.volumes:
        shared.field_path_as_env.add(
            name=slots.RUN_VARIABLE, field_path=slots.RUN_FIELD
        )
    for mount_path, claim in sorted(settings.volumes.items()):
        mount = shared.pvc_mount.add(mount_path=mount_path, constant=claim)
        mount.pvc_name_parameter.runtime_value.constant.string_value = claim
    for toleration in settings.tolerations:
        shared.tolerations.add(**toleration)
    for name in settings.pull_secrets:
        secret = shared.image_pull_secret.add(secret_name=name)
        secret.secret_name_parameter.runtime_value.constant.string_value = name
    executors = {}
    for label in spec["deploymentSpec"]["executors"]:
        config = kubernetes_executor_config_pb2.KubernetesExecutorConfig()
        config.CopyFrom(shared)
        labels = selectors.get(label.removesuffix(_EXECUTOR_SUFFIX), {})
        config.node_selector.labels.update(labels)
        if not labels:
            config.ClearField("node_selector")
        if document := json_format.MessageToDict(config):
            executors[label] = document
    if not executors:
        return {}
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}


def _of_each(spec: Mapping[str, Any], wanted: Mapping[str, T]) -> dict[str, T]:
    """Component -> value, with that of `ALL` for those without one of their own."""
    for component in wanted.keys() - {ALL}:
        _container(spec, component)
    every = (
        label.removesuffix(_EXECUTOR_SUFFIX)
        for label in spec["deploymentSpec"]["executors"]
    )
    rest = dict.fromkeys(every, wanted[ALL]) if ALL in wanted else {}
    return rest | {name: value for name, value in wanted.items() if name != ALL}


def _read(option: str, texts: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The parts of each value of an option; None for those that were left out."""
    form, what, expected = _FORMS[option]
    for text in texts:
        match = re.fullmatch(form, text)
        if not match:
            raise ConfigError(f"{option} takes {what}", found=text, expected=expected)
        yield match.groups() or (text,)


def _toleration(key: str, value: str | None, effect: str | None) -> dict[str, str]:
    """A toleration of Kubernetes for the taint as kubectl writes it."""
    fields = {"key": key, "value": value, "effect": effect}
    given = {name: text for name, text in fields.items() if text}
    return {**given, "operator": "Equal" if value else "Exists"}


def _without_conflicts(option: str, pairs: Iterator[tuple[Any, ...]]) -> dict[str, str]:
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
