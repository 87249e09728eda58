"""TFMA's metrics of all slices, for which every image is measured once.

TFMA's own evaluator hands an image to each metric once for every slice that it is in, which
are five by default. Here the images that are in the same slices are a cell: TFMA's metrics
accumulate cells, and what they have accumulated is merged to slices. Metrics, keys and
values are those of TFMA's evaluator.
"""

import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.evaluators import metrics_validator
from tensorflow_model_analysis.metrics import metric_specs
from tensorflow_model_analysis.slicer import slicer_lib

from pushed_models import signatures
from schema import features

# What an image is in, as TFMA names it: ((feature, value),), or () for the whole split.
SliceKey = tuple[tuple[str, Any], ...]

# Keras's metrics would be rewritten for graphs at every call; here they run eagerly.
_eagerly = tf.autograph.experimental.do_not_convert


def evaluator(config: tfma.EvalConfig) -> tfma.evaluators.Evaluator:
    """Takes the place of `tfma.default_evaluators`, behind extracts that are batches.

    Args:
      config: metrics without query keys, thresholds of slices and intervals of TFMA.
    """
    return tfma.evaluators.Evaluator(
        stage_name="EvaluateSlices",
        run_after=tfma.extractors.extractor.LAST_EXTRACTOR_STAGE_NAME,
        ptransform=_Evaluate(config),
    )


class _Evaluate(beam.PTransform):
    """Batches of extracts -> metrics, plots and TFMA's validation of every slice."""

    def __init__(self, config: tfma.EvalConfig):
        super().__init__()
        self._config = config

    def expand(self, batches: beam.PCollection) -> dict[str, beam.PCollection]:
        """See base class."""
        config = self._config
        measured, derived = computations(config)
        combiners = [each.combiner for each in measured]
        models = [spec.name for spec in config.model_specs]
        baselines = [spec.name for spec in config.model_specs if spec.is_baseline]
        sliced = (
            batches
            | "ToCells" >> beam.FlatMap(cells, list(config.slicing_specs), models)
            | "AccumulateCells" >> beam.CombinePerKey(_Accumulate(combiners))
            | "ToSlices" >> beam.FlatMapTuple(_of_each_slice)
            | "MergeCells" >> beam.CombinePerKey(_Merge(combiners))
            | "Derive" >> beam.Map(_derive, derived, baselines)
        )
        metrics = sliced | "Metrics" >> beam.MapTuple(_metrics)
        return {
            tfma.METRICS_KEY: metrics,
            tfma.PLOTS_KEY: sliced | "Plots" >> beam.MapTuple(_plots),
            tfma.VALIDATIONS_KEY: metrics
            | "Validate" >> beam.Map(metrics_validator.validate_metrics, config),
        }


def computations(config: tfma.EvalConfig) -> tuple[list[Any], list[Any]]:
    """TFMA's metrics: those measured of images, and those derived from others."""
    found = metric_specs.to_computations(list(config.metrics_specs), eval_config=config)
    # What others are derived from may be named more than once.
    unique = list(dict.fromkeys(found))
    derived = [
        each
        for each in unique
        if isinstance(each, tfma.metrics.DerivedMetricComputation)
    ]
    return [each for each in unique if each not in derived], derived


def cells(
    batch: Mapping[str, Any], specs: Sequence[tfma.SlicingSpec], models: Sequence[str]
) -> Iterator[tuple[tuple[SliceKey, ...], list[tfma.metrics.StandardMetricInputs]]]:
    """The images of a batch by the slices that they are in.

    Args:
      batch: extracts with `features`, name -> array [n, 1]; and `predictions`, output ->
        array [n, ...], of several models each by its name.
      specs: features to slice by.
      models: their names.
    """
    example = batch[tfma.FEATURES_KEY]
    names = sorted({name for spec in specs for name in spec.feature_keys})
    # Copies: metrics hold back some inputs of each cell, and as views these would keep
    # their batch with its images and all that the models said.
    labels = np.array(example[features.LABEL])
    columns = [example[name].ravel().tolist() for name in names]
    members = collections.defaultdict(list)
    for place in range(len(labels)):
        members[tuple(column[place] for column in columns)].append(place)
    slice_specs = [tfma.slicer.SingleSliceSpec(spec=spec) for spec in specs]
    said = batch[tfma.PREDICTIONS_KEY]
    probabilities = {
        name: np.array(
            (said[name] if len(models) > 1 else said)[signatures.PROBABILITIES]
        )
        for name in models
    }
    for places in members.values():
        first = {name: example[name][places[0]] for name in names}
        keys = slicer_lib.get_slices_for_features_dicts([], first, slice_specs)
        yield (
            tuple(dict.fromkeys(keys)),
            [
                tfma.metrics.StandardMetricInputs(
                    labels=labels[place],
                    predictions=(
                        {name: probabilities[name][place] for name in models}
                        if len(models) > 1
                        else probabilities[models[0]][place]
                    ),
                )
                for place in places
            ],
        )


