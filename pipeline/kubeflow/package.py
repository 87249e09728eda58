"""A compiled pipeline as a file: its name, its parameters, and what of it is cached."""

import contextlib
import dataclasses
import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pydantic
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from common.errors import ConfigError
from pipeline.kubeflow import slots
from trainer.lookup import nearest

SCHEMA_VERSION = "2.1.0"
SERVING_FOLDER = "serving_folder"
INTEGER = "NUMBER_INTEGER"
DOUBLE = "NUMBER_DOUBLE"
STRING = "STRING"
BOOLEAN = "BOOLEAN"
LIST = "LIST"
STRUCT = "STRUCT"
# Kind of a parameter that is no text -> its type, and what a message calls it.
_TYPES: dict[str, tuple[type, str]] = {
    INTEGER: (int, "a whole number"),
    DOUBLE: (float, "a number"),
    BOOLEAN: (bool, "true or false"),
    LIST: (list, "a list in JSON"),
    STRUCT: (dict, "an object in JSON"),
}


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A parameter of a pipeline.

    Attributes:
      kind: one of Kubeflow's parameter types, as NUMBER_INTEGER.
      default: value of a run that gives none; None where there is none.
      is_required: whether a run must give it.
    """

    kind: str
    default: Any
    is_required: bool


@dataclasses.dataclass(frozen=True)
class Package:
    """A compiled pipeline.

    Attributes:
      path: of the file.
      documents: of the file: the pipeline spec and, where there is one, the platform's.
    """

    path: pathlib.Path
    documents: tuple[dict[str, Any], ...]

    @property
    def spec(self) -> dict[str, Any]:
        """The pipeline spec; Vertex AI's file is a job around it."""
        return self.documents[0].get("pipelineSpec", self.documents[0])

    @property
    def name(self) -> str:
        """Of the pipeline."""
        return self.spec["pipelineInfo"]["name"]

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks, sorted."""
        return sorted(self.spec["root"]["dag"]["tasks"])

    @property
    def images(self) -> list[str]:
        """Container images that the tasks run in, sorted."""
        executors = self.spec.get("deploymentSpec", {}).get("executors", {})
        containers = [executor.get("container", {}) for executor in executors.values()]
        return sorted({found["image"] for found in containers if "image" in found})

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Name -> parameter, sorted."""
        declared = self.spec["root"].get("inputDefinitions", {})
        defaults = self._values_of_job()
        return {
            name: Parameter(
                kind=entry.get("parameterType", STRING),
                default=entry.get("defaultValue", defaults.get(name)),
                is_required="defaultValue" not in entry
                and name not in defaults
                and not entry.get("isOptional", False),
            )
            for name, entry in sorted(declared.get("parameters", {}).items())
        }

    @property
    def mounts(self) -> set[str]:
        """Paths at which every container of a task sees a volume."""
        labels = self.spec.get("deploymentSpec", {}).get("executors", {})
        executors: dict[str, Any] = {}
        for document in self.documents[1:]:
            kubernetes = document.get("platforms", {}).get("kubernetes", {})
            executors |= kubernetes.get("deploymentSpec", {}).get("executors", {})
        mounted = [
            {
                mount["mountPath"]
                for mount in executors.get(label, {}).get("pvcMount", ())
            }
            for label in labels
        ]
        return set.intersection(*mounted) if mounted else set()

    def write(self, path: pathlib.Path) -> None:
        """Writes the file that Kubeflow takes."""
        path.write_text(yaml.safe_dump_all(self.documents), encoding="utf-8")

    @contextlib.contextmanager
    def to_send(self, enables_caching: bool | None = None) -> Iterator[pathlib.Path]:
        """A file with the pipeline as it is to be sent.

        Args:
          enables_caching: whether every task takes results of earlier runs; None leaves
            what was compiled.
        """
        documents = self.documents
        if enables_caching is not None:
            spec, *others = documents
            root = _with_caching(spec["root"], enables_caching)
            documents = ({**spec, "root": root}, *others)
        with tempfile.TemporaryDirectory() as folder:
            # The client knows a file by its ending.
            path = pathlib.Path(folder) / f"{self.name}.yaml"
            Package(path, documents).write(path)
            yield path

    def _values_of_job(self) -> dict[str, Any]:
        """Parameters with which a job for Vertex AI runs."""
        config = self.documents[0].get("runtimeConfig", {})
        return {
            name: value
            for name, wrapped in config.get("parameters", {}).items()
            for value in wrapped.values()
        }


