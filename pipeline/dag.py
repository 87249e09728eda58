"""The DAG: from raw images to a pushed model."""

import dataclasses
import json
import pathlib
from typing import Any

from tfx import components as tfx_components
from tfx import types
from tfx.dsl.components.base import base_component
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.data_types import RuntimeParameter
from tfx.proto import bulk_inferrer_pb2, infra_validator_pb2, transform_pb2

from components import nodes
from components.baseline_model import node as baseline_model
from components.baseline_model.component import BaselineModel
from components.data_contract import node as data_contract
from components.data_contract.component import DataContract
from components.example_validator import distances
from components.example_validator import node as example_validator
from components.example_validator.component import ExampleValidator
from components.image_example_gen import node as image_example_gen
from components.image_example_gen.component import ImageExampleGen
from components.infra_check import node as infra_check
from components.infra_check import rules
from components.infra_check.component import InfraCheck
from components.model_evaluator import analysis
from components.model_evaluator import node as model_evaluator
from components.model_evaluator.component import ModelEvaluator
from components.model_pusher import node as model_pusher
from components.model_pusher.component import ModelPusher
from components.net_trainer import node as net_trainer
from components.net_trainer.component import NetTrainer
from pipeline import answers, evaluation, fingerprint, limits
from pipeline.config import BulkInferenceConfig, InfraConfig, PipelineConfig
from pushed_models import signatures
from schema import features, orientation
from schema.contract import Contract
from trainer.config import as_json
from trainer.weights import store

PREPROCESSING_FN = "trainer.preprocessing.preprocessing_fn"
RUN_FN = "trainer.task.run_fn"
# The model server of the TensorFlow that trains, and how many Examples it is asked.
TF_SERVING_TAG = "2.16.1"
TF_SERVING_REQUESTS = 20


def _inferred(outputs: nodes.Outputs) -> nodes.Outcome:
    logs = pathlib.Path(nodes.only(outputs, "inference_result").uri)
    has_logs = any(logs.glob("prediction_logs*"))
    return nodes.Outcome(str(logs) if has_logs else "no answers: model refused")


# Component -> the settings that it reads, and its progress line.
NODES = {
    "contract": data_contract.NODE,
    "ingest": image_example_gen.NODE,
    "statistics": nodes.Node(),
    "check": example_validator.NODE,
    "transform": nodes.Node(("preprocessing",)),
    "train": net_trainer.NODE,
    "baseline": baseline_model.NODE,
    "evaluate": model_evaluator.NODE,
    "infra": infra_check.NODE,
    "push": model_pusher.NODE,
    "infer": nodes.Node(describe=_inferred),
}


def describe(component: str, outputs: nodes.Outputs) -> nodes.Outcome:
    """The progress line of a finished component."""
    return NODES[component].describe(outputs)


@dataclasses.dataclass(frozen=True)
class Locations:
    """Where a run reads and writes.

    Attributes:
      pipeline_root: TFX's artifacts.
      serving_folder: the model's versions.
      input_path: raw images, folder or archive, or a pattern of spans.
      input_fingerprint: of their content, '' where the compiling machine cannot see it.
      input_spans: which spans of a pattern are read (`spans.pin`), '' the newest.
    """

    pipeline_root: str
    serving_folder: str | RuntimeParameter
    input_path: str | RuntimeParameter
    input_fingerprint: str
    input_spans: str = ""


@dataclasses.dataclass(frozen=True)
class RunValues:
    """What may still be given when a compiled pipeline is started; 0 is as configured."""

    steps: int | RuntimeParameter = 0
    learning_rate: float | RuntimeParameter = 0.0


