"""The compiled form for Vertex AI: a pipeline job of schema 2.0.0."""

import dataclasses
import json

import pytest
from google.cloud.aiplatform.utils import pipeline_utils

from common.errors import ConfigError
from pipeline import experiments
from pipeline.config import EngineConfig
from pipeline.kubeflow import entrypoint, runner
from pipeline.kubeflow.kubernetes_settings import KubernetesSettings
from pipeline.kubeflow.runner import Target
from pipeline.runs import parts
from schema import contract

IMAGE = "europe-docker.pkg.dev/project/images/slimline:1"


def configure(**sections):
    config = experiments.find("cifar10_resnet_20")
    data = dataclasses.replace(config.data, path="gs://bucket/cifar-10-binary.tar.gz")
    return dataclasses.replace(config, **{"data": data} | sections)


def target(**changes) -> Target:
    values = {
        "image": IMAGE,
        "pipeline_root": "gs://bucket/root",
        "schema_version": runner.VERTEX_SCHEMA,
    }
    return Target(**values | changes)


@pytest.fixture(scope="module")
def job():
    (document,) = runner.compile_pipeline(configure(), target())
    return document


def test_it_is_a_job_with_values(job) -> None:
    assert job["pipelineSpec"]["schemaVersion"] == "2.0.0"
    assert job["displayName"] == "cifar10-resnet-20-cifar10"
    assert job["runtimeConfig"] == {
        "gcsOutputDirectory": "gs://bucket/root",
        "parameters": {
            "data": {"stringValue": "/gcs/bucket/cifar-10-binary.tar.gz"},
            "serving_folder": {"stringValue": "/gcs/bucket/root/serving/cifar10"},
            "steps": {"intValue": "0"},
            "learning_rate": {"doubleValue": 0.0},
        },
    }
    declared = job["pipelineSpec"]["root"]["inputDefinitions"]["parameters"]
    assert {name: found["type"] for name, found in declared.items()} == {
        "data": "STRING",
        "serving_folder": "STRING",
        "steps": "INT",
        "learning_rate": "DOUBLE",
    }


def test_the_client_of_vertex_reads_it(job) -> None:
    builder = pipeline_utils.PipelineRuntimeConfigBuilder.from_job_spec_json(job)
    builder.update_runtime_parameters({"steps": 100})
    built = builder.build()
    assert built["parameters"]["steps"] == {"intValue": 100}
    assert built["gcsOutputDirectory"] == "gs://bucket/root"


def test_it_has_no_fields_of_2_1(job) -> None:
    text = json.dumps(job)
    for field in ("parameterType", "defaultValue", '"constant":', "inputs_spec_args"):
        assert field not in text
    executors = job["pipelineSpec"]["deploymentSpec"]["executors"]
    names = {name.removesuffix("_executor") for name in executors}
    assert names == set(parts.COMPONENTS) - {"infer"}
    for executor in executors.values():
        assert executor["container"]["image"] == IMAGE
        assert executor["container"]["command"] == runner.COMMAND


def test_the_data_are_read_anew(job) -> None:
    tasks = job["pipelineSpec"]["root"]["dag"]["tasks"]
    assert tasks["ingest"]["cachingOptions"] == {}
    assert tasks["train"]["cachingOptions"] == {"enableCache": True}


@pytest.mark.parametrize("root", ["", "minio://bucket/root", "/root"])
def test_the_root_is_in_a_bucket(root: str) -> None:
    with pytest.raises(ConfigError, match="pipeline root in Google Cloud Storage"):
        runner.compile_pipeline(configure(), target(pipeline_root=root))


def test_there_are_no_volumes() -> None:
    settings = KubernetesSettings(volumes={"/slimline": "claim"})
    with pytest.raises(ConfigError, match="takes no volumes"):
        runner.compile_pipeline(configure(), target(kubernetes=settings))


def test_engines_that_the_containers_reach() -> None:
    def arguments_of(engine: EngineConfig) -> list[str]:
        (job,) = runner.compile_pipeline(configure(engine=engine), target())
        executors = job["pipelineSpec"]["deploymentSpec"]["executors"]
        given = executors["statistics_executor"]["container"]["args"]
        return [word for word in given if word.startswith(("--runner", "--project"))]

    assert arguments_of(EngineConfig()) == []
    dataflow = EngineConfig(
        name="dataflow",
        project="p",
        region="r",
        bucket="gs://bucket",
        worker_image=IMAGE,
    )
    assert arguments_of(dataflow) == ["--runner=DataflowRunner", "--project=p"]
    with pytest.raises(ConfigError, match=r"'flink' of a compiled pipeline needs"):
        arguments_of(EngineConfig(name="flink"))


def test_a_component_runs_as_vertex_calls_it(job, tmp_path, monkeypatch) -> None:
    """Types with the artifacts, no inputs spec, values wrapped, the output file in gs://."""
    monkeypatch.setenv("SLIMLINE_KUBEFLOW_LOCAL_ROOT", str(tmp_path))
    executor = job["pipelineSpec"]["deploymentSpec"]["executors"]["contract_executor"]
    task = job["pipelineSpec"]["root"]["dag"]["tasks"]["contract"]
    values = {
        name: found["runtimeValue"]["constantValue"]
        for name, found in task["inputs"]["parameters"].items()
    }
    output = job["pipelineSpec"]["components"]["contract"]["outputDefinitions"]
    uri = "gs://bucket/root/1/contract_1/schema"
    executor_input = {
        "inputs": {"parameters": values},
        "outputs": {
            "artifacts": {
                "schema": {
                    "artifacts": [
                        {
                            "name": "projects/1/artifacts/2",
                            "uri": uri,
                            "type": output["artifacts"]["schema"]["artifactType"],
                        }
                    ]
                }
            },
            "outputFile": "gs://bucket/root/1/contract_1/executor_output.json",
        },
    }
    words = [
        word.replace("{{$}}", json.dumps(executor_input))
        for word in executor["container"]["args"]
    ]
    entrypoint.main(words)
    folder = tmp_path / "gcs/bucket/root/1/contract_1"
    written = json.loads((folder / "executor_output.json").read_text())
    assert written["artifacts"]["schema"]["artifacts"][0]["uri"] == uri
    labels = contract.read_labels(folder / "schema" / contract.SCHEMA_FILE)
    assert labels[:2] == ("airplane", "automobile")
