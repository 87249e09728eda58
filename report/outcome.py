"""What the sections verdict, metrics, classes and calibration show: figures of the evaluation."""

import math
from collections.abc import Mapping
from typing import Any

from components.model_evaluator import gate, scores
from report import drawing, run_data, wording
from report.run_data import RunData

MAX_SLICES = 40
# Heading of its rules.
GATE = "Gate"


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
        "findings": summary.get("findings") or [],
        "open_gate": f"The gate is {gate.OPEN}." if summary.get("is_gate_open") else "",
        "what_followed": _what_followed(summary),
        "groups": [
            (
                title,
                [_rule(rule) for rule in found],
                any(rule.get("baseline") is not None for rule in found),
            )
            for title, found in ((GATE, rules), ("Served model", infra_rules))
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
    changed = found.get("classes") or {}
    names = sorted(
        (name for name in values if name != "example_count"), key=wording.metric_place
    )
    return {
        "images": values.get("example_count"),
        "baseline_version": found.get("baseline_version"),
        "baseline_seen": found.get("baseline_seen"),
        "is_compared": bool(differences),
        "changed": changed if changed.get("added") or changed.get("removed") else None,
        "cross_validation": found.get("cross_validation"),
        "views": scores.views_in_words(found.get("test_time_views")),
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


def classes(data: RunData) -> dict[str, Any]:
    """Precision, recall and F1 of each class, the worst first; slices by trait."""
    found = data.verdict or data.summary
    untested = gate.untested(found["per_class"])
    rows = sorted(
        (
            {"name": name, **figures}
            for name, figures in found["per_class"].items()
            if name not in untested
        ),
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
        "untested": untested,
        "most": most,
        "slices": [
            (trait, values[:MAX_SLICES], max(0, len(values) - MAX_SLICES))
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


def _part(summary: Mapping[str, Any]) -> str:
    """What ran, where it was not all."""
    if not summary.get("part"):
        return ""
    base = f"; the rest is from {summary['base']}" if summary.get("base") else ""
    return f"; ran {summary['part']}{base}"


def _headline(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    found = summary["metrics"]
    low, high = summary.get("intervals", {}).get("top_1", (None, None))
    images = sum(summary["images"].values())
    interval = f"95 % interval {low:.4f} to {high:.4f}" if low is not None else ""
    always = wording.visible(scores.majority_in_words(summary["per_class"]))
    interval = "; ".join(filter(None, (interval, always)))
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
            f"{summary['parameters']:,} parameters, "
            + (
                f"{summary['steps']:,} steps"
                if summary["steps"]
                else "class layer fitted"
            ),
        ),
        (
            "time",
            wording.duration(summary["total_seconds"]),
            f"training {wording.duration(summary['training_seconds'])}{_part(summary)}",
        ),
    ]


def _difference_drawing(difference: Mapping[str, float] | None) -> Any:
    if not difference:
        return None
    low, high = difference["low"], difference["high"]
    reach = max(abs(low), abs(high), abs(difference["difference"]))
    if not math.isfinite(reach):
        return None
    return drawing.interval(low, difference["difference"], high, reach)