class _Accumulate(beam.CombineFn):
    """Images of a cell -> the accumulator of each metric."""

    def __init__(self, combiners: Sequence[beam.CombineFn]):
        self._combiners = combiners

    def setup(self) -> None:
        """See base class."""
        for combiner in self._combiners:
            combiner.setup()

    def create_accumulator(self) -> list[Any]:
        """See base class."""
        return [combiner.create_accumulator() for combiner in self._combiners]

    def add_input(self, accumulators: list[Any], inputs: Any) -> list[Any]:
        """See base class."""
        return [
            _eagerly(combiner.add_inputs)(accumulator, inputs)
            for combiner, accumulator in zip(self._combiners, accumulators, strict=True)
        ]

    def merge_accumulators(self, accumulators: Iterable[list[Any]]) -> list[Any]:
        """See base class."""
        return [
            _eagerly(combiner.merge_accumulators)(of_metric)
            for combiner, of_metric in zip(
                self._combiners, zip(*accumulators, strict=True), strict=True
            )
        ]

    def compact(self, accumulators: list[Any]) -> list[Any]:
        """See base class."""
        return [
            _eagerly(combiner.compact)(accumulator)
            for combiner, accumulator in zip(self._combiners, accumulators, strict=True)
        ]

    def extract_output(self, accumulators: list[Any]) -> Any:
        """See base class."""
        return self.compact(accumulators)


class _Merge(_Accumulate):
    """Accumulators of the cells of a slice -> its metrics by their keys."""

    def add_input(self, accumulators: list[Any], inputs: Any) -> list[Any]:
        """See base class; a cell is merged into what is this slice's own."""
        return self.merge_accumulators([accumulators, inputs])

    def extract_output(self, accumulators: list[Any]) -> dict[Any, Any]:
        """See base class."""
        metrics: dict[Any, Any] = {}
        for combiner, accumulator in zip(self._combiners, accumulators, strict=True):
            metrics |= _eagerly(combiner.extract_output)(accumulator)
        return metrics


def _of_each_slice(
    keys: Sequence[SliceKey], accumulators: list[Any]
) -> Iterator[tuple[SliceKey, list[Any]]]:
    for key in keys:
        yield key, accumulators


def _derive(
    of_slice: tuple[SliceKey, dict[Any, Any]],
    derived: Sequence[Any],
    baselines: Sequence[str],
) -> tuple[SliceKey, dict[Any, Any]]:
    """What follows from metrics, and each number of the candidate less the baseline's."""
    key, metrics = of_slice
    for computation in derived:
        metrics = metrics | computation.result(metrics)
    # As TFMA leaves out its own steps in between.
    metrics = {
        each: value for each, value in metrics.items() if not each.name.startswith("_")
    }
    differences = {
        each.make_diff_key(): value - metrics[each.make_baseline_key(baseline)]
        for baseline in baselines
        for each, value in metrics.items()
        if each.model_name != baseline and not _is_plot(each)
    }
    return key, metrics | differences


def _metrics(key: SliceKey, values: dict[Any, Any]) -> tuple[SliceKey, dict[Any, Any]]:
    return key, {each: value for each, value in values.items() if not _is_plot(each)}


def _plots(key: SliceKey, values: dict[Any, Any]) -> tuple[SliceKey, dict[Any, Any]]:
    return key, {each: value for each, value in values.items() if _is_plot(each)}


def _is_plot(key: Any) -> bool:
    return isinstance(key, tfma.metrics.PlotKey)
