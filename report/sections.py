"""What each section of the page shows, as plain values for its template."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from components.image_example_gen import reports
from components.model_evaluator import gate, predictions
from report import confusion, drawing, run_data, thumbnails, wording
from report.run_data import RunData
from schema import features
from trainer import history

MAX_EXAMPLES = 24
EXAMPLES_PER_CLASS = 2
MAX_LISTED = 40
MISTAKES = 24
# Column heads of the confusion matrix stand upright where they are more or longer.
MAX_LEVEL_CLASSES, MAX_LEVEL_SIGNS = 14, 9
# Of data: addresses, so that the page stays below 5 MB.
CELL_BYTES = 2_500_000
MISTAKE_BYTES = 400_000
# Order of the headline table; other top-k stand after top-1.
METRICS = (
    "top_1",
    "cross_entropy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "calibration_error",
)
_CURVE_KINDS = {"ema": "first", "raw": "second"}


def verdict(data: RunData) -> dict[str, Any]:
    """Passed or refused, and every rule."""
    summary = data.summary
    rules = (data.verdict or {}).get("rules") or summary.get("rules") or []
    infra_rules = summary.get("infra_rules") or (data.infra or {}).get("rules") or []
    if not rules:
        # Runs from before rules were kept one by one.
        refusals = summary.get("refusals", [])
        rules = [
            {"name": "", "sentence": sentence, "is_kept": sentence not in refusals}
            for sentence in summary.get("verdict", [])
        ]
    return {
        "has_passed": summary["passed"],
        "what_followed": _what_followed(summary),
        "groups": [
            (
                title,
                [_rule(rule) for rule in found],
                any(rule.get("baseline") is not None for rule in found),
            )
            for title, found in (("Gate", rules), ("Served model", infra_rules))
            if found
        ],
        "headline": _headline(summary),
    }


def metrics(data: RunData) -> dict[str, Any]:
    """The figures on test, with intervals, beside those of the baseline."""
    found = data.verdict or data.summary
    values: Mapping[str, float] = found["metrics"]
    intervals = found.get("intervals") or {}
    before = found.get("baseline_metrics") or {}
    differences = found.get("differences") or {}
    names = sorted(
        (name for name in values if name != "example_count"), key=_metric_place
    )
    return {
        "images": values.get("example_count"),
        "baseline_version": found.get("baseline_version"),
        "rows": [
            {
                "name": wording.metric(name),
                "value": values[name],
                "interval": intervals.get(name),
                "before": before.get(name),
                "difference": differences.get(name),
                "drawing": _difference_drawing(differences.get(name)),
            }
            for name in names
        ],
        "missing": data.without(run_data.VERDICT),
    }


def data_section(data: RunData, examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts, examples, and what was left out or looks wrong.

    Args:
      data: of the run.
      examples: images to show, as `src`, `key` and `text`.
    """
    per_class: Mapping[str, Mapping[str, int]] = data.summary["images_per_class"]
    splits = list(data.summary["images"])
    names = list(data.labels)
    names += sorted({name for row in per_class.values() for name in row} - set(names))
    counts = [[per_class[split].get(name, 0) for split in splits] for name in names]
    sums = [sum(row) for row in counts]
    rows = [
        {
            "name": name,
            "counts": row,
            "total": total,
            "drawing": drawing.stack(row, max(sums)),
        }
        for name, row, total in zip(names, counts, sums, strict=True)
    ]
    filled = [(total, name) for total, name in zip(sums, names, strict=True) if total]
    uri = data.uri("ingest", "examples")
    return {
        "splits": splits,
        "totals": [data.summary["images"][split] for split in splits],
        "rows": rows,
        "balance": max(filled)[0] / min(filled)[0] if filled else None,
        "largest": max(filled)[1] if filled else "",
        "smallest": min(filled)[1] if filled else "",
        "examples": examples,
        "facts": _ingest_facts(data),
        "missing_classes": (data.ingest or {}).get("missing_classes") or {},
        "quarantine": data.quarantine[:MAX_LISTED],
        "quarantine_count": max(len(data.quarantine), data.summary["unreadable"]),
        "quarantine_file": str(uri / reports.QUARANTINE_FILE) if uri else "",
        "anomalies": data.anomalies,
        "findings": _findings(data.data_check) if data.data_check else None,
        "missing": data.without(
            run_data.INGEST,
            run_data.QUARANTINE,
            run_data.ANOMALIES,
            f"{run_data.EXAMPLES} {features.TRAIN}",
        ),
    }


