"""All figures of an evaluation, and the gate's verdict on them."""

import dataclasses
import json
import pathlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow_model_analysis as tfma

from components.model_evaluator import (
    analysis,
    classes,
    gate,
    intervals,
    predictions,
    scores,
)
from schema import durable, features, manifest, signatures

# What a comparison gives where there is nothing to compare.
NOTHING = {"baseline_metrics": None, "differences": None}


def measure(
    evaluation_uri: str,
    settings: analysis.Settings,
    baseline: classes.Baseline | None,
    model: pathlib.Path | None = None,
) -> dict[str, Any]:
    """Figures of an evaluation.

    Args:
      evaluation_uri: folder that `analysis.run` filled.
      settings: what was measured.
      baseline: model that is live, or None.
      model: the candidate's SavedModel, which may hold the result of a cross-validation
        and the warnings of the training.

    Returns:
      `labels`; `images`, how many were measured; `cross_validation` (None without one),
      {top_1, low, high, images, folds}; `metrics`, name -> value over the whole split;
      `intervals`, name -> 95 % interval; `baseline_version`; `baseline_seen`, why it may
      have been trained on test images, or ''; `classes` (None without a baseline),
      {shared, added, removed, images}, the names as `classes.Changes` and the number of
      images of shared classes; on these images, and None where there are none,
      `baseline_metrics`, name -> value, and `differences`, name -> {difference, low, high},
      paired, candidate less baseline;
      `test_time_views` (None without), {views, metrics, differences}: which views the answers
      average over, and the figures without them, as `baseline_metrics` and `differences`;
      `per_class`, class name -> {precision, recall, f1, support}; `slices`, 'class' or
      trait -> value -> {top_1, cross_entropy, example_count and so on}; `confusion`, rows
      true, columns predicted; `reliability`, bins of confidence.
    """
    table = predictions.read(evaluation_uri)
    changes = classes.changes(settings.labels, baseline.labels) if baseline else None
    compared = _compared(table, settings.labels, changes)
    is_measured = changes is not None and bool(changes.shared)
    result = tfma.load_eval_result(
        evaluation_uri, model_name=analysis.CANDIDATE if is_measured else None
    )
    confusion = _confusion(result, len(settings.labels))
    by_class = scores.per_class(confusion, settings.labels)
    bins = scores.reliability(
        table[predictions.CONFIDENCE].to_numpy(), predictions.hits(table)
    )
    metrics = _overall(result) | scores.macro(by_class)
    metrics["calibration_error"] = scores.calibration_error(bins)
    return {
        "labels": list(settings.labels),
        "images": len(table),
        "cross_validation": _cross_validation(
            _extra(model, signatures.CROSS_VALIDATION_FILE)
        ),
        "training_warnings": _extra(model, signatures.WARNINGS_FILE) or [],
        "metrics": metrics,
        "intervals": _intervals(table, metrics),
        "baseline_version": baseline.version if baseline else None,
        "baseline_seen": baseline.seen if baseline else "",
        "classes": (
            {**dataclasses.asdict(changes), "images": len(compared)}
            if changes
            else None
        ),
        **(compare(compared, metrics, len(baseline.labels)) if baseline else NOTHING),
        "test_time_views": _without_views(
            _extra(model, signatures.VIEWS_FILE), table, metrics, len(settings.labels)
        ),
        "per_class": by_class,
        "slices": _slices(result),
        "confusion": confusion.tolist(),
        "reliability": bins,
    }


def _extra(model: pathlib.Path | None, name: str) -> Any:
    """Content of a JSON file that training put into the SavedModel; None without it."""
    file = model / manifest.EXTRA_FOLDER / name if model else None
    if file is None or not file.is_file():
        return None
    return json.loads(file.read_text(encoding="utf-8"))


def _cross_validation(facts: dict[str, Any] | None) -> dict[str, Any] | None:
    if facts is None:
        return None
    low, high = intervals.of_share(facts["hits"], facts["images"])
    return {
        "top_1": facts["hits"] / facts["images"],
        "low": low,
        "high": high,
        "images": facts["images"],
        "folds": facts["folds"],
    }


def _without_views(
    views: str | None,
    table: pd.DataFrame,
    metrics: Collection[str],
    num_classes: int,
) -> dict[str, Any] | None:
    if views is None:
        return None
    found = compare(table, metrics, num_classes, predictions.PLAIN_PREFIX)
    return {
        "views": views,
        "metrics": found["baseline_metrics"],
        "differences": found["differences"],
    }


