"""Contents of the sections verdict, metrics, classes and calibration, from the evaluation."""

from typing import Any

from components.model_evaluator import gate, scores
from report import drawing, run_data, wording
from report.run_data import RunData

MAX_SLICES = 40
# Heading of the gate's rules.
GATE = "Gate"


def verdict(data: RunData) -> dict[str, Any]:
    """Every rule, whether the gate is open, and what guessing would reach."""
    summary = data.summary
    rules = (data.verdict or {}).get("rules") or summary.get("rules") or []
    infra_rules = summary.get("infra_rules") or (data.infra or {}).get("rules") or []
    return {
        "open_gate": f"The gate is {gate.OPEN}." if summary.get("is_gate_open") else "",
        "groups": [
            (title, found, any(rule.get("baseline") is not None for rule in found))
            for title, found in ((GATE, rules), ("Served model", infra_rules))
            if found
        ],
        "majority": scores.majority_in_words(summary["per_class"]),
    }


def metrics(data: RunData) -> dict[str, Any]:
    """Figures on test with intervals, and those of the baseline."""
    found = data.verdict or data.summary
    differences = found.get("differences") or {}
    changed = found.get("classes") or {}
    names = found["metrics"].keys() - {"example_count"}
    return {
        "found": found,
        "changed": changed if changed.get("added") or changed.get("removed") else None,
        "views": scores.views_in_words(found.get("test_time_views")),
        "rows": [
            (name, wording.metric(name), differences.get(name))
            for name in sorted(names, key=wording.metric_place)
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
