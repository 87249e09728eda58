"""The outcome of the gate as figures and sentences, read from what TFMA wrote."""

from typing import Any

import tensorflow_model_analysis as tfma

CANDIDATE = "candidate"
BASELINE = "baseline"
TOP_1 = "top_1"


def read(
    evaluation_uri: str, is_blessed: bool, baseline_version: str | None
) -> dict[str, Any]:
    """Summary of an evaluation.

    Args:
      evaluation_uri: folder that TFMA wrote.
      is_blessed: what the validation decided.
      baseline_version: version compared with, or None.

    Returns:
      `is_blessed`; `metrics` and `baseline_metrics`, name -> value over the whole split,
      the latter None without a baseline; `per_class`, class name -> {name: value};
      `baseline_version`; `sentences`, one a rule of the gate.
    """
    has_baseline = baseline_version is not None
    result = _load(evaluation_uri, CANDIDATE if has_baseline else None)
    metrics = _overall(result)
    baseline_metrics = (
        _overall(_load(evaluation_uri, BASELINE)) if has_baseline else None
    )
    return {
        "is_blessed": is_blessed,
        "metrics": metrics,
        "baseline_metrics": baseline_metrics,
        "baseline_version": baseline_version,
        "per_class": _per_class(result),
        "sentences": _sentences(
            result.config, metrics, baseline_metrics, baseline_version
        ),
    }


def _load(evaluation_uri: str, model_name: str | None) -> tfma.EvalResult:
    return tfma.load_eval_result(evaluation_uri, model_name=model_name)


def _overall(result: tfma.EvalResult) -> dict[str, float]:
    return _values(dict(result.slicing_metrics)[()])


def _per_class(result: tfma.EvalResult) -> dict[str, dict[str, float]]:
    return {
        str(slice_key[0][1]): _values(metrics)
        for slice_key, metrics in result.slicing_metrics
        if len(slice_key) == 1
    }


def _values(metrics: Any) -> dict[str, float]:
    (by_name,) = (
        by_sub_key
        for by_output in metrics.values()
        for by_sub_key in by_output.values()
    )
    return {
        name: value["doubleValue"]
        for name, value in by_name.items()
        if "doubleValue" in value and not name.endswith("_diff")
    }


def _sentences(
    config: tfma.EvalConfig,
    metrics: dict[str, float],
    baseline_metrics: dict[str, float] | None,
    baseline_version: str | None,
) -> list[str]:
    threshold = next(
        rule.threshold
        for spec in config.metrics_specs
        for metric in spec.metrics
        for rule in metric.per_slice_thresholds
    )
    required = threshold.value_threshold.lower_bound.value
    top_1 = metrics[TOP_1]
    sentences = [
        f"top-1 {top_1:.4f} ≥ {required:.4f} required"
        if top_1 >= required
        else f"top-1 {top_1:.4f}, required {required:.4f}"
    ]
    if baseline_metrics is None:
        return [*sentences, "no earlier model to compare with"]
    change = top_1 - baseline_metrics[TOP_1]
    allowed = -threshold.change_threshold.absolute.value
    compared = (
        f"{change:+.4f} against version {baseline_version}"
        f" ({baseline_metrics[TOP_1]:.4f})"
    )
    return [
        *sentences,
        f"{compared}, a drop of {allowed:.4f} is allowed"
        if change >= -allowed
        else f"{compared}, more than the allowed drop of {allowed:.4f}",
    ]
