"""Engines that run the Beam jobs of a pipeline: their arguments, checks and processes."""

import contextlib
import dataclasses
import json
import pathlib
import shutil
import socket
from collections.abc import Iterator, Mapping

from common.errors import ConfigError
from pipeline.beam import processes
from pipeline.config import EngineConfig

ROOT = pathlib.Path(__file__).parents[2]
CONNECT_SECONDS = 5.0
LOCAL_MASTERS = ("", "[local]", "[auto]", "local")
# The workers have the packages: TFX packs itself for them unless the arguments name an image
# (tfx.utils.dependency_utils).
_HAVE_PACKAGES = "--sdk_container_image=installed"


def local() -> list[str]:
    """In this process, in memory.

    Names the runner because recent Beam's default tries to download one. TFX packs itself
    for every job that names no dependencies; `setup.py` of a checkout prevents that.
    """
    arguments = ["--runner=FnApiRunner", "--direct_running_mode=in_memory"]
    setup_file = ROOT / "setup.py"
    if setup_file.is_file():
        arguments.append(f"--setup_file={setup_file}")
    return arguments


def arguments(engine: EngineConfig) -> list[str]:
    """Beam arguments of an engine, the same in every run: TFX's cache compares them.

    Raises:
      ConfigError: the engine lacks an option, or has one that it does not take.
    """
    preset = ENGINES[engine.name]
    _check_options(engine, preset)
    if engine.name == "local":
        return local()
    if engine.name == "multiprocess":
        workers = f"--direct_num_workers={engine.workers}"
        return ["--runner=pipeline.beam.runners.PoolRunner", workers, _HAVE_PACKAGES]
    if has_own_service(engine):
        return ["--runner=pipeline.beam.runners.JobServiceRunner", _HAVE_PACKAGES]
    runner = "PortableRunner" if engine.job_endpoint else preset.runner
    values = dataclasses.asdict(engine)
    if engine.name == "dataflow":
        values["bucket"] = f"{engine.bucket.rstrip('/')}/beam-temp"
        last = "--experiments=use_runner_v2"
    else:
        # A master on this machine has its workers in this process.
        values["environment_type"] = engine.environment_type or "LOOPBACK"
        last = _HAVE_PACKAGES
        if engine.environment_type == "DOCKER":
            last = f"--sdk_container_image={engine.environment_config}"
    flags = preset.flags.items()
    given = [f"--{flag}={values[option]}" for option, flag in flags if values[option]]
    return [f"--runner={runner}", *given, last]


def check(engine: EngineConfig) -> None:
    """Checks before a run that the engine can be reached.

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
    """Runs the processes that an engine needs on this machine, if any, during the block."""
    with contextlib.ExitStack() as stack:
        if has_own_service(engine) or engine.name == "multiprocess":
            stack.enter_context(processes.worker_pool())
        if has_own_service(engine):
            stack.enter_context(processes.job_service())
        yield


def has_own_service(engine: EngineConfig) -> bool:
    """Whether the run starts Beam's job service itself."""
    return engine.name == "portable" and not engine.job_endpoint


@dataclasses.dataclass(frozen=True)
class Preset:
    """What distinguishes an engine.

    Attributes:
      runner: Beam's name for it.
      flags: option that it takes -> flag of Beam; other options may not be set.
      needs: options that must be set.
    """

    runner: str = ""
    flags: Mapping[str, str] = dataclasses.field(default_factory=dict)
    needs: tuple[str, ...] = ()


_SERVICE = {"job_endpoint": "job_endpoint", "artifact_endpoint": "artifact_endpoint"}
_ENVIRONMENT = {
    "environment_type": "environment_type",
    "environment_config": "environment_config",
}
ENGINES: dict[str, Preset] = {
    "local": Preset(),
    "multiprocess": Preset(flags={"workers": "direct_num_workers"}),
    "portable": Preset(
        "PortableRunner",
        {**_SERVICE, **_ENVIRONMENT, "workers": "sdk_worker_parallelism"},
    ),
    "flink": Preset(
        "FlinkRunner",
        {
            **_SERVICE,
            "flink_master": "flink_master",
            "job_server_jar": "flink_job_server_jar",
            "workers": "parallelism",
            **_ENVIRONMENT,
        },
    ),
    "spark": Preset(
        "SparkRunner",
        {
            **_SERVICE,
            "spark_master": "spark_master_url",
            "job_server_jar": "spark_job_server_jar",
            "workers": "sdk_worker_parallelism",
            **_ENVIRONMENT,
        },
    ),
    "dataflow": Preset(
        "DataflowRunner",
        {
            "project": "project",
            "region": "region",
            "bucket": "temp_location",
            "worker_image": "sdk_container_image",
            "service_account": "service_account_email",
            "workers": "max_num_workers",
        },
        needs=("project", "region", "bucket", "worker_image"),
    ),
}


def _check_options(engine: EngineConfig, preset: Preset) -> None:
    for key, value in dataclasses.asdict(engine).items():
        if value and key not in ("name", *preset.flags):
            takers = [name for name, each in ENGINES.items() if key in each.flags]
            raise ConfigError(
                f"engine '{engine.name}' takes no '{key}'",
                expected=", ".join(preset.flags) or "no options",
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
            "'engine.bucket' is not a folder of Google Cloud Storage",
            found=engine.bucket,
            expected=_EXAMPLES["bucket"],
        )
    if "environment_type" in preset.flags:
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
                    tip="name it with --beam-option job_endpoint=HOST:PORT; without it the"
                    " run starts its own, with one worker",
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
                "'engine.environment_config' has no effect without a type",
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
            f"'engine.{key}' is not an address",
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
    """Without a job service Beam starts its own, which needs Java."""
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
