"""The same DAG for Kubeflow Pipelines v2, as a spec in YAML.

It runs on the open-source backend: no resolvers, no drivers, every executor through
`pipeline.kubeflow.entrypoint`, which says what TFX leaves undone there.
"""

import dataclasses
import pathlib
from typing import Any

from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)

from common.errors import ConfigError
from components.image_example_gen import spans
from pipeline import dag, inputs
from pipeline.beam import engines
from pipeline.config import EngineConfig, PipelineConfig
from pipeline.kubeflow import entrypoint, kubernetes_settings, slots
from pipeline.kubeflow.kubernetes_settings import KubernetesSettings
from pipeline.kubeflow.package import SCHEMA_VERSION, SERVING_FOLDER, STRING
from pushed_models import versions
from trainer import precision

COMMAND = ["python", "-m", "pipeline.kubeflow.entrypoint"]
# Where the volume with images and models is mounted by default.
SHARED_FOLDER = "/slimline"
# Parameters of a run.
DATA = "data"
STEPS = "steps"
LEARNING_RATE = "learning_rate"
INGEST = "ingest"
# Tasks that look after the slot of a schedule: all others wait for the first of the two.
CONTRACT = "contract"
PUSH = "push"
VERTEX_SCHEMA = "2.0.0"
GCS_SCHEME = "gs://"
_OWN_HOST = ("localhost", "127.0.0.1", "[::1]")


@dataclasses.dataclass(frozen=True)
class Target:
    """Where a compiled pipeline is to run.

    Attributes:
      image: reference of the project's image.
      pipeline_root: bucket folder of the artifacts (minio://, s3://, gs://); '' leaves it
        to the backend's default.
      serving_folder: of the models, on a volume; '' is `/slimline/serving`.
      kubernetes: volumes, resources, nodes and retries.
      schema_version: '2.1.0' for Kubeflow, '2.0.0' for Vertex AI.
    """

    image: str
    pipeline_root: str = ""
    serving_folder: str = ""
    kubernetes: KubernetesSettings = dataclasses.field(
        default_factory=KubernetesSettings
    )
    schema_version: str = SCHEMA_VERSION

    @property
    def is_vertex(self) -> bool:
        """Whether it is Vertex AI."""
        return self.schema_version == VERTEX_SCHEMA


def dag_runner(target: Target) -> KubeflowV2DagRunner:
    """TFX's compiler for `target`."""
    return KubeflowV2DagRunner(
        KubeflowV2DagRunnerConfig(
            default_image=target.image,
            default_commands=COMMAND,
            use_pipeline_spec_2_1=not target.is_vertex,
        )
    )


def compile_pipeline(
    config: PipelineConfig, target: Target, compiler: KubeflowV2DagRunner | None = None
) -> list[dict[str, Any]]:
    """Documents of the YAML file: the pipeline spec, and the platform's where there is one.

    For Vertex AI one document: a pipeline job with spec and values of the parameters.

    Data, serving folder, steps and rate are parameters of the pipeline; their defaults are
    those of `config` and `target`. On Kubeflow the slot of a schedule is another.

    Args:
      config: the experiment; `data.path` is where the containers see the images.
      target: where it is to run.
      compiler: `dag_runner(target)` by default.

    Raises:
      ConfigError: no data or contract named, or settings that cannot work there.
    """
    config = with_precision(config, target.kubernetes.gpus)
    if target.is_vertex:
        config, target = _for_vertex(config, target)
    if not config.data.path:
        raise ConfigError(
            f"experiment '{config.name}' needs the path of its images on the cluster",
            tip=f"--data {SHARED_FOLDER}/images, on a volume that --volume mounts",
        )
    if config.data.span != spans.NEWEST:
        raise ConfigError(
            "setting 'data.span' holds for runs on this machine only",
            found=str(config.data.span),
            tip="on the cluster the newest span of the pattern is read; name one by its"
            " path: --data",
        )
    # The path is the cluster's: it is not looked for here.
    inputs.check(
        dataclasses.replace(config, data=dataclasses.replace(config.data, path=""))
    )
    path = pathlib.Path(config.data.path)
    found = inputs.contract_for(config, path)
    serving = target.serving_folder or f"{SHARED_FOLDER}/{versions.SERVING_FOLDER}"
    defaults = {
        DATA: config.data.path,
        SERVING_FOLDER: f"{serving}/{inputs.model_name(config, path)}",
        STEPS: 0,
        LEARNING_RATE: 0.0,
    }
    parameters = {
        key: RuntimeParameter(name=key, ptype=type(default), default=default)
        for key, default in defaults.items()
    }
    pipeline = dag.create_pipeline(
        config,
        found,
        dag.Locations(
            pipeline_root=target.pipeline_root,
            serving_folder=parameters[SERVING_FOLDER],
            input_path=parameters[DATA],
            input_fingerprint="",
        ),
        pipeline_name=inputs.identity(config, path),
        beam_arguments=_beam_arguments(config.engine, target),
        run_values=dag.RunValues(
            steps=parameters[STEPS], learning_rate=parameters[LEARNING_RATE]
        ),
    )
    job = (compiler or dag_runner(target)).run(
        pipeline,
        parameter_values=defaults if target.is_vertex else None,
        write_out=False,
    )
    spec = job["pipelineSpec"]
    if not target.is_vertex:
        # TFX declares the parameters and drops their defaults.
        for key, default in defaults.items():
            declared = spec["root"]["inputDefinitions"]["parameters"][key]
            declared |= {"defaultValue": default, "isOptional": True}
        _add_slot(spec)
    if target.pipeline_root:
        spec["defaultPipelineRoot"] = target.pipeline_root
    # The backend's cache compares parameters, not files: images may change in their place.
    spec["root"]["dag"]["tasks"][INGEST]["cachingOptions"] = {}
    kubernetes_settings.set_resources(spec, target.kubernetes)
    kubernetes_settings.set_retries(spec, target.kubernetes)
    platform = kubernetes_settings.platform_spec(spec, target.kubernetes)
    if not target.is_vertex:
        return [spec, platform] if platform else [spec]
    if platform:
        raise ConfigError(
            "Vertex AI takes no volumes, tolerations, node selectors or pull secrets",
            tip="buckets are mounted there, gs://BUCKET as /gcs/BUCKET",
        )
    return [job]


