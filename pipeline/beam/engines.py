"""Engines that run the Beam jobs of a pipeline: their arguments, checks and processes."""

import contextlib
import dataclasses
import json
import pathlib
import shutil
import socket
from collections.abc import Callable, Iterator

from common.errors import ConfigError
from pipeline.beam import processes
from pipeline.config import EngineConfig

ROOT = pathlib.Path(__file__).parents[2]
CONNECT_SECONDS = 5.0
LOCAL_MASTERS = ("", "[local]", "[auto]", "local")
# The workers have the packages. TFX packs itself for them unless the arguments say so, and
# to name an image is how (tfx.utils.dependency_utils).
_HAVE_PACKAGES = "--sdk_container_image=installed"


def local() -> list[str]:
    """In this process, in memory.

    The runner is named because recent Beam's default tries to download one. TFX builds a
    package of itself for every job that names no dependencies; `setup.py` of a checkout
    stops that.
    """
    arguments = ["--runner=FnApiRunner", "--direct_running_mode=in_memory"]
    setup_file = ROOT / "setup.py"
    if setup_file.is_file():
        arguments.append(f"--setup_file={setup_file}")
    return arguments


def arguments(engine: EngineConfig) -> list[str]:
    """Beam arguments of an engine; the same for every run, for TFX's cache has them in its keys.

    Raises:
      ConfigError: the engine lacks an option, or has one that it does not take.
    """
    preset = ENGINES[engine.name]
    _check_options(engine, preset)
    return preset.arguments(engine)


def check(engine: EngineConfig) -> None:
    """Finds out before a run whether the engine can be reached.

    Raises:
      ConfigError: options that do not fit the engine, a job service that does not answer,
        a file or program that is missing, or no credentials.
    """
    arguments(engine)
    for key in ("job_endpoint", "artifact_endpoint"):
        _check_endpoint(key, getattr(engine, key))
    if engine.environment_type == "EXTERNAL":
        _check_endpoint("environment_config", engine.environment_config)
    if engine.name in ("flink", "spark") and not engine.job_endpoint:
        _check_java(engine)
    if engine.name == "dataflow":
        _check_credentials()


@contextlib.contextmanager
def started(engine: EngineConfig) -> Iterator[None]:
    """Keeps the processes that an engine needs on this machine, if any, until the exit."""
    with contextlib.ExitStack() as stack:
        if has_own_service(engine):
            stack.enter_context(processes.worker_pool())
            stack.enter_context(processes.job_service())
        elif engine.name == "multiprocess":
            stack.enter_context(processes.worker_pool())
        yield


def has_own_service(engine: EngineConfig) -> bool:
    """Whether the engine is Beam's job service, started here for the length of a run."""
    return engine.name == "portable" and not engine.job_endpoint


@dataclasses.dataclass(frozen=True)
class Preset:
    """What distinguishes an engine.

    Attributes:
      arguments: Beam arguments from options that were checked.
      takes: options that it reads; others may not be set.
      needs: options that must be set.
    """

    arguments: Callable[[EngineConfig], list[str]]
    takes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


def _multiprocess(engine: EngineConfig) -> list[str]:
    return [
        "--runner=pipeline.beam.runners.PoolRunner",
        f"--direct_num_workers={engine.workers}",
        _HAVE_PACKAGES,
    ]


def _portable(engine: EngineConfig) -> list[str]:
    if has_own_service(engine):
        return ["--runner=pipeline.beam.runners.JobServiceRunner", _HAVE_PACKAGES]
    return [
        "--runner=PortableRunner",
        *_endpoints(engine),
        *_environment(engine),
        *([f"--sdk_worker_parallelism={engine.workers}"] if engine.workers else []),
    ]


def _flink(engine: EngineConfig) -> list[str]:
    runner = "PortableRunner" if engine.job_endpoint else "FlinkRunner"
    return [
        f"--runner={runner}",
        *_endpoints(engine),
        *_option("flink_master", engine.flink_master),
        *_option("flink_job_server_jar", engine.job_server_jar),
        *([f"--parallelism={engine.workers}"] if engine.workers else []),
        *_environment(engine),
    ]


def _spark(engine: EngineConfig) -> list[str]:
    runner = "PortableRunner" if engine.job_endpoint else "SparkRunner"
    return [
        f"--runner={runner}",
        *_endpoints(engine),
        *_option("spark_master_url", engine.spark_master),
        *_option("spark_job_server_jar", engine.job_server_jar),
        *([f"--sdk_worker_parallelism={engine.workers}"] if engine.workers else []),
        *_environment(engine),
    ]


def _dataflow(engine: EngineConfig) -> list[str]:
    return [
        "--runner=DataflowRunner",
        f"--project={engine.project}",
        f"--region={engine.region}",
        f"--temp_location={engine.bucket.rstrip('/')}/beam-temp",
        f"--sdk_container_image={engine.worker_image}",
        "--experiments=use_runner_v2",
        *_option("service_account_email", engine.service_account),
        *([f"--max_num_workers={engine.workers}"] if engine.workers else []),
    ]


_SERVICE = ("job_endpoint", "artifact_endpoint")
_ENVIRONMENT = ("environment_type", "environment_config")
ENGINES: dict[str, Preset] = {
    "local": Preset(lambda engine: local()),
    "multiprocess": Preset(_multiprocess, ("workers",)),
    "portable": Preset(_portable, ("workers", *_SERVICE, *_ENVIRONMENT)),
    "flink": Preset(
        _flink,
        ("workers", "flink_master", "job_server_jar", *_SERVICE, *_ENVIRONMENT),
    ),
    "spark": Preset(
        _spark,
        ("workers", "spark_master", "job_server_jar", *_SERVICE, *_ENVIRONMENT),
    ),
    "dataflow": Preset(
        _dataflow,
        ("workers", "project", "region", "bucket", "service_account", "worker_image"),
        needs=("project", "region", "bucket", "worker_image"),
    ),
}


