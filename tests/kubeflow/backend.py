"""A small Kubeflow Pipelines v2 backend: walks a compiled DAG as driver and launcher do.

It knows nothing of the pipelines it runs. What it does and leaves out follows the Go code of
kubeflow/pipelines, backend/src/v2:

- `driver`: tasks in order of their dependencies; inputs from constants, pipeline parameters
  and artifacts of earlier tasks; numbers are doubles; input artifacts carry id, URI and
  metadata, but no type (metadata/converter.go); outputs get a URI below the pipeline root.
- `component/launcher_v2.go`: input artifacts are copied from the bucket into a local folder,
  `{{$}}` is replaced, the command runs, its output file is merged, output folders are copied
  into the bucket. Local folders are emptied after each task: what a component did not name
  as input is not there.
- `driver/k8s.go`: of the second document, variables that name a label of the pod, which
  bears the id of its run. Volumes are this machine's folders.

Refused, because the open-source backend does not run them: resolvers, lifecycle hooks
(TFX's drivers), schema versions other than 2.1.0.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml
from google.protobuf import json_format
from kfp import components as kfp_components
from kfp.pipeline_spec import pipeline_spec_pb2

SCHEMA_VERSION = "2.1.0"
SCHEME = "minio://"
RUN_LABEL = "metadata.labels['pipeline/runid']"
LOG_LINES = 40


class Refused(Exception):
    """The backend would not run this spec."""


class TaskFailed(Exception):
    """A container ended with an error; the message ends with its last lines."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run left.

    Attributes:
      artifacts: (task, output) -> folder or file in the bucket.
      metadata: (task, output) -> metadata of the artifact.
      order: names of the tasks as they ran.
    """

    artifacts: dict[tuple[str, str], pathlib.Path]
    metadata: dict[tuple[str, str], dict[str, Any]]
    order: list[str]


def load(path: pathlib.Path) -> pipeline_spec_pb2.PipelineSpec:
    """Reads and checks a spec as the API server does.

    Raises:
      Refused: the spec has what the open-source backend cannot run.
    """
    documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    kfp_components.load_component_from_file(str(path))
    spec = pipeline_spec_pb2.PipelineSpec()
    json_format.ParseDict(documents[0], spec)
    if spec.schema_version != SCHEMA_VERSION:
        raise Refused(f"schema version {spec.schema_version!r}")
    for label, executor in _executors(spec).items():
        kind = executor.WhichOneof("spec")
        if kind != "container":
            raise Refused(f"executor {label!r} is a {kind}")
        if executor.container.HasField("lifecycle"):
            raise Refused(f"executor {label!r} has a lifecycle hook")
    return spec


def load_platform(path: pathlib.Path) -> dict[str, Any]:
    """Executor -> what is asked of Kubernetes, of the file's second document."""
    documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    for document in documents[1:]:
        json_format.ParseDict(document, pipeline_spec_pb2.PlatformSpec())
        return document["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return {}


class Backend:
    """A bucket, and runs of pipelines against it.

    Attributes:
      start: runs (command, folder, environment, log) to the end and gives the exit code.
    """

    def __init__(self, folder: pathlib.Path, python: str = sys.executable):
        """Makes an empty backend.

        Args:
          folder: for the bucket and the scratch folders of the containers.
          python: stands in for the image's `python`.
        """
        self.bucket = folder / "bucket"
        self._scratch = folder / "scratch"
        self._python = python
        self.start: Callable[..., int] = self._start
        self._artifact_ids = 0
        self._runs = 0

    def run(
        self,
        spec: pipeline_spec_pb2.PipelineSpec,
        parameters: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        platform: Mapping[str, Any] | None = None,
    ) -> Run:
        """Runs every task once, in order.

        Args:
          spec: what `load` gave.
          parameters: of the pipeline, over their defaults.
          environment: of the containers, beside the few variables that an image has.
          platform: what `load_platform` gave.

        Raises:
          TaskFailed: a container ended with an error.
          Refused: a parameter that the pipeline does not have, or one left without value.
        """
        self._runs += 1
        run_id = f"run-{self._runs}"
        root = f"{SCHEME}pipelines/{spec.pipeline_info.name}/{run_id}"
        run = Run({}, {}, [])
        produced: dict[tuple[str, str], dict[str, Any]] = {}
        values = _pipeline_parameters(spec, parameters or {})
        for name in _in_order(spec):
            task = spec.root.dag.tasks[name]
            component = spec.components[task.component_ref.name]
            executor_input = {
                "inputs": {
                    "parameterValues": _task_parameters(task, component, values),
                    "artifacts": {
                        key: {"artifacts": [_input(produced, artifact)]}
                        for key, artifact in task.inputs.artifacts.items()
                    },
                },
                "outputs": self._outputs(root, name, component),
            }
            container = _executors(spec)[component.executor_label].container
            asked = (platform or {}).get(component.executor_label, {})
            variables = {**_variables(asked, run_id), **(environment or {})}
            self._launch(name, container, executor_input, variables)
            for key, listed in executor_input["outputs"]["artifacts"].items():
                artifact = listed["artifacts"][0]
                self._artifact_ids += 1
                produced[name, key] = artifact | {"name": str(self._artifact_ids)}
                run.artifacts[name, key] = self._in_bucket(artifact["uri"])
                run.metadata[name, key] = artifact["metadata"]
            run.order.append(name)
        return run

    def _outputs(self, root: str, task: str, component: Any) -> dict[str, Any]:
        return {
            "artifacts": {
                key: {
                    "artifacts": [
                        {
                            "uri": f"{root}/{task}/{key}",
                            "type": json_format.MessageToDict(artifact.artifact_type),
                            "metadata": json_format.MessageToDict(artifact.metadata),
                        }
                    ]
                }
                for key, artifact in component.output_definitions.artifacts.items()
            },
            "outputFile": str(self._scratch / "kfp_outputs" / "output_metadata.json"),
        }

    def _launch(
        self,
        task: str,
        container: Any,
        executor_input: dict[str, Any],
        environment: Mapping[str, str],
    ) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)
        (self._scratch / "work").mkdir(parents=True)
        outputs = executor_input["outputs"]
        for listed in executor_input["inputs"]["artifacts"].values():
            uri = listed["artifacts"][0]["uri"]
            _copy(self._in_bucket(uri), self._local(uri))
        for listed in outputs["artifacts"].values():
            self._local(listed["artifacts"][0]["uri"]).parent.mkdir(
                parents=True, exist_ok=True
            )
        words = [
            word.replace("{{$}}", json.dumps(executor_input))
            for word in (*container.command, *container.args)
        ]
        log = self._scratch / "log.txt"
        variables = {
            "PATH": os.defpath,
            "HOME": str(self._scratch / "work"),
            "TMPDIR": str(self._scratch),
            "PYTHONDONTWRITEBYTECODE": "1",
            "SLIMLINE_KUBEFLOW_LOCAL_ROOT": str(self._scratch),
            **environment,
        }
        code = self.start(words, self._scratch / "work", variables, log)
        if code:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            raise TaskFailed(
                f"task {task!r} ended with code {code}\n"
                + "\n".join(lines[-LOG_LINES:])
            )
        _merge(pathlib.Path(outputs["outputFile"]), outputs["artifacts"])
        for listed in outputs["artifacts"].values():
            uri = listed["artifacts"][0]["uri"]
            # The launcher lets a component leave an output unwritten.
            if self._local(uri).exists():
                _copy(self._local(uri), self._in_bucket(uri))

    def _start(
        self,
        words: Sequence[str],
        folder: pathlib.Path,
        variables: Mapping[str, str],
        log: pathlib.Path,
    ) -> int:
        """Runs a command as a new process."""
        command, *arguments = words
        with log.open("wb") as file:
            return subprocess.run(
                [self._python if command == "python" else command, *arguments],
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                check=False,
            ).returncode

    def _in_bucket(self, uri: str) -> pathlib.Path:
        return self.bucket / uri.removeprefix(SCHEME)

    def _local(self, uri: str) -> pathlib.Path:
        return self._scratch / "minio" / uri.removeprefix(SCHEME)


