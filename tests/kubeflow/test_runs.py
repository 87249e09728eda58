"""The compiled DAG, run task by task through the commands of its containers."""

import dataclasses
import pathlib
from types import ModuleType

import numpy as np
import pytest
import yaml

from pipeline import experiments, kubeflow_runner
from pipeline.config import PipelineConfig
from schema import versions
from schema.errors import ConfigError
from serving import local_model

STOCK_ENTRY_POINT = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"


@pytest.fixture(scope="module")
def data(new_fakes, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("volume") / "images"
    return new_fakes(1).cifar10_binary(folder / "cifar10", 60)


def tiny(path: str) -> PipelineConfig:
    config = experiments.tiny(experiments.cifar10_resnet_20())
    return dataclasses.replace(
        config, data=dataclasses.replace(config.data, path=path, contract="cifar10")
    )


def target(folder: pathlib.Path) -> kubeflow_runner.Target:
    return kubeflow_runner.Target(
        image="registry.example/slimline:0.1.0", serving_folder=str(folder / "serving")
    )


def load(kubeflow: ModuleType, documents: list[dict], folder: pathlib.Path):
    path = folder / "pipeline.yaml"
    path.write_text(kubeflow_runner.to_yaml(documents))
    return kubeflow.load(path)


@pytest.mark.e2e
def test_two_runs_push_two_models_and_the_second_is_compared(
    kubeflow: ModuleType, data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    documents = kubeflow_runner.compile_pipeline(
        tiny("/nowhere/on/this/machine"), target(tmp_path)
    )
    spec = load(kubeflow, documents, tmp_path)
    backend = kubeflow.Backend(tmp_path)
    given = {"data": str(data), "steps": 3}

    first = backend.run(spec, given)
    second = backend.run(spec, given)

    served = tmp_path / "serving" / "cifar10"
    old, new = versions.numbers(served)
    assert first.metadata["baseline", "baseline_model"]["exists"] == 0
    assert second.metadata["baseline", "baseline_model"]["version"] == str(old)
    assert second.metadata["push", "pushed_model"]["pushed_version"] == str(new)
    assert first.metadata["ingest", "examples"]["images_test"] == 60
    # The parameter went before the two steps of the tiny form.
    trained = (first.artifacts["train", "model_run"] / "training.json").read_text()
    assert yaml.safe_load(trained)["steps"] == 3
    # What leaves a container names the bucket, not a folder of the container.
    blessed = second.metadata["evaluate", "blessing"]["current_model"]
    assert blessed == "minio://pipelines/cifar10-resnet-20/run-2/train/model"
    model = local_model.LocalModel.load(served)
    (prediction,) = model.predict([np.zeros((32, 32, 3), np.uint8)])
    assert prediction.label in model.labels


@pytest.mark.slow
def test_the_stock_entry_point_does_not_run_there(
    kubeflow: ModuleType, data: pathlib.Path, tmp_path: pathlib.Path, monkeypatch
) -> None:
    """Why ours is needed: the first task with an input finds it without a type."""
    monkeypatch.setattr(kubeflow_runner, "COMMAND", ["python", "-m", STOCK_ENTRY_POINT])
    documents = kubeflow_runner.compile_pipeline(tiny(str(data)), target(tmp_path))
    spec = load(kubeflow, documents, tmp_path)
    with pytest.raises(kubeflow.TaskFailed, match=r"'ingest'(.|\n)*'title'"):
        kubeflow.Backend(tmp_path).run(spec)


def test_the_spec_names_no_path_of_this_machine(tmp_path: pathlib.Path) -> None:
    project = pathlib.Path(__file__).parents[2]
    documents = kubeflow_runner.compile_pipeline(
        tiny("/slimline/images"), kubeflow_runner.Target(image="x/y:1")
    )
    assert str(project) not in kubeflow_runner.to_yaml(documents)


def test_parameters_have_the_configured_defaults() -> None:
    spec, *others = kubeflow_runner.compile_pipeline(
        tiny("/slimline/images"), kubeflow_runner.Target(image="x/y:1")
    )
    declared = spec["root"]["inputDefinitions"]["parameters"]
    assert {name: value["defaultValue"] for name, value in declared.items()} == {
        "data": "/slimline/images",
        "serving_folder": "/slimline/serving/cifar10",
        "steps": 0,
        "learning_rate": 0.0,
    }
    assert not others


def test_images_are_read_anew_and_the_rest_may_be_cached() -> None:
    spec, *_ = kubeflow_runner.compile_pipeline(
        tiny("/slimline/images"), kubeflow_runner.Target(image="x/y:1")
    )
    cached = {
        name: task["cachingOptions"].get("enableCache", False)
        for name, task in spec["root"]["dag"]["tasks"].items()
    }
    assert not cached.pop("ingest")
    assert all(cached.values())


def test_no_data_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match="needs the path of its images"):
        kubeflow_runner.compile_pipeline(
            tiny(""), kubeflow_runner.Target(image="x/y:1")
        )