def create_pipeline(
    config: PipelineConfig,
    contract: Contract,
    locations: Locations,
    beam_arguments: list[str],
    *,
    pipeline_name: str,
    metadata_path: pathlib.Path | None = None,
    use_cache: bool = True,
    deploys: bool = True,
    run_values: RunValues = RunValues(),
) -> tfx_pipeline.Pipeline:
    """TFX pipeline of an experiment.

    Args:
      config: the experiment.
      contract: schema and labels of its data.
      locations: where it reads and writes.
      beam_arguments: engine of the Beam jobs (`pipeline.beam.engines`).
      pipeline_name: [a-z0-9][a-z0-9-]*, under which TFX finds what earlier runs left
        (`inputs.identity`).
      metadata_path: SQLite file of ML Metadata; None where the orchestrator brings its
        own store.
      use_cache: False runs every component again.
      deploys: False leaves out the push and the check of the served model.
      run_values: steps and rate over those of `config`.
    """
    schema_gen = DataContract(
        schema_pbtxt=contract.schema_pbtxt,
        source_fingerprint=_fingerprint(DataContract),
    ).with_id("contract")
    schema = schema_gen.outputs["schema"]
    example_gen = ImageExampleGen(
        contract=schema,
        input_path=locations.input_path,
        input_format=config.data.format,
        input_answers=answers.of(config.data).to_json(),
        input_fingerprint=locations.input_fingerprint,
        input_spans=locations.input_spans,
        window_spans=config.data.window_spans,
        eval_fraction=config.data.eval_fraction,
        test_fraction=config.data.test_fraction,
        split_seed=config.data.split_seed,
        max_unreadable_share=config.data.max_unreadable_share,
        channels=config.preprocessing.channels,
        source_fingerprint=_fingerprint(ImageExampleGen),
    ).with_id("ingest")
    examples = example_gen.outputs["examples"]
    statistics = tfx_components.StatisticsGen(examples=examples, schema=schema).with_id(
        "statistics"
    )
    check = ExampleValidator(
        statistics=statistics.outputs["statistics"],
        schema=schema,
        examples=examples,
        serving_folder=locations.serving_folder,
        limits=_as_text(limits.of(distances.Limits, config.data)),
        source_fingerprint=_fingerprint(ExampleValidator),
    ).with_id("check")
    transform = tfx_components.Transform(
        examples=examples,
        schema=schema,
        preprocessing_fn=PREPROCESSING_FN,
        splits_config=transform_pb2.SplitsConfig(
            analyze=[features.TRAIN], transform=list(features.SPLITS)
        ),
        materialize=False,
        disable_analyzer_cache=True,
        disable_statistics=True,
        custom_config={
            "preprocessing": as_json(config.preprocessing),
            # For the model card: the rule is in the graph, and older graphs have none.
            "orientation": orientation.RULE,
            "source_fingerprint": fingerprint.source(PREPROCESSING_FN),
        },
    ).with_id("transform")
    # Nothing is computed from data that broke their contract.
    transform.add_upstream_node(check)
    train = NetTrainer(
        examples=examples,
        transform_graph=transform.outputs["transform_graph"],
        schema=schema,
        train_args=json.dumps({"splits": [features.TRAIN]}),
        eval_args=json.dumps({"splits": [features.EVAL]}),
        run_fn=RUN_FN,
        custom_config=json.dumps(
            {
                "config": as_json(config.trainer),
                "source_fingerprint": _fingerprint(NetTrainer, RUN_FN),
                "weights_fingerprint": store.fingerprint(config.train.weights),
            }
        ),
        steps=run_values.steps,
        learning_rate=run_values.learning_rate,
    ).with_id("train")
    model = train.outputs["model"]
    baseline = BaselineModel(
        model=model,
        serving_folder=locations.serving_folder,
        source_fingerprint=_fingerprint(BaselineModel),
    ).with_id("baseline")
    evaluate = ModelEvaluator(
        examples=examples,
        model=model,
        baseline_model=baseline.outputs["baseline_model"],
        settings=_as_text(
            analysis.Settings(
                labels=tuple(contract.labels),
                top_k=config.evaluation.top_k,
                traits=config.evaluation.slices,
            )
        ),
        limits=_as_text(evaluation.limits(config.evaluation)),
        split=features.TEST,
        source_fingerprint=_fingerprint(ModelEvaluator),
    ).with_id("evaluate")
    components = [
        schema_gen,
        example_gen,
        statistics,
        check,
        transform,
        train,
        baseline,
        evaluate,
    ]
    if deploys:
        validator = _infra_check(
            config.infra, train.outputs, schema=schema, examples=examples
        ).with_id("infra")
        push = ModelPusher(
            model=model,
            model_blessing=evaluate.outputs["blessing"],
            infra_blessing=validator.outputs["blessing"],
            profile=check.outputs["profile"],
            serving_folder=locations.serving_folder,
            is_gate_open=int(evaluation.limits(config.evaluation).is_open),
            force_reason=config.serving.force_push,
            source_fingerprint=_fingerprint(ModelPusher),
        ).with_id("push")
        components += [validator, push]
        if config.bulk_inference.splits:
            infer = _bulk_inference(
                config.bulk_inference,
                examples=examples,
                model=model,
                blessing=evaluate.outputs["blessing"],
            ).with_id("infer")
            components.append(infer)
    return tfx_pipeline.Pipeline(
        pipeline_name=pipeline_name,
        pipeline_root=locations.pipeline_root,
        components=components,
        enable_cache=use_cache,
        metadata_connection_config=(
            metadata.sqlite_metadata_connection_config(str(metadata_path))
            if metadata_path
            else None
        ),
        beam_pipeline_args=beam_arguments,
    )


