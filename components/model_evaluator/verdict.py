"""All figures of an evaluation, and the gate's verdict on them."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from components.model_evaluator import (
    analysis,
    classes,
    figures,
    gate,
    intervals,
    predictions,
)
from pushed_models import signatures
from storage import durable, manifest

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
    table, labels = predictions.numbers(evaluation_uri), settings.labels
    changes = classes.changes(labels, baseline.labels) if baseline else None
    compared = _compared(table, labels, changes)
    values = figures.of_images(table, settings.measured_k)
    by_class = figures.per_class(table, labels)
    bins = figures.reliability(table)
    return {
        "labels": list(labels),
        "images": len(table),
        "cross_validation": _cross_validation(
            _extra(model, signatures.CROSS_VALIDATION_FILE)
        ),
        "training_warnings": _extra(model, signatures.WARNINGS_FILE) or [],
        "metrics": figures.overall(values, by_class, bins),
        "intervals": {
            name: figures.interval(column) for name, column in values.items()
        },
        "baseline_version": baseline.version if baseline else None,
        "baseline_seen": baseline.seen if baseline else "",
        "classes": (
            {**dataclasses.asdict(changes), "images": len(compared)}
            if changes
            else None
        ),
        **(
            compare(compared, settings.measured_k, len(baseline.labels))
            if baseline
            else NOTHING
        ),
        "test_time_views": _without_views(
            _extra(model, signatures.VIEWS_FILE), table, settings
        ),
        "per_class": by_class,
        "slices": _slices(table, values, labels),
        "confusion": figures.confusion(table, len(labels)).tolist(),
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
    views: str | None, table: pd.DataFrame, settings: analysis.Settings
) -> dict[str, Any] | None:
    if views is None:
        return None
    found = compare(
        table, settings.measured_k, len(settings.labels), predictions.PLAIN_PREFIX
    )
    return {
        "views": views,
        "metrics": found["baseline_metrics"],
        "differences": found["differences"],
    }


def write(
    evaluation_uri: str, measured: Mapping[str, Any], limits: gate.Limits
) -> bool:
    """Judges, and writes figures and verdict into the artifact.

    Beside the figures `verdict.json` holds `is_blessed`; `is_gate_open`; `rules`, as
    `common.rule.Rule`; their `sentences`; and `refusals`, those that speak against the model.

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


def _slices(
    table: pd.DataFrame, values: pd.DataFrame, labels: Sequence[str]
) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, value, rows in figures.slices(table, labels):
        found.setdefault(name, {})[value] = figures.means(values.iloc[rows])
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
    top_k: Iterable[int],
    num_classes: int,
    prefix: str = predictions.BASELINE_PREFIX,
) -> dict[str, Any]:
    """Candidate and baseline on the same images.

    Each model answers with its full class list, as it does when it is served: an answer
    that the other model does not know counts as wrong, like any other.

    Args:
      table: predictions of both.
      top_k: of them those are compared that the baseline has more classes than.
      num_classes: of the baseline.
      prefix: of its columns; `predictions.PLAIN_PREFIX` takes the candidate without its
        test-time views for the baseline.

    Returns:
      `baseline_metrics` and `differences`, as `measure`; NOTHING for an empty table.
    """
    if table.empty:
        return NOTHING
    measured_k = figures.telling(top_k, num_classes)
    ours = figures.of_images(table, measured_k)
    others = figures.of_images(table, measured_k, prefix)
    return {
        "baseline_metrics": {
            name: float(column.mean()) for name, column in others.items()
        },
        "differences": {name: _difference(ours[name], others[name]) for name in ours},
    }


def _difference(ours: pd.Series, others: pd.Series) -> dict[str, float]:
    changes = ours.astype(float) - others.astype(float)
    low, high = (
        intervals.of_paired_shares(ours.to_numpy(), others.to_numpy())
        if ours.dtype == bool
        else intervals.of_mean(changes.to_numpy())
    )
    return {"difference": float(changes.mean()), "low": low, "high": high}
