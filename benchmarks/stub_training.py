"""Runs of the real DAG in which no component computes: each writes a file, TFX does the rest.

Ledger, launcher, metadata store, cache keys, artifacts and pushed versions are the real
ones; a night of it takes seconds.
"""

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from tfx.dsl.compiler import compiler
from tfx.dsl.components.base import base_executor
from tfx.orchestration.local import runner_utils
from tfx.proto.orchestration import executable_spec_pb2, pipeline_pb2
from tfx.types import standard_artifacts

from components.image_example_gen import spans
from components.model_pusher.publishing import publish
from pipeline import dag, inputs
from pipeline.beam import engines
from pipeline.config import PipelineConfig
from pipeline.observed_runner import ObservedRunner, Outcome
from pipeline.runs import lineage, runs
from pipeline.slots import rows
from pipeline.slots.clock import Clock
from pushed_models import versions
from trainer.config import as_json, flatten

# Bytes of what a component writes, about those of the digits.
ARTIFACT_BYTES = {"Examples": 500_000, "Model": 1_300_000, "ModelRun": 3_000_000}
OTHER_BYTES = 20_000
# What a run leaves in its folder besides.
RUN_FILES = {runs.LOG_FILE: 60_000, "report.html": 400_000, runs.SUMMARY_FILE: 6_000}


class Executor(base_executor.BaseExecutor):
    """Writes a file for every output; pushes where a model is to be pushed."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes every output without computing it."""
        for artifacts in output_dict.values():
            for artifact in artifacts:
                if artifact.type_name == standard_artifacts.PushedModel.TYPE_NAME:
                    _push(input_dict, artifact, exec_properties)
                    continue
                folder = pathlib.Path(artifact.uri)
                folder.mkdir(parents=True, exist_ok=True)
                size = ARTIFACT_BYTES.get(artifact.type_name, OTHER_BYTES)
                (folder / versions.SAVED_MODEL_FILE).write_bytes(bytes(size))


def _push(
    input_dict: dict[str, list[Any]], artifact: Any, exec_properties: dict[str, Any]
) -> None:
    folder = pathlib.Path(exec_properties["serving_folder"])
    (model,) = input_dict["model"]
    version = str(publish(pathlib.Path(model.uri), folder))
    place = pathlib.Path(artifact.uri)
    place.rmdir()
    place.symlink_to(folder / version, target_is_directory=True)
    artifact.set_string_custom_property("pushed_destination", str(folder / version))
    artifact.set_string_custom_property("pushed_version", version)


class StubTraining:
    """A runner of schedules (`CommandRunner`) whose runs compute nothing."""

    def __init__(self, config: PipelineConfig, root: pathlib.Path, clock: Clock):
        self._config = config
        self._root = root
        self._clock = clock

    def run(
        self,
        row: rows.Row,
        settings: Mapping[str, str],
        began: Callable[[str], None],
    ) -> rows.Outcome:
        """Pushes a version without training."""
        config = self._config
        folder = runs.create(
            self._root, flatten(as_json(config)), {}, now=self._clock.now()
        )
        began(folder.name)
        found = inputs.resolve(config, self._root)
        pipeline = dag.create_pipeline(
            config,
            found.contract,
            dag.Locations(
                pipeline_root=str(self._root / found.identity),
                serving_folder=str(
                    self._root / versions.SERVING_FOLDER / found.model_name
                ),
                input_path=str(found.path),
                input_fingerprint=found.fingerprint,
                input_spans=spans.pin(found.data_sets),
            ),
            engines.local(),
            pipeline_name=found.identity,
            metadata_path=self._root / lineage.METADATA_FILE,
        )
        runner = ObservedRunner(lambda name, outputs: Outcome(""), folder.name)
        runner.run_with_ir(_without_work(compiler.Compiler().compile(pipeline)))
        for name, size in RUN_FILES.items():
            (folder / name).write_text("x" * size)
        (pushed,) = runner.results["push"].outputs["pushed_model"]
        version = pushed.get_string_custom_property("pushed_version")
        return rows.Outcome(rows.DONE, "the stub passed", 0, version)

    def outcome(self, row: rows.Row) -> rows.Outcome | None:
        """No run of the stub is found again."""
        return None


def _without_work(pipeline: pipeline_pb2.Pipeline) -> pipeline_pb2.Pipeline:
    """The compiled pipeline with `Executor` in every node."""
    deployment = runner_utils.extract_local_deployment_config(pipeline)
    stub = executable_spec_pb2.PythonClassExecutableSpec(
        class_path=f"{Executor.__module__}.{Executor.__name__}"
    )
    for spec in deployment.executor_specs.values():
        spec.Clear()
        spec.python_class_executable_spec.CopyFrom(stub)
    pipeline.deployment_config.Pack(deployment)
    return pipeline


def facts(root: pathlib.Path) -> dict[str, int]:
    """Files below `root`, their bytes, and those of the two databases."""
    files = [
        path for path in root.rglob("*") if path.is_file() and not path.is_symlink()
    ]
    sizes = {path: path.stat().st_size for path in files}
    metadata = root / lineage.METADATA_FILE
    return {
        "files": len(files),
        "bytes": sum(sizes.values()),
        "metadata_bytes": sizes.get(metadata, 0),
    }


def write_span(folder: pathlib.Path, number: int) -> None:
    """Lets a span arrive that no component looks into."""
    place = folder / str(number) / "0"
    place.mkdir(parents=True)
    (place / "a.png").write_text(json.dumps({"span": number}))
