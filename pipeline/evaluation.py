"""What is measured, on which slices, and what a model must reach."""

import json

import tensorflow_model_analysis as tfma

from components.model_evaluator import verdict
from pipeline.config import EvaluationConfig
from schema import features

# Top-5 says nothing where there are at most five classes.
TOP_K = 5


def eval_config(evaluation: EvaluationConfig, num_classes: int) -> tfma.EvalConfig:
    """TFMA configuration: exact metrics over raw Examples through `serving_default`.

    Args:
      evaluation: thresholds of the gate.
      num_classes: top-5 is measured where there are more than five.
    """
    metrics = [
        _metric(
            "SparseCategoricalAccuracy",
            verdict.TOP_1,
            threshold=tfma.MetricThreshold(
                value_threshold=tfma.GenericValueThreshold(
                    lower_bound={"value": evaluation.min_top_1}
                ),
                change_threshold=tfma.GenericChangeThreshold(
                    direction=tfma.MetricDirection.HIGHER_IS_BETTER,
                    absolute={"value": -evaluation.max_top_1_drop},
                ),
            ),
        ),
        _metric("SparseCategoricalCrossentropy", "cross_entropy"),
        tfma.MetricConfig(class_name="ExampleCount"),
    ]
    if num_classes > TOP_K:
        metrics.append(_metric("SparseTopKCategoricalAccuracy", "top_5", k=TOP_K))
    return tfma.EvalConfig(
        model_specs=[
            _model_spec(verdict.CANDIDATE, is_baseline=False),
            _model_spec(verdict.BASELINE, is_baseline=True),
        ],
        metrics_specs=[tfma.MetricsSpec(metrics=metrics)],
        slicing_specs=[
            tfma.SlicingSpec(),
            tfma.SlicingSpec(feature_keys=[features.TEXT]),
        ],
    )


def _model_spec(name: str, is_baseline: bool) -> tfma.ModelSpec:
    return tfma.ModelSpec(
        name=name,
        is_baseline=is_baseline,
        signature_name="serving_default",
        label_key=features.LABEL,
        prediction_key="probabilities",
    )


def _metric(
    class_name: str,
    name: str,
    threshold: tfma.MetricThreshold | None = None,
    **settings: object,
) -> tfma.MetricConfig:
    # A plain threshold would hold for every slice; ours is for the whole split.
    per_slice = (
        [
            tfma.PerSliceMetricThreshold(
                slicing_specs=[tfma.SlicingSpec()], threshold=threshold
            )
        ]
        if threshold
        else []
    )
    return tfma.MetricConfig(
        class_name=class_name,
        config=json.dumps({"name": name, **settings}),
        per_slice_thresholds=per_slice,
    )