def _executors(spec: pipeline_spec_pb2.PipelineSpec) -> Any:
    config = pipeline_spec_pb2.PipelineDeploymentConfig()
    json_format.ParseDict(json_format.MessageToDict(spec.deployment_spec), config)
    return config.executors


def _in_order(spec: pipeline_spec_pb2.PipelineSpec) -> list[str]:
    """Tasks, each after those it depends on."""
    waiting = {
        name: set(task.dependent_tasks)
        | {
            artifact.task_output_artifact.producer_task
            for artifact in task.inputs.artifacts.values()
        }
        for name, task in spec.root.dag.tasks.items()
    }
    order: list[str] = []
    while waiting:
        ready = sorted(name for name, needs in waiting.items() if needs <= {*order})
        if not ready:
            raise Refused(f"tasks wait for each other: {sorted(waiting)}")
        order += ready
        for name in ready:
            del waiting[name]
    return order


def _pipeline_parameters(
    spec: pipeline_spec_pb2.PipelineSpec, given: Mapping[str, Any]
) -> dict[str, Any]:
    declared = spec.root.input_definitions.parameters
    if unknown := set(given) - set(declared):
        raise Refused(f"the pipeline has no parameter {sorted(unknown)}")
    values = {
        name: json_format.MessageToDict(parameter.default_value)
        for name, parameter in declared.items()
        if parameter.HasField("default_value")
    } | dict(given)
    if missing := set(declared) - set(values):
        raise Refused(f"no value for parameter {sorted(missing)}")
    return values