def _option(name: str, value: str) -> list[str]:
    return [f"--{name}={value}"] if value else []


def _endpoints(engine: EngineConfig) -> list[str]:
    return [
        *_option("job_endpoint", engine.job_endpoint),
        *_option("artifact_endpoint", engine.artifact_endpoint),
    ]


def _environment(engine: EngineConfig) -> list[str]:
    """Where the workers' Python comes from; a local master has them in this process."""
    kind = engine.environment_type or "LOOPBACK"
    image = engine.environment_config if kind == "DOCKER" else ""
    return [
        f"--environment_type={kind}",
        *_option("environment_config", engine.environment_config),
        f"--sdk_container_image={image}" if image else _HAVE_PACKAGES,
    ]


def _check_options(engine: EngineConfig, preset: Preset) -> None:
    given = [
        field.name
        for field in dataclasses.fields(engine)
        if field.name != "name" and getattr(engine, field.name) != field.default
    ]
    for key in given:
        if key not in preset.takes:
            takers = [name for name, each in ENGINES.items() if key in each.takes]
            raise ConfigError(
                f"engine '{engine.name}' takes no '{key}'",
                expected=", ".join(preset.takes) or "no options",
                tip=f"'engine.{key}' belongs to {', '.join(takers)}",
            )
    for key in preset.needs:
        if not getattr(engine, key):
            raise ConfigError(
                f"engine '{engine.name}' needs 'engine.{key}'",
                tip=f"--beam-option {key}={_EXAMPLES[key]}",
            )
    if engine.bucket and not engine.bucket.startswith("gs://"):
        raise ConfigError(
            "'engine.bucket' is no folder of Google Cloud Storage",
            found=engine.bucket,
            expected=_EXAMPLES["bucket"],
        )
    if set(_ENVIRONMENT) & set(preset.takes):
        _check_environment(engine)


_EXAMPLES = {
    "project": "my-project",
    "region": "europe-west1",
    "bucket": "gs://my-bucket/beam",
    "worker_image": "europe-west1-docker.pkg.dev/my-project/images/slimline:0.1.0",
}


def _check_environment(engine: EngineConfig) -> None:
    kind, config = engine.environment_type, engine.environment_config
    if has_own_service(engine):
        for key in ("workers", "artifact_endpoint", *_ENVIRONMENT):
            if getattr(engine, key):
                raise ConfigError(
                    f"'engine.{key}' belongs to a job service that runs already",
                    tip="--beam-option job_endpoint=HOST:PORT names it; without it the"
                    " run starts one of its own, with one worker",
                )
        return
    master = engine.flink_master or engine.spark_master
    is_local = not engine.job_endpoint and (
        master in LOCAL_MASTERS or master.startswith("local[")
    )
    if not kind and not is_local:
        raise ConfigError(
            f"engine '{engine.name}' needs 'engine.environment_type': where the workers'"
            " Python comes from",
            expected="DOCKER, EXTERNAL, PROCESS or LOOPBACK",
            tip="--beam-option environment_type=DOCKER"
            " --beam-option environment_config=IMAGE, with the project's image",
        )
    if kind in ("", "LOOPBACK"):
        if config:
            raise ConfigError(
                "'engine.environment_config' says nothing without a type",
                tip="--beam-option environment_type=DOCKER, EXTERNAL or PROCESS",
            )
        return
    if not config:
        raise ConfigError(
            f"environment type {kind} needs 'engine.environment_config'",
            expected=_CONFIGS[kind],
        )
    if kind == "PROCESS":
        try:
            has_command = "command" in json.loads(config)
        except (ValueError, TypeError):
            has_command = False
        if not has_command:
            raise ConfigError(
                "'engine.environment_config' names no command",
                found=config,
                expected=_CONFIGS[kind],
            )


_CONFIGS = {
    "DOCKER": "the reference of an image with this project and Beam's boot program",
    "EXTERNAL": "host:port of a pool of Beam workers",
    "PROCESS": '{"command": "/path/to/boot"}',
}


def _check_endpoint(key: str, endpoint: str) -> None:
    if not endpoint:
        return
    host, _, port = endpoint.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(
            f"'engine.{key}' is no address",
            found=endpoint,
            expected="host:port, as localhost:8099",
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS):
            pass
    except OSError as error:
        raise ConfigError(
            f"nothing answers at {endpoint} ('engine.{key}')",
            found=error.strerror or str(error),
            tip="start the service, or check host and port; docs/engines.md has commands",
        ) from error


def _check_java(engine: EngineConfig) -> None:
    """Without a job service Beam starts its own, a program in Java."""
    if shutil.which("java") is None:
        raise ConfigError(
            f"engine '{engine.name}' without a job service needs Java",
            found="no 'java' on PATH",
            tip="install Java 11 or 17, or --beam-option job_endpoint=HOST:PORT of a"
            " service that runs already",
        )
    jar = engine.job_server_jar
    if jar and "://" not in jar and not pathlib.Path(jar).is_file():
        raise ConfigError(f"no file {jar} ('engine.job_server_jar')")


def _check_credentials() -> None:
    import google.auth
    from google.auth import exceptions

    try:
        google.auth.default()
    except exceptions.DefaultCredentialsError as error:
        raise ConfigError(
            "engine 'dataflow' finds no credentials of Google Cloud",
            tip="gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS"
            " with the file of a service account",
        ) from error
