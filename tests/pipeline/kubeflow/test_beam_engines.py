"""Beam engines of a compiled pipeline: those that work in a container."""

import dataclasses

import pytest

from common.errors import ConfigError
from pipeline import experiments
from pipeline.config import EngineConfig
from pipeline.kubeflow import runner
from pipeline.kubeflow.kubernetes_settings import KubernetesSettings


def arguments(engine: EngineConfig, **volumes: str) -> list[str]:
    """Beam arguments of a component of the pipeline for Kubeflow."""
    config = experiments.tiny(experiments.find("digits_resnet_20"))
    data = dataclasses.replace(config.data, path="/slimline/images")
    config = dataclasses.replace(config, data=data, engine=engine)
    mounts = {f"/{path}": claim for path, claim in volumes.items()}
    spec, *_ = runner.compile_pipeline(
        config, runner.Target("x/y:1", kubernetes=KubernetesSettings(volumes=mounts))
    )
    executor = spec["deploymentSpec"]["executors"]["statistics_executor"]
    words = executor["container"]["args"]
    return [
        word for word in words if word.startswith(("--runner", "--direct", "--job"))
    ]


def test_those_of_the_container() -> None:
    assert arguments(EngineConfig()) == []
    assert arguments(EngineConfig(name="multiprocess", workers=4)) == [
        "--runner=pipeline.beam.runners.PoolRunner",
        "--direct_num_workers=4",
    ]


FLINK = EngineConfig(
    name="flink",
    job_endpoint="flink:8099",
    environment_type="EXTERNAL",
    environment_config="localhost:50000",
)


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (EngineConfig(name="multiprocess"), "'multiprocess' .* needs 'engine.workers'"),
        (EngineConfig(name="portable"), "'portable' .* needs 'engine.job_endpoint'"),
        (
            dataclasses.replace(FLINK, job_endpoint="localhost:8099"),
            "'flink' of a compiled pipeline needs 'engine.job_endpoint'",
        ),
        (
            dataclasses.replace(
                FLINK, environment_type="LOOPBACK", environment_config=""
            ),
            "LOOPBACK has the workers in the container",
        ),
        (FLINK, "workers of engine 'flink' do not see the artifacts"),
        (EngineConfig(name="dataflow"), "workers of engine 'dataflow' do not see"),
    ],
)
def test_those_that_cannot_work(engine: EngineConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        arguments(engine)


def test_workers_elsewhere_that_mount_the_folder_of_the_artifacts() -> None:
    assert arguments(FLINK, minio="artifacts") == [
        "--runner=PortableRunner",
        "--job_endpoint=flink:8099",
    ]