def _as_text(settings: Any) -> str:
    """A dataclass as JSON, which an execution property can carry."""
    return json.dumps(dataclasses.asdict(settings))


def _fingerprint(
    component: type[base_component.BaseComponent], *entry_points: str
) -> str:
    """Of the code of a component of ours, and of what it calls by dotted path."""
    return fingerprint.source(component.__module__, *entry_points)


def _bulk_inference(
    config: BulkInferenceConfig,
    *,
    examples: types.BaseChannel,
    model: types.BaseChannel,
    blessing: types.BaseChannel,
) -> base_component.BaseComponent:
    """The stock component, which answers nothing where the gate refused the model."""
    return tfx_components.BulkInferrer(
        examples=examples,
        model=model,
        model_blessing=blessing,
        data_spec=bulk_inferrer_pb2.DataSpec(example_splits=config.splits),
        # Of several signatures it takes Classify and Regress only.
        model_spec=bulk_inferrer_pb2.ModelSpec(
            model_signature_name=[signatures.SERVING_DEFAULT]
        ),
    )


def _infra_check(
    config: InfraConfig,
    trained: dict[str, types.OutputChannel],
    *,
    schema: types.BaseChannel,
    examples: types.BaseChannel,
) -> base_component.BaseComponent:
    """Our check of the served model, or the stock one with TensorFlow Serving."""
    if config.validator == rules.TF_SERVING:
        return tfx_components.InfraValidator(
            model=trained["model"],
            examples=examples,
            serving_spec=infra_validator_pb2.ServingSpec(
                tensorflow_serving=infra_validator_pb2.TensorFlowServing(
                    tags=[TF_SERVING_TAG]
                ),
                local_docker=infra_validator_pb2.LocalDockerConfig(),
            ),
            request_spec=infra_validator_pb2.RequestSpec(
                tensorflow_serving=infra_validator_pb2.TensorFlowServingRequestSpec(
                    signature_names=[signatures.SERVING_DEFAULT]
                ),
                split_name=features.EVAL,
                num_examples=TF_SERVING_REQUESTS,
            ),
        )
    return InfraCheck(
        model=trained["model"],
        model_run=trained["model_run"],
        schema=schema,
        limits=_as_text(limits.of(rules.Limits, config)),
        source_fingerprint=_fingerprint(InfraCheck),
    )