def read(path: pathlib.Path) -> Package:
    """Reads and checks what `slimline kubeflow compile` or kfp's compiler wrote.

    Raises:
      ConfigError: not to be read, no compiled pipeline, or one that the open-source backend
        would refuse.
    """
    tip = f"slimline kubeflow compile EXPERIMENT --image REF --output {path} makes one"
    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot read {path}: {reason}", tip=tip) from error
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{path} is not YAML: {' '.join(str(error).split())}", tip=tip
        ) from error
    if not documents or not all(isinstance(document, dict) for document in documents):
        raise ConfigError(f"{path} holds no compiled pipeline", tip=tip)
    package = Package(path, tuple(documents))
    version = package.spec.get("schemaVersion", "")
    if version and version != SCHEMA_VERSION:
        raise ConfigError(
            f"{path} is for another backend than Kubeflow Pipelines",
            found=f"schema version {version}",
            expected=SCHEMA_VERSION,
            tip=f"compile it with --schema-version {SCHEMA_VERSION}",
        )
    try:
        message = json_format.ParseDict(package.spec, pipeline_spec_pb2.PipelineSpec())
        for platform in documents[1:]:
            json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
    except json_format.ParseError as error:
        raise ConfigError(
            f"{path} holds no compiled pipeline", found=str(error), tip=tip
        ) from error
    if not message.pipeline_info.name or not message.root.dag.tasks:
        raise ConfigError(
            f"{path} holds no compiled pipeline",
            found="no name or no tasks",
            tip=tip,
        )
    return package


def values(package: Package, assignments: Sequence[str]) -> dict[str, Any]:
    """Parameters of a run from 'name=value', each in the type that the pipeline declares.

    What is not given is left to the pipeline's defaults.

    Raises:
      ConfigError: an unknown parameter, a value that is not of its type, one parameter with
        two values, or one that is needed and not given.
    """
    known = package.parameters
    found: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError("--parameter takes name=value", found=assignment)
        if name not in known:
            near = nearest(name, known)
            raise ConfigError(
                f"pipeline '{package.name}' has no parameter '{name}'",
                expected=f"one of {', '.join(sorted(known))}" if known else "none",
                tip=f"did you mean '{near}'?" if near else "",
            )
        value = _typed(name, text, known[name].kind)
        if name in found and found[name] != value:
            raise ConfigError(
                f"parameter '{name}' is given twice",
                found=f"{found[name]} and {value}",
                expected="one value",
            )
        found[name] = value
    for name, parameter in known.items():
        if parameter.is_required and name not in found:
            raise ConfigError(
                f"pipeline '{package.name}' needs a value for '{name}'",
                tip=f"--parameter {name}=VALUE",
            )
    return found


def values_of_schedule(
    package: Package,
    schedule: str,
    given: Mapping[str, Any],
    enables_caching: bool | None,
) -> tuple[dict[str, Any], str]:
    """Parameters of a schedule's runs, with the slot that each of them is to claim.

    Args:
      package: the pipeline.
      schedule: its name.
      given: parameters that were given.
      enables_caching: as in `Package.to_send`.

    Returns:
      The parameters, and why no slot is claimed, or ''.

    Raises:
      ConfigError: a slot was given, which every run would claim.
    """
    if slots.SLOT in given:
        raise ConfigError(
            f"parameter '{slots.SLOT}' is filled in by the schedule",
            found=str(given[slots.SLOT]),
            tip=f"leave --parameter {slots.SLOT} out",
        )
    reason = _why_unclaimed(package, given, enables_caching)
    if reason:
        return dict(given), reason
    return {**given, slots.SLOT: slots.to_send(schedule)}, ""


def ledger_of(package: Package, given: Mapping[str, Any]) -> pathlib.Path:
    """The file in which runs with these parameters claim their slots."""
    return slots.ledger_file(_serving_folder(package, given))


def _why_unclaimed(
    package: Package, given: Mapping[str, Any], enables_caching: bool | None
) -> str:
    if not {slots.SLOT, SERVING_FOLDER} <= {*package.parameters}:
        return f"the pipeline has no parameter '{slots.SLOT}'"
    if enables_caching:
        return "--enable-caching takes results of earlier slots"
    folder = _serving_folder(package, given).rstrip("/").rpartition("/")[0]
    place = pathlib.PurePosixPath(folder)
    if not any(place.is_relative_to(mount) for mount in package.mounts):
        return f"no volume holds {folder}, so no ledger can lie there"
    return ""


def _serving_folder(package: Package, given: Mapping[str, Any]) -> str:
    default = package.parameters[SERVING_FOLDER].default
    return str(given.get(SERVING_FOLDER, default))


def _with_caching(root: Mapping[str, Any], is_cached: bool) -> dict[str, Any]:
    options = {"enableCache": True} if is_cached else {}
    tasks = {
        name: {**task, "cachingOptions": options}
        for name, task in root["dag"]["tasks"].items()
    }
    return {**root, "dag": {**root["dag"], "tasks": tasks}}


def _typed(name: str, text: str, kind: str) -> Any:
    """The value that `text` means for a parameter of `kind`."""
    if kind not in _TYPES:
        return text
    wanted, meaning = _TYPES[kind]
    reader: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(
        wanted, config=pydantic.ConfigDict(strict=True, allow_inf_nan=False)
    )
    try:
        return reader.validate_json(text.lower() if wanted is bool else text)
    except pydantic.ValidationError as error:
        raise ConfigError(
            f"parameter '{name}' is {meaning}", found=text or "''"
        ) from error
