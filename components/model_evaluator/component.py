"""Evaluator whose verdict is its own, in sentences, and which keeps what was predicted.

TFX's Evaluator blesses by thresholds in TFMA's configuration, which ask for no interval, and it
gives no predictions; so this one asks the models itself, once, keeps what they say, and emits
the same artifacts (docs/adr/0008).
"""

import functools
import json
import pathlib

import apache_beam as beam
import tensorflow_model_analysis as tfma
from absl import logging
from tensorflow.core.protobuf import saved_model_pb2
from tfx import types
from tfx.components.evaluator import constants
from tfx.components.util import tfxio_utils
from tfx.dsl.component.experimental.annotations import (
    BeamComponentParameter,
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils, path_utils

from components import artifacts
from components.baseline_model.component import EXISTS_PROPERTY, VERSION_PROPERTY
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

# Images that a model is asked for at once. On processors more make it slower, not faster:
# what one layer hands to the next no longer fits their caches.
BATCH_SIZE = 128


@artifacts.component(use_beam=True)
def ModelEvaluator(
    examples: InputArtifact[standard_artifacts.Examples],
    model: InputArtifact[standard_artifacts.Model],
    baseline_model: InputArtifact[standard_artifacts.Model],
    settings: Parameter[str],
    limits: Parameter[str],
    split: Parameter[str],
    source_fingerprint: Parameter[str],
    evaluation: OutputArtifact[standard_artifacts.ModelEvaluation],
    blessing: OutputArtifact[standard_artifacts.ModelBlessing],
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Evaluates candidate and baseline on the same images, then judges.

    Args:
      examples: raw Examples.
      model: the candidate, asked through its served signature.
      baseline_model: output of BaselineModel; may say that there is none.
      settings: `analysis.Settings` as JSON.
      limits: `gate.Limits` as JSON.
      split: which split is measured.
      source_fingerprint: of the code that evaluates, for the cache.
      evaluation: with predictions, figures and verdict.
      blessing: marked as by the stock Evaluator.
      beam_pipeline: with the engine's arguments.

    Raises:
      DataError: other examples were measured than were ingested, or an input is damaged.
    """
    measured_settings = _settings(settings)
    labels = measured_settings.labels
    models = {analysis.CANDIDATE: path_utils.serving_model_path(model.uri)}
    live = _baseline(baseline_model, artifacts.split_rule_of(examples))
    if live and classes.changes(labels, live.labels).shared:
        models[analysis.BASELINE] = path_utils.serving_model_path(baseline_model.uri)
    folder = pathlib.Path(evaluation.uri)
    analysis.run(
        functools.partial(_read, examples, split),
        models,
        measured_settings,
        folder,
        beam_pipeline,
        live.labels if live else (),
    )
    table = predictions.numbers(evaluation.uri)
    counts = table[predictions.LABEL].value_counts().to_dict()
    example_counts.refuse_difference(
        split,
        {labels[label]: count for label, count in counts.items()},
        artifacts.counts_of(examples).get(split, {}),
    )
    tfma_files.write(folder, table, measured_settings, models)
    measured = verdict.measure(
        evaluation.uri,
        measured_settings,
        live,
        pathlib.Path(models[analysis.CANDIDATE]),
    )
    is_blessed = verdict.write(
        evaluation.uri, measured, gate.Limits(**json.loads(limits))
    )
    _bless(blessing, model, is_blessed)


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
    if not artifact.get_int_custom_property(EXISTS_PROPERTY):
        return None
    version = artifact.get_string_custom_property(VERSION_PROPERTY)
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
    examples: types.Artifact, split: str, pipeline: beam.Pipeline
) -> beam.PCollection:
    """Raw Examples of a split as record batches of Arrow."""
    make_source = tfxio_utils.get_tfxio_factory_from_artifact(
        examples=[examples],
        telemetry_descriptors=["ModelEvaluator"],
        raw_record_column_name=tfma.constants.ARROW_INPUT_COLUMN,
    )
    files = io_utils.all_files_pattern(artifact_utils.get_split_uri([examples], split))
    return pipeline | "Read" >> make_source(files).BeamSource(BATCH_SIZE)


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