def with_precision(config: PipelineConfig, gpus: int) -> PipelineConfig:
    """`train.precision=auto` as what every node computes, since the node is not known yet.

    The cache compares settings: under 'auto' it would take the model of another format from
    a node with another processor.
    """
    if config.train.precision != precision.AUTO:
        return config
    chosen: Any = precision.FLOAT16 if gpus else precision.FLOAT32
    train = dataclasses.replace(config.train, precision=chosen)
    return dataclasses.replace(config, train=train)


def _add_slot(spec: dict[str, Any]) -> None:
    """Gives the slot of a schedule to the tasks that look after it.

    Not by way of TFX: no component knows of it (`entrypoint`).
    """
    root = spec["root"]
    root["inputDefinitions"]["parameters"][slots.SLOT] = {
        "parameterType": STRING,
        "defaultValue": "",
        "isOptional": True,
    }
    for name in (CONTRACT, PUSH):
        task = root["dag"]["tasks"][name]
        component = spec["components"][task["componentRef"]["name"]]
        for key, parameter in (
            (slots.SLOT, slots.SLOT),
            (slots.FOLDER, SERVING_FOLDER),
        ):
            task["inputs"]["parameters"][key] = {"componentInputParameter": parameter}
            component["inputDefinitions"]["parameters"][key] = {"parameterType": STRING}


def _for_vertex(
    config: PipelineConfig, target: Target
) -> tuple[PipelineConfig, Target]:
    """The same with paths as the containers of Vertex AI see them: gs:// below /gcs."""
    if not target.pipeline_root.startswith(GCS_SCHEME):
        raise ConfigError(
            "Vertex AI needs a pipeline root in Google Cloud Storage",
            found=target.pipeline_root or "none",
            expected="gs://BUCKET/FOLDER",
        )
    serving = target.serving_folder or f"{target.pipeline_root.rstrip('/')}/serving"
    data = dataclasses.replace(config.data, path=_mounted(config.data.path))
    return (
        dataclasses.replace(config, data=data),
        dataclasses.replace(target, serving_folder=_mounted(serving)),
    )


def _mounted(path: str) -> str:
    if path.startswith(GCS_SCHEME):
        return f"/gcs/{path.removeprefix(GCS_SCHEME)}"
    return path


def _beam_arguments(engine: EngineConfig, target: Target) -> list[str]:
    """Beam arguments of an engine that works in a container.

    Those of the local one are found there: they name paths of the container.

    Raises:
      ConfigError: the engine cannot work there.
    """
    if engine.name == "local":
        return []
    if engine.name == "multiprocess":
        if not engine.workers:
            raise ConfigError(
                "engine 'multiprocess' of a compiled pipeline needs 'engine.workers'",
                found="0, which is one per processor of the node, whatever --cpu allows",
                tip="--set engine.workers=4 with --cpu all=4, and memory for each of them",
            )
        return engines.arguments(engine)
    if engine.name != "dataflow":
        _check_job_service(engine)
    folders = [folder.rstrip("/") for folder in entrypoint.LOCAL_FOLDERS.values()]
    if not (target.is_vertex or any(map(target.kubernetes.mounts, folders))):
        raise ConfigError(
            f"the workers of engine '{engine.name}' do not see the artifacts, which"
            " Kubeflow copies into the container of each task",
            expected=f"a --volume at {', '.join(folders)} that the workers mount, too",
            tip="engine.name=local works in the container, multiprocess in several"
            " processes there",
        )
    return engines.arguments(engine)


def _check_job_service(engine: EngineConfig) -> None:
    """Finds out whether a container can reach the job service, and the service its workers."""
    host = engine.job_endpoint.rpartition(":")[0]
    if not host or host in _OWN_HOST:
        raise ConfigError(
            f"engine '{engine.name}' of a compiled pipeline needs 'engine.job_endpoint'",
            found=engine.job_endpoint,
            tip="--set engine.job_endpoint=HOST:PORT, as the containers reach it",
        )
    if engine.environment_type == "LOOPBACK":
        raise ConfigError(
            "'engine.environment_type' LOOPBACK has the workers in the container, where"
            " no job service reaches them",
            expected="DOCKER, EXTERNAL or PROCESS",
        )
