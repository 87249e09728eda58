"""The compiled DAG, run task by task through the commands of its containers."""

import dataclasses
import itertools
import json
import pathlib
from types import ModuleType

import numpy as np
import pytest
import tensorflow as tf
import yaml

from common.errors import ConfigError
from pipeline import experiments
from pipeline.config import PipelineConfig
from pipeline.kubeflow import runner, slots
from pipeline.kubeflow.kubernetes_settings import KubernetesSettings
from pipeline.kubeflow.package import Package
from pipeline.slots.ledger import FILE, Ledger
from pushed_models import versions
from schema import features
from serving import local_model

STOCK_ENTRY_POINT = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"
IDX_HEAD_BYTES = 16


def tiny(path: str) -> PipelineConfig:
    config = experiments.tiny(experiments.mnist_mlp_bn())
    return dataclasses.replace(config, data=dataclasses.replace(config.data, path=path))


def target(folder: pathlib.Path) -> runner.Target:
    return runner.Target(
        image="registry.example/slimline:0.1.0",
        serving_folder=str(folder / "serving"),
        kubernetes=KubernetesSettings(volumes={str(folder): "volume"}),
    )


def load(kubeflow: ModuleType, documents: list[dict], folder: pathlib.Path):
    path = folder / "pipeline.yaml"
    Package(path, tuple(documents)).write(path)
    return kubeflow.load(path)


@pytest.mark.e2e
@pytest.mark.parametrize(
    "fresh_containers", [1, pytest.param(10, marks=pytest.mark.nightly)]
)
def test_two_nights_push_two_models_and_no_night_is_done_twice(
    kubeflow: ModuleType,
    forked_containers,
    new_fakes,
    tmp_path: pathlib.Path,
    fresh_containers: int,
) -> None:
    """Each night reads the span that is the newest, the second one compares its model."""
    documents = runner.compile_pipeline(
        tiny("/nowhere/on/this/machine"), target(tmp_path)
    )
    spec = load(kubeflow, documents, tmp_path)
    platform = kubeflow.load_platform(tmp_path / "pipeline.yaml")
    backend = kubeflow.Backend(tmp_path)
    # The first ones show that the commands start from nothing; the others are forks.
    starts = itertools.chain(
        [backend.start] * fresh_containers, itertools.repeat(forked_containers)
    )
    backend.start = lambda *command: next(starts)(*command)
    images, served = tmp_path / "digits", tmp_path / "serving" / "mnist-tiny"

    def night(time: str):
        slot = slots.to_send("nightly").replace("[[ScheduledTime]]", time)
        given = {"data": str(images / "{SPAN}"), "steps": 3, "slot": slot}
        return backend.run(spec, given, platform=platform)

    fakes = new_fakes(1)
    fakes.idx(images / "1", 60, is_packed=False, height_px=28, width_px=28)
    first = night("20261126030000")
    fakes.idx(images / "2", 40, is_packed=False, height_px=28, width_px=28)
    second = night("20261127030000")

    for run, span, count in ((first, 1, 60), (second, 2, 40)):
        read = run.metadata["ingest", "examples"]
        assert (read["span"], read["images_test"]) == (span, count)
        (file,) = (images / str(span)).glob("t10k-images-*")
        pixels = file.read_bytes()[IDX_HEAD_BYTES:]
        assert images_of_test(run.artifacts["ingest", "examples"]) == {
            pixels[start : start + 784] for start in range(0, len(pixels), 784)
        }
    old, new = versions.numbers(served)
    assert first.metadata["baseline", "baseline_model"]["exists"] == 0
    assert second.metadata["baseline", "baseline_model"]["version"] == str(old)
    assert second.metadata["push", "pushed_model"]["pushed_version"] == str(new)
    # The parameter went before the two steps of the tiny form.
    trained = (first.artifacts["train", "model_run"] / "training.json").read_text()
    assert yaml.safe_load(trained)["steps"] == 3
    # What leaves a container names the bucket, not a folder of the container.
    blessed = second.metadata["evaluate", "blessing"]["current_model"]
    assert blessed == "minio://pipelines/mnist-mlp-bn-mnist-tiny/run-2/train/model"
    model = local_model.LocalModel.load(served)
    (prediction,) = model.predict([np.zeros((28, 28), np.uint8)])
    assert prediction.label in model.labels

    # The server begins a night again: its run ends in the task that all others wait for.
    with pytest.raises(
        kubeflow.TaskFailed,
        match=r"task 'contract' ended with code 1\nerror: slot 2026-11-26T03:00:00\+00:00"
        r" of schedule 'nightly' belongs to run run-1, so run run-3 ends here$",
    ):
        night("20261126030000")
    assert versions.numbers(served) == [old, new]
    ledger = Ledger(served.parent / FILE, is_read_only=True)
    assert [(row.state, row.run, row.pushed_version) for row in ledger.history()] == [
        ("done", "run-1", str(old)),
        ("done", "run-2", str(new)),
    ]


