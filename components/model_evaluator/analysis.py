"""The one pass over a split: TFMA's metrics and the predictions it computed them from."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow.core.protobuf import saved_model_pb2

from components.model_evaluator import classes, predictions, slices, traits
from pushed_models import signatures, versions
from schema import features

CANDIDATE = "candidate"
BASELINE = "baseline"
TOP_1 = "top_1"
CROSS_ENTROPY = "cross_entropy"
COUNT = "example_count"
CONFUSION = "confusion"

_RECORDS_KEY = "records"
_SHARD_PREFIX = ".predictions"


def top(k: int) -> str:
    """Name of the metric that counts an image when its class is among the k first."""
    return f"top_{k}"


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


def eval_config(
    settings: Settings,
    has_baseline: bool,
    signature_name: str = signatures.SERVING_DEFAULT,
) -> tfma.EvalConfig:
    """TFMA configuration: exact metrics over raw Examples through the served signature.

    Args:
      settings: what is measured.
      has_baseline: whether there are two models.
      signature_name: of the candidate.
    """
    metrics = [
        _metric("SparseCategoricalAccuracy", TOP_1),
        _metric("SparseCategoricalCrossentropy", CROSS_ENTROPY),
        _metric("ExampleCount", COUNT),
        _metric("MultiClassConfusionMatrixPlot", CONFUSION),
    ]
    for k in settings.top_k:
        if 1 < k < len(settings.labels):
            metrics.append(_metric("SparseTopKCategoricalAccuracy", top(k), k=k))
    names = [CANDIDATE, BASELINE] if has_baseline else [""]
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(
                name=name,
                is_baseline=name == BASELINE,
                signature_name=(
                    signatures.SERVING_DEFAULT if name == BASELINE else signature_name
                ),
                label_key=features.LABEL,
                prediction_key=signatures.PROBABILITIES,
            )
            for name in names
        ],
        metrics_specs=[tfma.MetricsSpec(metrics=metrics, model_names=names)],
        slicing_specs=[
            tfma.SlicingSpec(),
            tfma.SlicingSpec(feature_keys=[features.TEXT]),
            *(
                tfma.SlicingSpec(feature_keys=[predictions.TRAIT_PREFIX + name])
                for name in settings.traits
            ),
        ],
    )


def run(
    make_examples: Callable[[beam.Pipeline], beam.PCollection],
    models: Mapping[str, str],
    settings: Settings,
    folder: pathlib.Path,
    make_pipeline: Callable[[], beam.Pipeline],
    baseline_labels: Sequence[str] = (),
) -> None:
    """Evaluates; TFMA's files and the table of predictions go into `folder`.

    Args:
      make_examples: gives raw Examples as record batches of Arrow.
      models: `CANDIDATE` and perhaps `BASELINE` -> folder of the SavedModel.
      settings: what is measured.
      folder: of the evaluation artifact.
      make_pipeline: a Beam pipeline with the engine's arguments.
      baseline_labels: class names of the baseline, in its label order.
    """
    has_baseline = BASELINE in models
    has_views = _has_views(models[CANDIDATE])
    config = eval_config(
        settings,
        has_baseline,
        signatures.VIEWS_COMPARED if has_views else signatures.SERVING_DEFAULT,
    )
    shared = [
        tfma.default_eval_shared_model(
            eval_saved_model_path=models[name],
            model_name=name if has_baseline else "",
            eval_config=config,
        )
        for name in models
    ]
    shared_models = shared if has_baseline else shared[0]
    # Batches all the way: for the default extractors each image would be one of its own.
    extractors = [
        tfma.extractors.FeaturesExtractor(config),
        tfma.extractors.PredictionsExtractor(config, shared_models),
        _extractor("ExtractTraits", _with_traits, settings.traits),
    ]
    if has_baseline:
        extractors.append(
            _extractor(
                "AlignBaseline",
                _with_aligned_baseline,
                settings.labels,
                baseline_labels,
            )
        )
    keep: dict[str, dict[str, Any]] = {
        tfma.FEATURES_KEY: {
            name: {}
            for name in (
                features.KEY,
                features.LABEL,
                *(predictions.TRAIT_PREFIX + name for name in settings.traits),
            )
        },
        tfma.PREDICTIONS_KEY: {},
    }
    evaluators = [
        slices.evaluator(config),
        tfma.evaluators.AnalysisTableEvaluator(key=_RECORDS_KEY, include=keep),
    ]
    writers = tfma.default_writers(
        output_path=str(folder), eval_shared_model=shared_models, eval_config=config
    )
    writers.append(
        tfma.writers.Writer(
            "WritePredictions",
            _WritePredictions(settings.traits, has_baseline, has_views, folder),
        )
    )
    folder.mkdir(parents=True, exist_ok=True)
    # TFMA first calls a signature in a way that is refused, and all images of the batch would
    # be printed for the message.
    with np.printoptions(threshold=0, edgeitems=1), make_pipeline() as pipeline:
        _ = make_examples(pipeline) | "Evaluate" >> tfma.ExtractEvaluateAndWriteResults(
            eval_shared_model=shared_models,
            eval_config=config,
            extractors=extractors,
            evaluators=evaluators,
            writers=writers,
            output_path=str(folder),
        )
    predictions.gather(sorted(folder.glob(f"{_SHARD_PREFIX}*")), folder)


class _WritePredictions(beam.PTransform):
    """Writes the table of predictions in shards; `predictions.gather` joins them."""

    def __init__(
        self,
        trait_names: tuple[str, ...],
        has_baseline: bool,
        has_views: bool,
        folder: pathlib.Path,
    ):
        super().__init__()
        self._trait_names = trait_names
        self._has_baseline = has_baseline
        self._has_views = has_views
        self._prefix = str(folder / _SHARD_PREFIX)

    def expand(self, evaluation: dict[str, beam.PCollection]) -> Any:
        """See base class."""
        return (
            evaluation[_RECORDS_KEY]
            | "ToRows" >> beam.FlatMap(_rows, self._trait_names, self._has_baseline)
            | "Write"
            >> beam.io.WriteToParquet(
                self._prefix,
                predictions.schema(
                    self._trait_names, self._has_baseline, self._has_views
                ),
                file_name_suffix=".parquet",
            )
        )


def _rows(
    batch: Mapping[str, Any], trait_names: tuple[str, ...], has_baseline: bool
) -> Iterator[dict[str, Any]]:
    said = batch[tfma.PREDICTIONS_KEY]
    candidate = said[CANDIDATE] if has_baseline else said
    probabilities = candidate[signatures.PROBABILITIES]
    plain = candidate.get(signatures.PLAIN_PROBABILITIES)
    baseline = said[BASELINE][signatures.PROBABILITIES] if has_baseline else None
    for place, example in enumerate(_images(batch)):
        yield predictions.row(
            example,
            trait_names,
            probabilities[place],
            None if baseline is None else baseline[place],
            None if plain is None else plain[place],
        )


def _has_views(model: str) -> bool:
    """Whether a SavedModel averages over views, and tells what it answers without."""
    saved_model = saved_model_pb2.SavedModel()
    file = pathlib.Path(model) / versions.SAVED_MODEL_FILE
    saved_model.ParseFromString(file.read_bytes())
    return signatures.VIEWS_COMPARED in saved_model.meta_graphs[0].signature_def


def _images(batch: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Features of each image of a batch, name -> array of one value."""
    example = batch[tfma.FEATURES_KEY]
    for values in zip(*example.values(), strict=True):
        yield dict(zip(example, values, strict=True))


