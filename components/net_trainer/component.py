"""Trainer with steps and learning rate as properties of their own.

The stock component hides them in `custom_config`, one JSON string, so that a compiled
pipeline could not take them as parameters of a run.
"""

import json

from tfx.components.trainer import executor as stock_executor
from tfx.dsl.component.experimental.annotations import (
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.types import standard_artifacts
from tfx.types import standard_component_specs as keys

from components import artifacts


@artifacts.component
def NetTrainer(
    examples: InputArtifact[standard_artifacts.Examples],
    transform_graph: InputArtifact[standard_artifacts.TransformGraph],
    schema: InputArtifact[standard_artifacts.Schema],
    train_args: Parameter[str],
    eval_args: Parameter[str],
    run_fn: Parameter[str],
    custom_config: Parameter[str],
    steps: Parameter[int],
    learning_rate: Parameter[float],
    model: OutputArtifact[standard_artifacts.Model],
    model_run: OutputArtifact[standard_artifacts.ModelRun],
) -> None:
    """Trains a net and exports it as a SavedModel, by the stock executor.

    Args:
      examples: raw Examples.
      transform_graph: of Transform.
      schema: with the labels.
      train_args: TrainArgs as JSON, with the splits to train on.
      eval_args: EvalArgs as JSON, with the splits to select by.
      run_fn: dotted path of the training function.
      custom_config: JSON with `config`, a `trainer.config.TrainerConfig`, and the
        fingerprints of the training code and of the weights that training starts from.
      steps: over `train.steps`; 0 leaves that.
      learning_rate: over `train.learning_rate`; 0 leaves that.
      model: the SavedModel.
      model_run: checkpoints, history and result.
    """
    config = json.loads(custom_config)
    given = {"steps": steps, "learning_rate": learning_rate}
    config["config"]["train"] |= {key: value for key, value in given.items() if value}
    # For `trainer.task` to compare with what it reads, and for the model to say.
    config["examples"] = artifacts.counts_of(examples)
    rule = artifacts.split_rule_of(examples)
    config["split_rule"] = rule.to_json() if rule else ""
    stock_executor.GenericExecutor().Do(
        {
            keys.EXAMPLES_KEY: [examples],
            keys.TRANSFORM_GRAPH_KEY: [transform_graph],
            keys.SCHEMA_KEY: [schema],
        },
        {keys.MODEL_KEY: [model], keys.MODEL_RUN_KEY: [model_run]},
        {
            keys.TRAIN_ARGS_KEY: train_args,
            keys.EVAL_ARGS_KEY: eval_args,
            keys.RUN_FN_KEY: run_fn,
            keys.CUSTOM_CONFIG_KEY: json.dumps(config),
        },
    )
