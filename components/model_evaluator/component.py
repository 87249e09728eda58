"""Evaluator whose verdict is its own, in sentences, and which keeps what was predicted.

TFX's Evaluator blesses by thresholds in TFMA's configuration, which ask for no interval, and it
gives no predictions; so this one asks the models itself, once, keeps what they say, and emits
the same artifacts (docs/adr/0008).
"""

import dataclasses
import functools
import json
import pathlib
from typing import Any

import apache_beam as beam
import tensorflow_model_analysis as tfma
from absl import logging
from tensorflow.core.protobuf import saved_model_pb2
from tfx import types
from tfx.components.evaluator import constants
from tfx.components.util import tfxio_utils
from tfx.dsl.components.base import (
    base_beam_component,
    base_beam_executor,
    executor_spec,
)
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.utils import io_utils, path_utils

from components import artifacts
from components.baseline_model import component as baseline_model
from components.model_evaluator import (
    analysis,
    classes,
    gate,
    predictions,
    tfma_files,
    verdict,
)
from pushed_models import class_names, signatures, split_rule, versions
from pushed_models.split_rule import SplitRule
from schema import example_counts

EXAMPLES_KEY = "examples"
MODEL_KEY = "model"
BASELINE_KEY = "baseline_model"
EVALUATION_KEY = "evaluation"
BLESSING_KEY = "blessing"
SETTINGS_KEY = "settings"
LIMITS_KEY = "limits"
SPLIT_KEY = "split"
FINGERPRINT_KEY = "source_fingerprint"

# Images that a model is asked for at once. On processors more make it slower, not faster:
# what one layer hands to the next no longer fits their caches.
BATCH_SIZE = 128