def curves(data: RunData) -> dict[str, Any]:
    """Loss, accuracy and rate over the steps."""
    losses = list(history.read(history.losses(data.folder)))
    measured = list(history.read(history.measurements(data.folder)))
    weights = [
        name.removeprefix("eval_top_1_")
        for name in (measured[0] if measured else ())
        if name.startswith("eval_top_1_")
    ]
    accuracy = [
        drawing.Line("train, a batch each", "quiet", _points(losses, "accuracy")),
        *(
            drawing.Line(
                f"eval, {'averaged' if each == 'ema' else each} weights",
                _CURVE_KINDS.get(each, "second"),
                _points(measured, f"eval_top_1_{each}"),
                has_marks=True,
            )
            for each in sorted(weights, reverse=True)
        ),
    ]
    panels = [
        ("Loss", "loss of the batch", [_train_line(losses, "loss")], 0.0),
        ("Accuracy", "top-1", accuracy, 1.0),
        ("Learning rate", "rate", [_train_line(losses, "learning_rate")], 0.0),
    ]
    missing = [
        f"gone: {data.folder / name}"
        for name in (history.LOSSES_FILE, history.HISTORY_FILE)
        if not (data.folder / name).is_file()
    ]
    return {
        "panels": [
            {
                "title": title,
                "drawing": drawing.curves(
                    _in_words(title, lines), y_name, lines, top=top
                ),
                "lines": [line for line in lines if line.points],
            }
            for title, y_name, lines, top in panels
            if any(line.points for line in lines)
        ],
        "best_step": data.summary["best_step"],
        "steps": data.summary["steps"],
        "eval_top_1": data.summary["eval_top_1"],
        "weights": data.summary["weights"],
        "missing": missing,
    }


def confusion_section(
    data: RunData,
    shown: confusion.Matrix | None,
    chosen: Mapping[confusion.Cell, Sequence[Any]],
    addresses: Mapping[str, str],
) -> dict[str, Any]:
    """The matrix, and the images behind its cells.

    Args:
      data: of the run.
      shown: the matrix; None where it is gone.
      chosen: rows of the images of each cell.
      addresses: key -> thumbnail.
    """
    missing = data.without(
        run_data.VERDICT, run_data.PREDICTIONS, f"{run_data.EXAMPLES} {features.TEST}"
    )
    if shown is None:
        return {"rows": [], "missing": missing}
    labels = data.labels
    rows = [
        {
            "name": labels[true],
            "support": int(shown.counts[true].sum()),
            "cells": [_cell(shown, true, predicted) for predicted in shown.classes],
        }
        for true in shown.classes
    ]
    images = {
        _cell_name(cell): [
            {
                "src": addresses[row.key],
                "key": wording.visible(row.key),
                "confidence": wording.figure(row.confidence),
            }
            for row in found
            if row.key in addresses
        ]
        for cell, found in chosen.items()
    }
    return {
        "rows": rows,
        "labels": [labels[place] for place in shown.classes],
        "sums": [int(shown.counts[:, place].sum()) for place in shown.classes],
        "num_classes": len(labels),
        "has_long_names": len(shown.classes) > MAX_LEVEL_CLASSES
        or max(map(len, labels)) > MAX_LEVEL_SIGNS,
        "total": shown.total,
        "shown": shown.shown,
        "has_images": any(images.values()),
        "document": {
            "labels": [wording.visible(label) for label in labels],
            "images": {name: found for name, found in images.items() if found},
        },
        "missing": missing,
    }


def classes(data: RunData) -> dict[str, Any]:
    """Precision, recall and F1 of each class, the worst first; slices by trait."""
    found = data.verdict or data.summary
    rows = sorted(
        ({"name": name, **figures} for name, figures in found["per_class"].items()),
        key=lambda row: (row["f1"], row["recall"], row["name"]),
    )
    most = max((row["support"] for row in rows), default=0)
    slices = [
        (trait, sorted(values.items(), key=lambda item: item[1]["top_1"]))
        for trait, values in found.get("slices", {}).items()
        if trait != gate.CLASS
    ]
    return {
        "rows": rows,
        "most": most,
        "slices": [
            (trait, values[:MAX_LISTED], max(0, len(values) - MAX_LISTED))
            for trait, values in slices
        ],
        "missing": data.without(run_data.VERDICT),
    }


