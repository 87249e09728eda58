"""TFX Evaluator that says in sentences why a model was blessed or not.

Besides the stock outputs the evaluation artifact holds `verdict.json`.
"""

import json
import pathlib
from typing import Any

import tensorflow_model_analysis as tfma
from tfx import types
from tfx.components.evaluator import constants
from tfx.components.evaluator import executor as stock_executor
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.utils import json_utils

from components.baseline_model import component as baseline_model
from components.model_evaluator import verdict

EXAMPLES_KEY = "examples"
MODEL_KEY = "model"
BASELINE_KEY = "baseline_model"
EVALUATION_KEY = "evaluation"
BLESSING_KEY = "blessing"
EVAL_CONFIG_KEY = "eval_config"
EXAMPLE_SPLITS_KEY = "example_splits"
FINGERPRINT_KEY = "source_fingerprint"

VERDICT_FILE = "verdict.json"


class ModelEvaluatorSpec(component_spec.ComponentSpec):
    """Channels of ModelEvaluator; keys as in the stock Evaluator."""

    PARAMETERS = {
        EVAL_CONFIG_KEY: component_spec.ExecutionParameter(type=tfma.EvalConfig),
        EXAMPLE_SPLITS_KEY: component_spec.ExecutionParameter(type=str),
        FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        EXAMPLES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        MODEL_KEY: component_spec.ChannelParameter(type=standard_artifacts.Model),
        BASELINE_KEY: component_spec.ChannelParameter(type=standard_artifacts.Model),
    }
    OUTPUTS = {
        EVALUATION_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ModelEvaluation
        ),
        BLESSING_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ModelBlessing
        ),
    }


class Executor(stock_executor.Executor):
    """Stock evaluation with an optional baseline, then the verdict in words."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See base class."""
        baseline = artifact_utils.get_single_instance(input_dict[BASELINE_KEY])
        version = baseline.get_string_custom_property(baseline_model.VERSION_PROPERTY)
        inputs = dict(input_dict)
        if not baseline.get_int_custom_property(baseline_model.EXISTS_PROPERTY):
            # Without the key the stock executor drops the change thresholds.
            del inputs[BASELINE_KEY]
        super().Do(inputs, output_dict, exec_properties)
        evaluation_uri = artifact_utils.get_single_uri(output_dict[EVALUATION_KEY])
        blessing = artifact_utils.get_single_instance(output_dict[BLESSING_KEY])
        is_blessed = (
            blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY)
            == constants.BLESSED_VALUE
        )
        summary = verdict.read(evaluation_uri, is_blessed, version or None)
        (pathlib.Path(evaluation_uri) / VERDICT_FILE).write_text(
            json.dumps(summary), encoding="utf-8"
        )


class ModelEvaluator(base_beam_component.BaseBeamComponent):
    """Evaluates a candidate on raw Examples through its served signature."""

    SPEC_CLASS = ModelEvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        baseline: types.BaseChannel,
        eval_config: tfma.EvalConfig,
        example_splits: list[str],
        source_fingerprint: str,
    ):
        """Makes the component.

        Args:
          examples: raw Examples.
          model: the candidate.
          baseline: BaselineModel's output; may say that there is none.
          eval_config: metrics, slices and thresholds (`pipeline.evaluation`).
          example_splits: splits that are measured.
          source_fingerprint: of the code that evaluates, for the cache.
        """
        super().__init__(
            ModelEvaluatorSpec(
                examples=examples,
                model=model,
                baseline_model=baseline,
                eval_config=eval_config,
                example_splits=json_utils.dumps(example_splits),
                source_fingerprint=source_fingerprint,
                evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
            )
        )
