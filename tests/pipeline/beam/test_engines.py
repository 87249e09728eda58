"""Options and checks of the engines; nothing is run."""

import dataclasses
import pathlib
import shutil
import socket

import google.auth
import pytest
from apache_beam.options import pipeline_options
from apache_beam.runners import runner
from google.auth import exceptions

from common.errors import ConfigError
from pipeline import settings
from pipeline.beam import engines, runners
from pipeline.config import EngineConfig

IMAGE = "registry/slimline:1"
DATAFLOW = EngineConfig(
    name="dataflow",
    project="p",
    region="europe-west1",
    bucket="gs://bucket/beam/",
    worker_image=IMAGE,
)


@pytest.fixture
def listening():
    """'localhost:PORT' of a service that answers."""
    with socket.create_server(("localhost", 0)) as server:
        yield f"localhost:{server.getsockname()[1]}"


@pytest.fixture
def silent() -> str:
    """'localhost:PORT' where nothing answers."""
    with socket.create_server(("localhost", 0)) as server:
        return f"localhost:{server.getsockname()[1]}"


def test_every_engine_has_its_preset() -> None:
    field = EngineConfig.__dataclass_fields__["name"]
    assert tuple(engines.ENGINES) == field.type.__args__
    options = {field.name for field in dataclasses.fields(EngineConfig)} - {"name"}
    taken = {key for preset in engines.ENGINES.values() for key in preset.flags}
    assert taken == options


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        (
            EngineConfig(name="multiprocess", workers=3),
            ["--runner=pipeline.beam.runners.PoolRunner", "--direct_num_workers=3"],
        ),
        (
            EngineConfig(name="portable"),
            ["--runner=pipeline.beam.runners.JobServiceRunner"],
        ),
        (
            EngineConfig(
                name="portable",
                workers=4,
                job_endpoint="beam:8099",
                artifact_endpoint="beam:8098",
                environment_type="EXTERNAL",
                environment_config="beam:50000",
            ),
            [
                "--runner=PortableRunner",
                "--job_endpoint=beam:8099",
                "--artifact_endpoint=beam:8098",
                "--environment_type=EXTERNAL",
                "--environment_config=beam:50000",
                "--sdk_worker_parallelism=4",
            ],
        ),
        (
            EngineConfig(
                name="flink",
                workers=8,
                flink_master="flink:8081",
                environment_type="DOCKER",
                environment_config=IMAGE,
            ),
            [
                "--runner=FlinkRunner",
                "--flink_master=flink:8081",
                "--parallelism=8",
                "--environment_type=DOCKER",
                f"--environment_config={IMAGE}",
                f"--sdk_container_image={IMAGE}",
            ],
        ),
        (
            EngineConfig(name="spark", spark_master="local[2]"),
            [
                "--runner=SparkRunner",
                "--spark_master_url=local[2]",
                "--environment_type=LOOPBACK",
            ],
        ),
        (
            dataclasses.replace(DATAFLOW, workers=10, service_account="a@p"),
            [
                "--runner=DataflowRunner",
                "--project=p",
                "--region=europe-west1",
                "--temp_location=gs://bucket/beam/beam-temp",
                f"--sdk_container_image={IMAGE}",
                "--service_account_email=a@p",
                "--max_num_workers=10",
            ],
        ),
    ],
    ids=lambda value: value.name if isinstance(value, EngineConfig) else "",
)
def test_arguments(engine: EngineConfig, expected: list[str]) -> None:
    found = engines.arguments(engine)
    assert [word for word in found if word in expected] == expected
    # Beam knows every one of them, and TFX does not pack itself for the workers.
    options = pipeline_options.PipelineOptions(found)
    assert (
        not options.get_all_options(drop_default=True).keys()
        - {word.removeprefix("--").partition("=")[0] for word in found}
        - {"spark_master_url", "worker_harness_container_image", "max_num_workers"}
    )
    assert any(word.startswith("--sdk_container_image=") for word in found)


def test_local_needs_no_download_and_no_package() -> None:
    assert engines.arguments(EngineConfig())[:2] == [
        "--runner=FnApiRunner",
        "--direct_running_mode=in_memory",
    ]


@pytest.mark.parametrize("name", ["multiprocess", "portable"])
def test_beam_finds_our_runners(name: str) -> None:
    (found, *_) = engines.arguments(EngineConfig(name=name))
    made = runner.create_runner(found.partition("=")[2])
    kinds = (runners.PoolRunner, runners.JobServiceRunner)
    assert isinstance(made, kinds)


