"""The one pass over a split: what the models say of each image, kept as a table.

Every figure comes from that table (`figures.py`), TFMA's files too (`tfma_files.py`).
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow_model_analysis as tfma
from tensorflow.core.protobuf import saved_model_pb2

from components.model_evaluator import classes, predictions, traits
from pushed_models import signatures, versions
from schema import features

CANDIDATE = "candidate"
BASELINE = "baseline"

_SHARD_PREFIX = ".predictions"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured; it travels to the executor as JSON.

    Attributes:
      labels: class names in label order.
      top_k: which top-k accuracies, beside top-1; those not below the number of classes
        are left out, because they say nothing.
      traits: names of `traits.TRAITS` by which the split is sliced, beside the class.
    """

    labels: tuple[str, ...]
    top_k: tuple[int, ...] = (5,)
    traits: tuple[str, ...] = tuple(traits.TRAITS)

    @property
    def measured_k(self) -> list[int]:
        """The k of each top-k accuracy, 1 first."""
        return [1, *(k for k in self.top_k if 1 < k < len(self.labels))]


def run(
    make_examples: Callable[[beam.Pipeline], beam.PCollection],
    models: Mapping[str, str],
    settings: Settings,
    folder: pathlib.Path,
    pipeline: beam.Pipeline,
    baseline_labels: Sequence[str] = (),
) -> None:
    """Asks the models, and writes the table of predictions into `folder`.

    Args:
      make_examples: gives raw Examples as record batches of Arrow.
      models: `CANDIDATE` and perhaps `BASELINE` -> folder of the SavedModel.
      settings: what is measured.
      folder: of the evaluation artifact.
      pipeline: with the engine's arguments; runs here.
      baseline_labels: class names of the baseline, in its label order.
    """
    has_views = _has_views(models[CANDIDATE])
    columns = predictions.schema(settings.traits, BASELINE in models, has_views)
    folder.mkdir(parents=True, exist_ok=True)
    # TFMA first calls a signature in a way that is refused, and all images of the batch would
    # be printed for the message.
    with np.printoptions(threshold=0, edgeitems=1), pipeline:
        batches = make_examples(pipeline) | tfma.BatchedInputsToExtracts()
        for extractor in _extractors(models, has_views):
            batches |= extractor.stage_name >> extractor.ptransform
        _ = (
            batches
            | "ToRows" >> beam.Map(_rows, settings, baseline_labels, columns)
            | "Write"
            >> beam.io.WriteToParquetBatched(
                str(folder / _SHARD_PREFIX), columns, file_name_suffix=".parquet"
            )
        )
    predictions.gather(sorted(folder.glob(f"{_SHARD_PREFIX}*")), folder)


def _extractors(
    models: Mapping[str, str], has_views: bool
) -> list[tfma.extractors.Extractor]:
    """TFMA's reading of Examples and asking of models, in batches all the way."""
    signature_names = dict.fromkeys(models, signatures.SERVING_DEFAULT)
    if has_views:
        signature_names[CANDIDATE] = signatures.VIEWS_COMPARED
    config = tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(
                name=name,
                is_baseline=name == BASELINE,
                signature_name=signature_names[name],
                label_key=features.LABEL,
            )
            for name in models
        ]
    )
    return [
        tfma.extractors.FeaturesExtractor(config),
        tfma.extractors.PredictionsExtractor(config, shared_models(models, config)),
    ]


def shared_models(
    models: Mapping[str, str], config: tfma.EvalConfig
) -> list[tfma.types.EvalSharedModel]:
    """TFMA's handles of SavedModels: name -> folder."""
    return [
        tfma.default_eval_shared_model(
            eval_saved_model_path=path, model_name=name, eval_config=config
        )
        for name, path in models.items()
    ]


def _rows(
    batch: Mapping[str, Any],
    settings: Settings,
    baseline_labels: Sequence[str],
    columns: pa.Schema,
) -> pa.Table:
    """The rows of a batch, with nothing left of its images."""
    example, answers = batch[tfma.FEATURES_KEY], batch[tfma.PREDICTIONS_KEY]
    # TFMA names the models only where there are several.
    candidate = answers.get(CANDIDATE, answers)
    probabilities = {"": candidate[signatures.PROBABILITIES]}
    if BASELINE in answers:
        probabilities[predictions.BASELINE_PREFIX] = classes.align(
            answers[BASELINE][signatures.PROBABILITIES],
            settings.labels,
            baseline_labels,
        )
    if signatures.PLAIN_PROBABILITIES in candidate:
        probabilities[predictions.PLAIN_PREFIX] = candidate[
            signatures.PLAIN_PROBABILITIES
        ]
    found = {
        name: [traits.TRAITS[name](image) for image in _images(example)]
        for name in settings.traits
    }
    return predictions.of_batch(
        example[features.KEY].ravel(),
        example[features.LABEL].ravel(),
        probabilities,
        found,
        columns,
    )


def _has_views(model: str) -> bool:
    """Whether a SavedModel averages over views, and tells what it answers without."""
    saved_model = saved_model_pb2.SavedModel()
    file = pathlib.Path(model) / versions.SAVED_MODEL_FILE
    saved_model.ParseFromString(file.read_bytes())
    return signatures.VIEWS_COMPARED in saved_model.meta_graphs[0].signature_def


def _images(example: Mapping[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    """Features of each image of a batch, name -> array of one value."""
    for values in zip(*example.values(), strict=True):
        yield dict(zip(example, values, strict=True))
