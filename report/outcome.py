"""Contents of the sections verdict, metrics, classes and calibration, from the evaluation."""

from collections.abc import Mapping
from typing import Any

from components.model_evaluator import gate, scores, views
from report import drawing, run_data, wording
from report.run_data import RunData

MAX_SLICES = 40
# Heading of the gate's rules.
GATE = "Gate"


def verdict(data: RunData) -> dict[str, Any]:
    """Whether the model passed, and every rule."""
    summary = data.summary
    rules = (data.verdict or {}).get("rules") or summary.get("rules") or []
    infra_rules = summary.get("infra_rules") or (data.infra or {}).get("rules") or []
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
    """Figures on test with intervals, and those of the baseline."""
    found = data.verdict or data.summary
    values: Mapping[str, float] = found["metrics"]
    intervals = found.get("intervals") or {}
    before = found.get("baseline_metrics") or {}
    differences = found.get("differences") or {}
    changed = found.get("classes") or {}
    names = sorted(values.keys() - {"example_count"}, key=wording.metric_place)
    return {
        "images": values.get("example_count"),
        "baseline_version": found.get("baseline_version"),
        "baseline_seen": found.get("baseline_seen"),
        "is_compared": bool(differences),
        "changed": changed if changed.get("added") or changed.get("removed") else None,
        "cross_validation": found.get("cross_validation"),
        "views": views.in_words(found.get("test_time_views")),
        "rows": [
            {
                "name": wording.metric(name),
                "value": values[name],
                "interval": intervals.get(name),
                "before": before.get(name),
                "difference": differences.get(name),
                "drawing": _drawing(differences.get(name)),
            }
            for name in names
        ],
        "missing": data.without(run_data.VERDICT),
    }


def classes(data: RunData) -> dict[str, Any]:
    """Precision, recall and F1 by class, the worst first; top-1 by slice."""
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
    slices = []
    for trait, values in found.get("slices", {}).items():
        if trait != gate.CLASS:
            worst = sorted(values.items(), key=lambda item: item[1]["top_1"])
            more = max(0, len(worst) - MAX_SLICES)
            slices.append((trait, worst[:MAX_SLICES], more))
    return {
        "rows": rows,
        "untested": untested,
        "most": most,
        "slices": slices,
        "missing": data.without(run_data.VERDICT),
    }


def calibration(data: RunData) -> dict[str, Any]:
    """Confidence against accuracy."""
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


def _drawing(difference: Mapping[str, float] | None) -> Any:
    if not difference:
        return None
    return drawing.interval(
        difference["low"], difference["difference"], difference["high"]
    )


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
    always = wording.visible(scores.majority_in_words(summary["per_class"]))
    steps = f"{summary['steps']:,} steps" if summary["steps"] else "class layer fitted"
    times = [f"training {wording.duration(summary['training_seconds'])}"]
    if part := summary.get("part"):
        times.append(f"ran {part}")
    if base := summary.get("base"):
        times.append(f"the rest is from {base}")
    return [
        (
            "top-1 on test",
            wording.figure(found["top_1"]),
            "; ".join(filter(None, (interval, always))),
        ),
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
            f"{summary['parameters']:,} parameters, {steps}",
        ),
        ("time", wording.duration(summary["total_seconds"]), "; ".join(times)),
    ]
