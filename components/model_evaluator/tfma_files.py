"""The figures as TFMA's own files, for `tfma.load_eval_result` and what shows its results."""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import metrics_for_slice_pb2

from components.model_evaluator import analysis, figures, gate, predictions
from pushed_models import signatures
from schema import features

CONFUSION = "confusion"

# The files are small, whatever engine has asked the models.
_IN_MEMORY = ("--runner=FnApiRunner", "--direct_running_mode=in_memory")
# What an image is in, as TFMA names it: ((feature, value),), or () for the whole split.
_SliceKey = tuple[tuple[str, str], ...]
_PREFIXES = {analysis.CANDIDATE: "", analysis.BASELINE: predictions.BASELINE_PREFIX}


def write(
    folder: pathlib.Path,
    table: pd.DataFrame,
    settings: analysis.Settings,
    models: Mapping[str, str],
) -> None:
    """Metrics and confusion of every slice, with TFMA's description of what was measured.

    The baseline is measured on all images here. A comparison on those of shared classes is
    in the verdict.

    Args:
      folder: of the evaluation artifact.
      table: of predictions.
      settings: what was measured.
      models: as `analysis.run` takes them.
    """
    names = list(models) if len(models) > 1 else [""]
    config = _config(settings, names)
    named = dict(zip(names, models.values(), strict=True))
    shared = analysis.shared_models(named, config)
    slices = list(_slices(table, settings))
    prefixes = {name: _PREFIXES.get(name, "") for name in names}
    values = {
        name: figures.of_images(table, settings.measured_k, prefix)
        for name, prefix in prefixes.items()
    }
    found = {
        tfma.METRICS_KEY: [(key, _metrics(values, rows)) for key, rows in slices],
        tfma.PLOTS_KEY: [
            (key, _plots(table.iloc[rows], prefixes)) for key, rows in slices
        ],
    }
    writers = tfma.default_writers(
        str(folder), shared if len(shared) > 1 else shared[0], config
    )
    with beam.Pipeline(argv=list(_IN_MEMORY)) as pipeline:
        _ = {
            name: pipeline | name >> beam.Create(each) for name, each in found.items()
        } | tfma.WriteResults(writers)


def _config(settings: analysis.Settings, names: list[str]) -> tfma.EvalConfig:
    """The configuration with which TFMA would compute the same figures."""
    metrics = [
        _metric("SparseCategoricalAccuracy", figures.top(1)),
        *(
            _metric("SparseTopKCategoricalAccuracy", figures.top(k), k=k)
            for k in settings.measured_k[1:]
        ),
        _metric("SparseCategoricalCrossentropy", figures.CROSS_ENTROPY),
        _metric("ExampleCount", figures.COUNT),
        _metric("MultiClassConfusionMatrixPlot", CONFUSION),
    ]
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(
                name=name,
                is_baseline=name == analysis.BASELINE,
                signature_name=signatures.SERVING_DEFAULT,
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


def _metric(class_name: str, name: str, **settings: object) -> tfma.MetricConfig:
    return tfma.MetricConfig(
        class_name=class_name, config=json.dumps({"name": name, **settings})
    )


def _slices(
    table: pd.DataFrame, settings: analysis.Settings
) -> Iterator[tuple[_SliceKey, np.ndarray]]:
    yield (), np.arange(len(table))
    for name, value, rows in figures.slices(table, settings.labels):
        is_class = name == gate.CLASS
        feature = features.TEXT if is_class else predictions.TRAIT_PREFIX + name
        yield ((feature, value),), rows


def _metrics(
    values: Mapping[str, pd.DataFrame], rows: np.ndarray
) -> dict[tfma.metrics.MetricKey, float]:
    """Of the images of a slice; of two models their differences, too."""
    found = {
        tfma.metrics.MetricKey(name, model): value
        for model, each in values.items()
        for name, value in figures.means(each.iloc[rows]).items()
    }
    differences = {
        key.make_diff_key(): value - found[key.make_baseline_key(analysis.BASELINE)]
        for key, value in found.items()
        if key.model_name == analysis.CANDIDATE
    }
    return found | differences


def _plots(table: pd.DataFrame, prefixes: Mapping[str, str]) -> dict[Any, Any]:
    """Of each model the confusion of a slice; pairs without images are left out."""
    plots = {}
    for model, prefix in prefixes.items():
        plot = metrics_for_slice_pb2.MultiClassConfusionMatrixAtThresholds()
        matrix = plot.matrices.add(threshold=0.0)
        pairs = table[[predictions.LABEL, prefix + predictions.PREDICTED]]
        for (true, predicted), count in pairs.value_counts(sort=False).items():
            matrix.entries.add(
                actual_class_id=true,
                predicted_class_id=predicted,
                num_weighted_examples=count,
            )
        plots[tfma.metrics.PlotKey(CONFUSION, model)] = plot
    return plots