def _extractor(
    name: str, function: Callable[..., dict[str, Any]], *arguments: Any
) -> tfma.extractors.Extractor:
    return tfma.extractors.Extractor(name, beam.Map(function, *arguments))


def _with_traits(batch: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """A batch with the traits of its images among the features."""
    found = {
        predictions.TRAIT_PREFIX + name: np.array(
            [[traits.TRAITS[name](example).encode()] for example in _images(batch)],
            dtype=object,
        )
        for name in names
    }
    return batch | {tfma.FEATURES_KEY: batch[tfma.FEATURES_KEY] | found}


def _with_aligned_baseline(
    batch: dict[str, Any], labels: Sequence[str], before: Sequence[str]
) -> dict[str, Any]:
    """A batch with the baseline's probabilities under the candidate's label numbers."""
    found = batch[tfma.PREDICTIONS_KEY]
    baseline = found[BASELINE]
    aligned = classes.align(baseline[signatures.PROBABILITIES], labels, before)
    baseline = baseline | {signatures.PROBABILITIES: aligned}
    return batch | {tfma.PREDICTIONS_KEY: found | {BASELINE: baseline}}


def _metric(class_name: str, name: str, **settings: object) -> tfma.MetricConfig:
    return tfma.MetricConfig(
        class_name=class_name, config=json.dumps({"name": name, **settings})
    )