def calibration(data: RunData) -> dict[str, Any]:
    """Confidence against what is right."""
    bins = (data.verdict or {}).get("reliability") or []
    return {
        "bins": [each for each in bins if each["count"]],
        "drawing": drawing.reliability(bins) if bins else None,
        "counts": drawing.counts(bins) if bins else None,
        "error": (data.verdict or data.summary)["metrics"].get("calibration_error"),
        "total": sum(each["count"] for each in bins),
        "missing": data.without(run_data.VERDICT),
    }


def choose_mistakes(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The mistakes that the model was surest of, and the hits that it was least sure of."""
    hits = predictions.hits(table)
    order = [predictions.CONFIDENCE, predictions.KEY]
    wrong = table[~hits].sort_values(order, ascending=[False, True])
    right = table[hits].sort_values(order)
    return wrong.head(MISTAKES), right.head(MISTAKES)


def mistakes(
    data: RunData,
    wrong: pd.DataFrame | None,
    right: pd.DataFrame | None,
    addresses: Mapping[str, str],
) -> dict[str, Any]:
    """Both as thumbnails.

    Args:
      data: of the run.
      wrong: rows of predictions, or None where they are gone. right: the same.
      addresses: key -> thumbnail; images without one are shown as names alone.
    """

    def cards(rows: pd.DataFrame) -> list[dict[str, Any]]:
        return [
            {
                "src": addresses.get(row.key),
                "key": row.key,
                "true": data.labels[row.label],
                "predicted": data.labels[row.predicted],
                "confidence": float(row.confidence),
            }
            for row in rows.itertuples(index=False)
        ]

    total = None
    if data.table is not None:
        total = int(np.count_nonzero(~predictions.hits(data.table)))
    return {
        "wrong": cards(wrong) if wrong is not None else [],
        "right": cards(right) if right is not None else [],
        "total": total,
        "missing": data.without(
            run_data.PREDICTIONS, f"{run_data.EXAMPLES} {features.TEST}"
        ),
    }


def configuration(data: RunData) -> dict[str, Any]:
    """Settings, versions, fingerprints, artifacts and time."""
    summary = data.summary
    changed = [
        setting
        for setting in data.settings
        if setting.origin not in ("", "default", "experiment")
    ]
    seconds: Mapping[str, float] = summary["seconds"]
    longest = max(seconds.values(), default=0)
    return {
        "changed": changed,
        "settings": data.settings,
        "versions": summary.get("versions") or {},
        "source_fingerprint": summary.get("source_fingerprint"),
        "data_fingerprint": summary.get("data_fingerprint", ""),
        "artifacts": [
            (component, key, uri, pathlib.Path(uri).exists())
            for component, outputs in summary["artifacts"].items()
            for key, uris in outputs.items()
            for uri in uris
        ],
        "seconds": [
            (name, value, drawing.bar(value, longest))
            for name, value in seconds.items()
        ],
        "total_seconds": summary["total_seconds"],
        "missing": [] if data.settings else [f"gone: {data.folder / 'config.json'}"],
    }


def augmentation_rows(grid: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """A row an image: as evaluation sees it, then as training does.

    Args:
      grid: uint8 [n, 1 + variants, height, width, channels].
      names: class of each image.
    """
    return [
        {"name": name, "sources": [thumbnails.of_pixels(pixels) for pixels in row]}
        for name, row in zip(names, grid, strict=True)
    ]


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("name", "sentence", "is_kept", "figure", "limit", "baseline")
    return {key: rule.get(key) for key in keys}


def _what_followed(summary: Mapping[str, Any]) -> str:
    version, baseline = summary.get("pushed_version"), summary.get("baseline_version")
    if version:
        return f"Version {version} was pushed."
    if baseline:
        return f"Nothing was pushed; version {baseline} stayed live."
    return "Nothing was pushed."


def _headline(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    found = summary["metrics"]
    low, high = summary.get("intervals", {}).get("top_1", (None, None))
    images = sum(summary["images"].values())
    interval = f"95 % interval {low:.4f} to {high:.4f}" if low is not None else ""
    return [
        ("top-1 on test", wording.figure(found["top_1"]), interval),
        (
            "calibration error",
            wording.figure(found.get("calibration_error")),
            f"cross-entropy {wording.figure(found.get('cross_entropy'))}",
        ),
        (
            "images",
            wording.count(images),
            f"{summary['num_classes']:,} classes, {summary['unreadable']:,} unreadable",
        ),
        (
            "net",
            wording.visible(summary["net"]),
            f"{summary['parameters']:,} parameters, {summary['steps']:,} steps",
        ),
        (
            "time",
            wording.duration(summary["total_seconds"]),
            f"training {wording.duration(summary['training_seconds'])}",
        ),
    ]


def _metric_place(name: str) -> tuple[float, int]:
    if name in METRICS:
        return METRICS.index(name), 0
    if name.startswith("top_"):
        return 0.5, int(name.removeprefix("top_"))
    return len(METRICS), 0


def _difference_drawing(difference: Mapping[str, float] | None) -> Any:
    if not difference:
        return None
    low, high = difference["low"], difference["high"]
    reach = max(abs(low), abs(high), abs(difference["difference"]))
    if not math.isfinite(reach):
        return None
    return drawing.interval(low, difference["difference"], high, reach)


def _ingest_facts(data: RunData) -> list[tuple[str, str]]:
    found = data.ingest
    if not found:
        return []
    rows = [
        ("layout", wording.visible(found.get("format", wording.NOTHING))),
        ("unreadable, in quarantine", wording.count(found.get("unreadable"))),
        ("duplicates dropped", wording.count(found.get("duplicates_dropped"))),
        ("duplicates kept", wording.count(found.get("duplicates_kept"))),
        (
            "same image, several classes",
            wording.count(found.get("label_conflicts")),
        ),
        ("files ignored", wording.count(found.get("ignored"))),
        ("of these named as images", wording.count(found.get("ignored_images"))),
    ]
    return rows


def _findings(found: Mapping[str, Any]) -> dict[str, Any]:
    """Of a data check: number of findings by kind, and the first of each in words."""
    kinds: list[tuple[str, int | None, list[str]]] = []
    unreadable = found.get("unreadable") or ()
    kinds.append(("unreadable", len(unreadable), [_joined(row) for row in unreadable]))
    for title, name in (
        ("copies", "exact_duplicates"),
        ("lookalikes", "near_duplicates"),
    ):
        groups = found.get(name)
        told = [
            " = ".join(image["key"] for image in group["images"])
            + (" (across splits)" if group.get("is_across_splits") else "")
            + (" (several classes)" if group.get("has_several_classes") else "")
            for group in groups or ()
        ]
        kinds.append((title, None if groups is None else len(groups), told))
    for kind, odd in (found.get("odd_images") or {}).items():
        told = [f"{each['image']['key']}, score {each['score']:.2f}" for each in odd]
        kinds.append((kind.replace("_", " "), len(odd), told))
    doubts = found.get("wrong_labels")
    told = [
        f"{each['key']}: {each['given']}, rather {each['suggested']}"
        f" (probability of its class {each['score']:.2f})"
        for each in doubts or ()
    ]
    kinds.append(("doubtful labels", None if doubts is None else len(doubts), told))
    return {
        "kinds": [
            (title, total, told[:MAX_LISTED], max(0, len(told) - MAX_LISTED))
            for title, total, told in kinds
        ],
        "left_out": found.get("left_out") or [],
    }


def _joined(row: Any) -> str:
    """An unreadable image: JSON makes a list of the pair."""
    return ": ".join(map(str, row.values() if isinstance(row, Mapping) else row))


def _points(rows: Sequence[Mapping[str, float]], name: str) -> list[drawing.Point]:
    return drawing.thin([(row["step"], row[name]) for row in rows if name in row])


def _train_line(rows: Sequence[Mapping[str, float]], name: str) -> drawing.Line:
    return drawing.Line("train", "first", _points(rows, name))


def _in_words(title: str, lines: Sequence[drawing.Line]) -> str:
    told = [
        f"{line.name}: from {line.points[0][1]:.4g} to {line.points[-1][1]:.4g}"
        for line in lines
        if line.points
    ]
    return f"{title} over the steps. {'; '.join(told)}."


def _cell(shown: confusion.Matrix, true: int, predicted: int) -> dict[str, Any]:
    return {
        "name": _cell_name((true, predicted)),
        "true": true,
        "predicted": predicted,
        "count": int(shown.counts[true, predicted]),
        "share": float(shown.shares[true, predicted]),
        "shade": shown.shade(true, predicted),
        "is_hit": true == predicted,
    }


def _cell_name(cell: confusion.Cell) -> str:
    """By places, never by names of classes, which come from the data."""
    return f"{cell[0]}-{cell[1]}"