def write(
    evaluation_uri: str, measured: Mapping[str, Any], limits: gate.Limits
) -> bool:
    """Judges, and writes figures and verdict into the artifact.

    Beside the figures `verdict.json` holds `is_blessed`; `is_gate_open`; `rules`, as `schema.rule.Rule`; their
    `sentences`; and `refusals`, those that speak against the model.

    Returns:
      Whether the model is blessed.
    """
    rules = gate.judge(measured, limits)
    refusals = [rule.sentence for rule in rules if not rule.is_kept]
    document = {
        "is_blessed": not refusals,
        "is_gate_open": limits.is_open,
        "sentences": [rule.sentence for rule in rules],
        "refusals": refusals,
        "rules": [dataclasses.asdict(rule) for rule in rules],
        **measured,
    }
    text = json.dumps(document, ensure_ascii=False) + "\n"
    durable.write_text(pathlib.Path(evaluation_uri) / gate.VERDICT_FILE, text)
    return not refusals


def _overall(result: tfma.EvalResult) -> dict[str, float]:
    return _values(dict(result.slicing_metrics)[()])


def _slices(result: tfma.EvalResult) -> dict[str, dict[str, dict[str, float]]]:
    slices: dict[str, dict[str, dict[str, float]]] = {}
    for slice_key, metrics in result.slicing_metrics:
        if len(slice_key) != 1:
            continue
        ((feature, value),) = slice_key
        name = (
            gate.CLASS
            if feature == features.TEXT
            else feature.removeprefix(predictions.TRAIT_PREFIX)
        )
        slices.setdefault(name, {})[str(value)] = _values(metrics)
    return {
        name: dict(sorted(by_value.items()))
        for name, by_value in sorted(slices.items())
    }


def _confusion(result: tfma.EvalResult, num_classes: int) -> np.ndarray:
    """int [num_classes, num_classes], rows true, columns predicted."""
    counts = np.zeros([num_classes, num_classes], np.int64)
    by_output = dict(result.plots)[()]
    ((plot,),) = (tuple(by_key.values()) for by_key in by_output.values())
    ((matrix,),) = (
        matrices["matrices"] for matrices in plot.values() if "matrices" in matrices
    )
    for entry in matrix.get("entries", ()):
        # TFMA leaves out what is 0.
        counts[entry.get("actualClassId", 0), entry.get("predictedClassId", 0)] += (
            round(entry["numWeightedExamples"])
        )
    return counts


def _intervals(
    table: pd.DataFrame, metrics: Mapping[str, float]
) -> dict[str, intervals.Interval]:
    found = {
        name: intervals.of_share(
            int(np.count_nonzero(predictions.hits(table, k))), len(table)
        )
        for name, k in _top_metrics(metrics)
    }
    found[analysis.CROSS_ENTROPY] = intervals.of_mean(
        predictions.cross_entropy(table, "")
    )
    return found


def _compared(
    table: pd.DataFrame, labels: Sequence[str], changes: classes.Changes | None
) -> pd.DataFrame:
    """The images on which a baseline can be compared: those of classes that it knows."""
    shared = set(changes.shared) if changes else set()
    numbers = [number for number, name in enumerate(labels) if name in shared]
    return table[table[predictions.LABEL].isin(numbers)]


def compare(
    table: pd.DataFrame,
    metrics: Collection[str],
    num_classes: int,
    prefix: str = predictions.BASELINE_PREFIX,
) -> dict[str, Any]:
    """Candidate and baseline on the same images.

    Each model answers with its full class list, as it does when it is served: an answer
    that the other model does not know counts as wrong, like any other.

    Args:
      table: predictions of both.
      metrics: names; of them top-k is compared, where the baseline has more classes than
        k, and cross-entropy besides.
      num_classes: of the baseline.
      prefix: of its columns; `predictions.PLAIN_PREFIX` takes the candidate without its
        test-time views for the baseline.

    Returns:
      `baseline_metrics` and `differences`, as `measure`; NOTHING for an empty table.
    """
    if table.empty:
        return NOTHING
    values, differences = {}, {}
    for name, k in _top_metrics(metrics):
        if 1 < k >= num_classes:
            continue
        hits = predictions.hits(table, k)
        other_hits = predictions.hits(table, k, prefix)
        values[name] = float(other_hits.mean())
        differences[name] = _difference(
            float(hits.mean() - other_hits.mean()),
            intervals.of_paired_shares(hits, other_hits),
        )
    losses = predictions.cross_entropy(table, prefix)
    values[analysis.CROSS_ENTROPY] = float(losses.mean())
    changes = predictions.cross_entropy(table, "") - losses
    differences[analysis.CROSS_ENTROPY] = _difference(
        float(changes.mean()), intervals.of_mean(changes)
    )
    return {"baseline_metrics": values, "differences": differences}


def _difference(value: float, interval: intervals.Interval) -> dict[str, float]:
    return {"difference": value, "low": interval[0], "high": interval[1]}


def _top_metrics(metrics: Iterable[str]) -> list[tuple[str, int]]:
    """('top_5', 5) of each top-k accuracy that was measured."""
    return [
        (name, int(name.removeprefix("top_")))
        for name in metrics
        if name.startswith("top_")
    ]


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