def images_of_test(examples: pathlib.Path) -> set[bytes]:
    """Pixels of the images in the test split."""
    files = [str(path) for path in (examples / "Split-test").iterdir()]
    parsed = [
        tf.train.Example.FromString(record)
        for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()
    ]
    return {
        tf.io.decode_png(example.features.feature[features.ENCODED].bytes_list.value[0])
        .numpy()
        .tobytes()
        for example in parsed
    }


@pytest.mark.nightly
def test_the_stock_entry_point_does_not_run_there(
    kubeflow: ModuleType, tmp_path: pathlib.Path, monkeypatch
) -> None:
    """Why ours is needed: the first task with an input finds it without a type."""
    monkeypatch.setattr(runner, "COMMAND", ["python", "-m", STOCK_ENTRY_POINT])
    documents = runner.compile_pipeline(tiny("/none"), target(tmp_path))
    spec = load(kubeflow, documents, tmp_path)
    with pytest.raises(kubeflow.TaskFailed, match=r"'ingest'(.|\n)*'title'"):
        kubeflow.Backend(tmp_path).run(spec)


def test_the_spec_names_no_path_of_this_machine(tmp_path: pathlib.Path) -> None:
    project = pathlib.Path(__file__).parents[2]
    documents = runner.compile_pipeline(
        tiny("/slimline/images"), runner.Target(image="x/y:1")
    )
    assert str(project) not in json.dumps(documents)


def test_parameters_have_the_configured_defaults() -> None:
    spec, *others = runner.compile_pipeline(
        tiny("/slimline/images"), runner.Target(image="x/y:1")
    )
    declared = spec["root"]["inputDefinitions"]["parameters"]
    assert {name: value["defaultValue"] for name, value in declared.items()} == {
        "data": "/slimline/images",
        "serving_folder": "/slimline/serving/mnist-tiny",
        "steps": 0,
        "learning_rate": 0.0,
        "slot": "",
    }
    assert not others


def test_a_slot_is_looked_after_by_the_first_task_and_the_push() -> None:
    spec, *_ = runner.compile_pipeline(
        tiny("/slimline/images"), runner.Target(image="x/y:1")
    )
    tasks = spec["root"]["dag"]["tasks"]
    given = {
        name: task["inputs"]["parameters"]["slot"]
        for name, task in tasks.items()
        if "slot" in task["inputs"].get("parameters", {})
    }
    parameter = {"componentInputParameter": "slot"}
    assert given == {"contract": parameter, "push": parameter}
    waits_for_none = [
        name
        for name, task in tasks.items()
        if not task["inputs"].get("artifacts") and not task.get("dependentTasks")
    ]
    assert waits_for_none == ["contract"]


def test_images_are_read_anew_and_the_rest_may_be_cached() -> None:
    spec, *_ = runner.compile_pipeline(
        tiny("/slimline/images"), runner.Target(image="x/y:1")
    )
    cached = {
        name: task["cachingOptions"].get("enableCache", False)
        for name, task in spec["root"]["dag"]["tasks"].items()
    }
    assert not cached.pop("ingest")
    assert all(cached.values())


def test_no_data_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match="needs the path of its images"):
        runner.compile_pipeline(tiny(""), runner.Target(image="x/y:1"))
