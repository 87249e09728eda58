"""Trainer with steps and learning rate as properties of their own.

The stock component hides them in `custom_config`, one JSON string, so that a compiled
pipeline could not take them as parameters of a run.
"""

import json
from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.components.trainer import executor as stock_executor
from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import trainer_pb2
from tfx.types import standard_artifacts
from tfx.types import standard_component_specs as keys
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components import artifacts
from pushed_models.split_rule import SplitRule

STEPS_KEY = "steps"
LEARNING_RATE_KEY = "learning_rate"
_CONFIG_KEY = "config"
_COUNTS_KEY = "examples"
_RULE_KEY = "split_rule"


class NetTrainerSpec(ComponentSpec):
    """Channels and properties of NetTrainer; those of the stock Trainer have its keys."""

    PARAMETERS = {
        keys.TRAIN_ARGS_KEY: ExecutionParameter(type=trainer_pb2.TrainArgs),
        keys.EVAL_ARGS_KEY: ExecutionParameter(type=trainer_pb2.EvalArgs),
        keys.RUN_FN_KEY: ExecutionParameter(type=str),
        keys.CUSTOM_CONFIG_KEY: ExecutionParameter(type=str),
        STEPS_KEY: ExecutionParameter(type=int),
        LEARNING_RATE_KEY: ExecutionParameter(type=float),
    }
    INPUTS = {
        keys.EXAMPLES_KEY: ChannelParameter(type=standard_artifacts.Examples),
        keys.TRANSFORM_GRAPH_KEY: ChannelParameter(
            type=standard_artifacts.TransformGraph
        ),
        keys.SCHEMA_KEY: ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {
        keys.MODEL_KEY: ChannelParameter(type=standard_artifacts.Model),
        keys.MODEL_RUN_KEY: ChannelParameter(type=standard_artifacts.ModelRun),
    }


class Executor(stock_executor.GenericExecutor):
    """The stock executor, with steps and rate put into the configuration."""

    @artifacts.checked
    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See base class."""
        (examples,) = input_dict[keys.EXAMPLES_KEY]
        properties = configured(
            exec_properties,
            artifacts.counts_of(examples),
            artifacts.split_rule_of(examples),
        )
        super().Do(input_dict, output_dict, properties)


def configured(
    exec_properties: Mapping[str, Any],
    counts: Mapping[str, Mapping[str, int]] | None = None,
    rule: SplitRule | None = None,
) -> dict[str, Any]:
    """The properties as the stock executor takes them.

    Args:
      exec_properties: the component's; steps and rate of 0 leave what is configured.
      counts: of the examples, for `trainer.task` to compare with what it reads.
      rule: by which images were kept for test, for the model to say so.
    """
    properties = dict(exec_properties)
    custom_config = json.loads(properties[keys.CUSTOM_CONFIG_KEY])
    for key in (STEPS_KEY, LEARNING_RATE_KEY):
        if value := properties.pop(key):
            custom_config[_CONFIG_KEY]["train"][key] = value
    custom_config[_COUNTS_KEY] = counts or {}
    custom_config[_RULE_KEY] = rule.to_json() if rule else ""
    return properties | {keys.CUSTOM_CONFIG_KEY: json.dumps(custom_config)}


class NetTrainer(base_component.BaseComponent):
    """Trains a net and exports it as a SavedModel."""

    SPEC_CLASS = NetTrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        transform_graph: types.BaseChannel,
        schema: types.BaseChannel,
        *,
        run_fn: str,
        config: Mapping[str, Any],
        source_fingerprint: str,
        weights_fingerprint: str,
        train_split: str,
        eval_split: str,
        steps: Any = 0,
        learning_rate: Any = 0.0,
    ):
        """Makes the component.

        Args:
          examples: raw Examples.
          transform_graph: of Transform.
          schema: with the labels.
          run_fn: dotted path of the training function.
          config: a `trainer.config.TrainerConfig` as a dict.
          source_fingerprint: of the training code, for the cache.
          weights_fingerprint: of the weights that training starts from, for the cache; ''
            where there are none, or none on this machine.
          train_split: trained on.
          eval_split: selected by.
          steps: int or RuntimeParameter, over `train.steps`; 0 leaves that.
          learning_rate: float or RuntimeParameter, over `train.learning_rate`; 0 leaves
            that.
        """
        super().__init__(
            NetTrainerSpec(
                examples=examples,
                transform_graph=transform_graph,
                schema=schema,
                train_args=trainer_pb2.TrainArgs(splits=[train_split]),
                eval_args=trainer_pb2.EvalArgs(splits=[eval_split]),
                run_fn=run_fn,
                custom_config=json.dumps(
                    {
                        _CONFIG_KEY: dict(config),
                        "source_fingerprint": source_fingerprint,
                        "weights_fingerprint": weights_fingerprint,
                    }
                ),
                steps=steps,
                learning_rate=learning_rate,
                model=types.Channel(type=standard_artifacts.Model),
                model_run=types.Channel(type=standard_artifacts.ModelRun),
            )
        )