def _task_parameters(
    task: Any, component: Any, pipeline_values: Mapping[str, Any]
) -> dict[str, Any]:
    """Values as they arrive in the container: numbers are doubles, as in protobuf."""
    values: dict[str, Any] = {}
    for name, parameter in task.inputs.parameters.items():
        match parameter.WhichOneof("kind"):
            case "runtime_value":
                value = json_format.MessageToDict(parameter.runtime_value.constant)
            case "component_input_parameter":
                value = pipeline_values[parameter.component_input_parameter]
            case kind:
                raise Refused(f"parameter {name!r} is a {kind}")
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        values[name] = float(value) if is_number else value
    declared = component.input_definitions.parameters
    if set(values) - set(declared):
        raise Refused(f"undeclared parameters: {sorted(set(values) - set(declared))}")
    return values


def _variables(asked: Mapping[str, Any], run_id: str) -> dict[str, str]:
    """Variables of a container that hold a field of its pod."""
    fields = {
        field["name"]: field["fieldPath"] for field in asked.get("fieldPathAsEnv", ())
    }
    if unknown := {*fields.values()} - {RUN_LABEL}:
        raise Refused(f"fields {sorted(unknown)}")
    return dict.fromkeys(fields, run_id)


def _input(
    produced: Mapping[tuple[str, str], dict[str, Any]], artifact: Any
) -> dict[str, Any]:
    if artifact.WhichOneof("kind") != "task_output_artifact":
        raise Refused(f"input artifact is a {artifact.WhichOneof('kind')}")
    source = artifact.task_output_artifact
    found = produced[source.producer_task, source.output_artifact_key]
    return {key: found[key] for key in ("name", "uri", "metadata")}


def _merge(output_file: pathlib.Path, artifacts: dict[str, Any]) -> None:
    if not output_file.is_file():
        return
    output = pipeline_spec_pb2.ExecutorOutput()
    json_format.Parse(output_file.read_text(encoding="utf-8"), output)
    for name, listed in output.artifacts.items():
        if name not in artifacts or not listed.artifacts:
            continue
        source, target = listed.artifacts[0], artifacts[name]["artifacts"][0]
        target["uri"] = source.uri or target["uri"]
        target["metadata"] |= {
            name: _stored(value)
            for name, value in json_format.MessageToDict(source.metadata).items()
        }


def _stored(value: Any) -> Any:
    """A metadata value as ML Metadata gives it back: lists and dicts wrapped, no bools."""
    match value:
        case bool():
            return float(value)
        case list():
            return {"list": value}
        case dict():
            return {"struct": value}
    return value


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies what is at `source`; an empty folder is nothing, as in a bucket."""
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
        return
    for path in sorted(source.rglob("*")):
        if path.is_file():
            file = target / path.relative_to(source)
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, file)