@pytest.mark.parametrize(
    ("engine", "message", "tip"),
    [
        (
            EngineConfig(workers=2),
            "engine 'local' takes no 'workers'",
            "'engine.workers' belongs to multiprocess, portable, flink",
        ),
        (
            EngineConfig(name="flink", spark_master="spark://s:7077"),
            "engine 'flink' takes no 'spark_master'",
            "belongs to spark",
        ),
        (
            EngineConfig(name="portable", workers=2),
            "'engine.workers' belongs to a job service that runs already",
            "job_endpoint=HOST:PORT",
        ),
        (
            EngineConfig(name="flink", flink_master="flink:8081"),
            "engine 'flink' needs 'engine.environment_type'",
            "environment_type=DOCKER",
        ),
        (
            EngineConfig(name="spark", job_endpoint="s:1", environment_type="DOCKER"),
            "environment type DOCKER needs 'engine.environment_config'",
            "",
        ),
        (
            EngineConfig(
                name="flink", environment_type="PROCESS", environment_config="boot"
            ),
            "'engine.environment_config' names no command",
            "",
        ),
        (
            EngineConfig(name="spark", environment_config=IMAGE),
            "'engine.environment_config' has no effect without a type",
            "DOCKER",
        ),
        (
            dataclasses.replace(DATAFLOW, bucket=""),
            "engine 'dataflow' needs 'engine.bucket'",
            "--beam-option bucket=gs://my-bucket/beam",
        ),
        (
            dataclasses.replace(DATAFLOW, region=""),
            "engine 'dataflow' needs 'engine.region'",
            "--beam-option region=europe-west1",
        ),
        (
            dataclasses.replace(DATAFLOW, bucket="s3://bucket"),
            "'engine.bucket' is not a folder of Google Cloud Storage",
            "",
        ),
    ],
)
def test_options_that_cannot_be(engine: EngineConfig, message: str, tip: str) -> None:
    with pytest.raises(ConfigError) as error:
        engines.check(engine)
    assert error.value.message.startswith(message)
    assert tip in error.value.tip


def portable(endpoint: str) -> EngineConfig:
    return EngineConfig(
        name="portable", job_endpoint=endpoint, environment_type="LOOPBACK"
    )


def test_a_job_service_is_looked_for(listening: str, silent: str) -> None:
    engines.check(portable(listening))
    with pytest.raises(ConfigError, match=f"nothing answers at {silent}") as error:
        engines.check(portable(silent))
    assert error.value.found == "Connection refused"
    assert "docs/engines.md" in error.value.tip


@pytest.mark.parametrize("endpoint", ["beam", "beam:", ":8099", "beam:http", "b:99999"])
def test_an_endpoint_is_an_address(endpoint: str) -> None:
    with pytest.raises(ConfigError, match=r"'engine.job_endpoint' is not an address"):
        engines.check(portable(endpoint))


def test_a_pool_of_workers_is_looked_for(listening: str, silent: str) -> None:
    engine = EngineConfig(
        name="flink",
        job_endpoint=listening,
        environment_type="EXTERNAL",
        environment_config=silent,
    )
    with pytest.raises(ConfigError, match=r"\('engine.environment_config'\)"):
        engines.check(engine)


def test_a_name_that_does_not_resolve() -> None:
    with pytest.raises(ConfigError, match=r"nothing answers at nowhere\.invalid:1"):
        engines.check(portable("nowhere.invalid:1"))


def test_without_a_service_java_is_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, listening: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="needs Java") as error:
        engines.check(EngineConfig(name="flink"))
    assert error.value.found == "no 'java' on PATH"
    engines.check(
        EngineConfig(name="flink", job_endpoint=listening, environment_type="LOOPBACK")
    )
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/java")
    engines.check(EngineConfig(name="spark"))
    jar = str(tmp_path / "server.jar")
    with pytest.raises(ConfigError, match=r"no file .*server\.jar"):
        engines.check(EngineConfig(name="spark", job_server_jar=jar))


def test_dataflow_needs_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(google.auth, "default", lambda: (object(), "p"))
    engines.check(DATAFLOW)

    def none() -> None:
        raise exceptions.DefaultCredentialsError("none")

    monkeypatch.setattr(google.auth, "default", none)
    with pytest.raises(ConfigError, match="no credentials of Google Cloud"):
        engines.check(DATAFLOW)


def test_options_are_settings(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "engine.yaml"
    file.write_text("engine: {name: portable, job_endpoint: 'beam:1'}\n")
    resolved = settings.resolve(
        "digits_resnet_20",
        config_file=file,
        engine="flink",
        engine_options=["workers=4", "environment_type=LOOPBACK"],
        environment={"SLIMLINE_ENGINE__ARTIFACT_ENDPOINT": "beam:2"},
    )
    assert resolved.config.engine == EngineConfig(
        name="flink",
        workers=4,
        job_endpoint="beam:1",
        artifact_endpoint="beam:2",
        environment_type="LOOPBACK",
    )
    assert resolved.origins["engine.name"] == "--beam-runner"
    assert resolved.origins["engine.workers"] == "--beam-option"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("workers", "--beam-option takes key=value"),
        ("worker=2", "unknown setting 'engine.worker' (--beam-option)"),
        ("workers=many", "setting 'engine.workers' does not fit (--beam-option)"),
    ],
)
def test_mistakes_in_options(option: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        settings.engine("multiprocess", [option])
    assert error.value.message == message


def test_one_engine_in_two_ways_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"'engine.name' is given twice"):
        settings.resolve(
            "digits_resnet_20",
            engine="flink",
            assignments=["engine.name=spark"],
            environment={},
        )