class ModelEvaluatorSpec(component_spec.ComponentSpec):
    """Channels of ModelEvaluator; those of the stock Evaluator have its keys."""

    PARAMETERS = {
        SETTINGS_KEY: component_spec.ExecutionParameter(type=str),
        LIMITS_KEY: component_spec.ExecutionParameter(type=str),
        SPLIT_KEY: component_spec.ExecutionParameter(type=str),
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


class Executor(base_beam_executor.BaseBeamExecutor):
    """Evaluates candidate and baseline on the same images, then judges."""

    @artifacts.checked
    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See base class.

        Raises:
          DataError: other examples were measured than were ingested, or an input is
            damaged.
        """
        settings = _settings(exec_properties[SETTINGS_KEY])
        limits = gate.Limits(**json.loads(exec_properties[LIMITS_KEY]))
        candidate = artifact_utils.get_single_instance(input_dict[MODEL_KEY])
        baseline = artifact_utils.get_single_instance(input_dict[BASELINE_KEY])
        models = {analysis.CANDIDATE: path_utils.serving_model_path(candidate.uri)}
        (examples,) = input_dict[EXAMPLES_KEY]
        live = _baseline(baseline, artifacts.split_rule_of(examples))
        if live and classes.changes(settings.labels, live.labels).shared:
            models[analysis.BASELINE] = path_utils.serving_model_path(baseline.uri)
        uri = artifact_utils.get_single_uri(output_dict[EVALUATION_KEY])
        folder = pathlib.Path(uri)
        analysis.run(
            functools.partial(
                _read, input_dict[EXAMPLES_KEY], exec_properties[SPLIT_KEY]
            ),
            models,
            settings,
            folder,
            self._make_beam_pipeline,
            live.labels if live else (),
        )
        _refuse_other_examples(input_dict, exec_properties[SPLIT_KEY], uri, settings)
        tfma_files.write(folder, predictions.numbers(uri), settings, models)
        measured = verdict.measure(
            uri, settings, live, pathlib.Path(models[analysis.CANDIDATE])
        )
        is_blessed = verdict.write(uri, measured, limits)
        _bless(
            artifact_utils.get_single_instance(output_dict[BLESSING_KEY]),
            candidate,
            is_blessed,
        )


def _settings(text: str) -> analysis.Settings:
    return analysis.Settings(
        **{name: tuple(values) for name, values in json.loads(text).items()}
    )


def _baseline(
    artifact: types.Artifact, tested: SplitRule | None
) -> classes.Baseline | None:
    """What BaselineModel fetched, with what it says of itself.

    Args:
      tested: rule by which the images were kept for test.
    """
    if not artifact.get_int_custom_property(baseline_model.EXISTS_PROPERTY):
        return None
    version = artifact.get_string_custom_property(baseline_model.VERSION_PROPERTY)
    folder = pathlib.Path(path_utils.serving_model_path(artifact.uri))
    seen = split_rule.why_seen(split_rule.of_model(folder), tested)
    return classes.Baseline(version, _labels(folder), seen)


def _labels(folder: pathlib.Path) -> tuple[str, ...]:
    """Class names of a SavedModel; none where they are unknown, and nothing is compared."""
    try:
        found = class_names.of_model(folder)
    except (OSError, UnicodeDecodeError):
        return ()  # foreign models may lack the asset
    saved_model = saved_model_pb2.SavedModel()
    saved_model.ParseFromString((folder / versions.SAVED_MODEL_FILE).read_bytes())
    signature = saved_model.meta_graphs[0].signature_def[signatures.SERVING_DEFAULT]
    sizes = signature.outputs[signatures.PROBABILITIES].tensor_shape.dim
    # A graph may leave the number open, as -1.
    fits = not sizes or sizes[-1].size in (-1, len(found))
    return found if fits and len(set(found)) == len(found) else ()


def _read(
    examples: list[types.Artifact], split: str, pipeline: beam.Pipeline
) -> beam.PCollection:
    """Raw Examples of a split as record batches of Arrow."""
    make_source = tfxio_utils.get_tfxio_factory_from_artifact(
        examples=examples,
        telemetry_descriptors=["ModelEvaluator"],
        raw_record_column_name=tfma.constants.ARROW_INPUT_COLUMN,
    )
    sources = [
        make_source(io_utils.all_files_pattern(uri))
        for uri in artifact_utils.get_split_uris(examples, split)
    ]
    return [
        pipeline | f"Read[{place}]" >> source.BeamSource(BATCH_SIZE)
        for place, source in enumerate(sources)
    ] | beam.Flatten()


def _refuse_other_examples(
    input_dict: dict[str, list[types.Artifact]],
    split: str,
    evaluation_uri: str,
    settings: analysis.Settings,
) -> None:
    """Raises DataError where other examples were measured than were ingested."""
    examples = artifact_utils.get_single_instance(input_dict[EXAMPLES_KEY])
    labels = predictions.read(evaluation_uri, [predictions.LABEL])[predictions.LABEL]
    example_counts.refuse_difference(
        split,
        {
            settings.labels[label]: int(count)
            for label, count in labels.value_counts().items()
        },
        artifacts.counts_of(examples).get(split, {}),
    )


def _bless(blessing: types.Artifact, model: types.Artifact, is_blessed: bool) -> None:
    """Marks the blessing as Pusher reads it."""
    blessing.set_string_custom_property(
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri
    )
    blessing.set_int_custom_property(
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id
    )
    blessing.set_int_custom_property(
        constants.ARTIFACT_PROPERTY_BLESSED_KEY,
        constants.BLESSED_VALUE if is_blessed else constants.NOT_BLESSED_VALUE,
    )
    file = (
        constants.BLESSED_FILE_NAME if is_blessed else constants.NOT_BLESSED_FILE_NAME
    )
    io_utils.write_string_file(str(pathlib.Path(blessing.uri) / file), "")
    logging.info("Blessed: %s", is_blessed)


class ModelEvaluator(base_beam_component.BaseBeamComponent):
    """Evaluates a candidate on raw Examples through its served signature."""

    SPEC_CLASS = ModelEvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        baseline: types.BaseChannel,
        settings: analysis.Settings,
        limits: gate.Limits,
        split: str,
        source_fingerprint: str,
    ):
        """Makes the component.

        Args:
          examples: raw Examples.
          model: the candidate.
          baseline: BaselineModel's output; may say that there is none.
          settings: what is measured.
          limits: what the model must reach.
          split: that is measured.
          source_fingerprint: of the code that evaluates, for the cache.
        """
        super().__init__(
            ModelEvaluatorSpec(
                examples=examples,
                model=model,
                baseline_model=baseline,
                settings=json.dumps(dataclasses.asdict(settings)),
                limits=json.dumps(dataclasses.asdict(limits)),
                split=split,
                source_fingerprint=source_fingerprint,
                evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
            )
        )
