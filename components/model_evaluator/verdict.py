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
      `baseline_version`; `sentences`, one a rule of the gate; `refusals`, those of the
      sentences that speak against the model.
    """
    has_baseline = baseline_version is not None
    result = _load(evaluation_uri, CANDIDATE if has_baseline else None)
    metrics = _overall(result)
    baseline_metrics = (
        _overall(_load(evaluation_uri, BASELINE)) if has_baseline else None
    )
    rules = _rules(result.config, metrics, baseline_metrics, baseline_version)
    refusals = [sentence for sentence, is_kept in rules if not is_kept]
    if not is_blessed and not refusals:
        refusals = ["TFMA's validation failed; the log has its reasons"]
    return {
        "is_blessed": is_blessed,
        "metrics": metrics,
        "baseline_metrics": baseline_metrics,
        "baseline_version": baseline_version,
        "per_class": _per_class(result),
        "sentences": [sentence for sentence, _ in rules],
        "refusals": refusals,
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


def _rules(
    config: tfma.EvalConfig,
    metrics: dict[str, float],
    baseline_metrics: dict[str, float] | None,
    baseline_version: str | None,
) -> list[tuple[str, bool]]:
    """Sentence of each rule, and whether it is kept."""
    threshold = next(
        rule.threshold
        for spec in config.metrics_specs
        for metric in spec.metrics
        for rule in metric.per_slice_thresholds
    )
    return [
        _absolute_rule(metrics[TOP_1], threshold.value_threshold.lower_bound.value),
        _change_rule(
            metrics[TOP_1],
            baseline_metrics[TOP_1] if baseline_metrics else None,
            baseline_version,
            allowed_drop=-threshold.change_threshold.absolute.value,
        ),
    ]


def _absolute_rule(top_1: float, required: float) -> tuple[str, bool]:
    if top_1 >= required:
        return f"top-1 {top_1:.4f} ≥ {required:.4f} required", True
    return f"top-1 {top_1:.4f}, required {required:.4f}", False


def _change_rule(
    top_1: float, baseline: float | None, version: str | None, allowed_drop: float
) -> tuple[str, bool]:
    if baseline is None:
        return "no earlier model to compare with", True
    change = top_1 - baseline
    compared = f"{change:+.4f} against version {version} ({baseline:.4f})"
    if change >= -allowed_drop:
        return f"{compared}, a drop of {allowed_drop:.4f} is allowed", True
    return f"{compared}, more than the allowed drop of {allowed_drop:.4f}", False
