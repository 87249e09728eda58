"""Settings and progress line of the check of the served model."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from components.infra_check import rules
from components.nodes import Node, Outcome, Outputs, only


def read(blessing_uri: str) -> dict[str, Any]:
    """What the check wrote into its artifact (`components.infra_check.component.check`).

    The stock validator, TensorFlow Serving, leaves no figures, only its mark; there is one
    rule then.
    """
    folder = pathlib.Path(blessing_uri)
    if (folder / rules.REPORT_FILE).is_file():
        return json.loads((folder / rules.REPORT_FILE).read_text(encoding="utf-8"))
    is_blessed = (folder / rules.BLESSED_FILE).is_file()
    sentence = (
        "TensorFlow Serving loaded the model and answered"
        if is_blessed
        else "TensorFlow Serving did not load the model, or did not answer"
    )
    rule = {"name": rules.TF_SERVING, "sentence": sentence, "is_kept": is_blessed}
    return {
        "is_blessed": is_blessed,
        "sentences": [sentence],
        "refusals": [] if is_blessed else [sentence],
        "rules": [rule | {"figure": None, "limit": None}],
    }


def in_short(report: Mapping[str, Any]) -> str:
    """'loaded, 80 of 80 answers equal to training, p99 12 ms, 3.1 MB', or the refusals."""
    if not report["is_blessed"]:
        return f"refused: {'; '.join(report['refusals'])}"
    if "answers" not in report:
        return "; ".join(report["sentences"])
    answers, latency = report["answers"], report["latency_ms"]
    size = report["size_bytes"] / rules.MEGABYTE
    plain = report.get("plain_latency_ms")
    without = f" ({plain['p99']:.0f} ms without test-time views)" if plain else ""
    return (
        f"loaded, {answers['equal']} of {answers['asked']} answers equal to training,"
        f" p99 {latency['p99']:.0f} ms{without}, {size:.1f} MB"
    )


def describe(outputs: Outputs) -> Outcome:
    """See `in_short`."""
    report = read(only(outputs, "blessing").uri)
    return Outcome(in_short(report), is_good=report["is_blessed"])


NODE = Node(("infra",), describe)
