"""Checks that a candidate can be served, in a process of its own.

TFX's InfraValidator starts a model server in Docker and asks whether it answers; this one
needs no Docker and asks whether the answers are right. It emits the same artifact.
"""

import dataclasses
import json
import pathlib
from typing import Any

from absl import logging
from tfx.dsl.component.experimental.annotations import (
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components import artifacts
from components.infra_check import fresh_process, rules
from pushed_models import recorded, signatures
from schema import contract
from storage import durable

# As tfx.components.infra_validator.executor marks the artifact and Pusher reads it; that
# module would import clients of Docker and Kubernetes.
BLESSED_PROPERTY = "blessed"


@artifacts.component
def InfraCheck(
    model: InputArtifact[standard_artifacts.Model],
    model_run: InputArtifact[standard_artifacts.ModelRun],
    schema: InputArtifact[standard_artifacts.Schema],
    limits: Parameter[str],
    source_fingerprint: Parameter[str],
    blessing: OutputArtifact[standard_artifacts.InfraBlessing],
) -> None:
    """Probes a candidate in a fresh process and writes the verdict on what that found.

    Args:
      model: the candidate.
      model_run: of the Trainer, with its recorded answers.
      schema: the contract, for the labels.
      limits: `rules.Limits` as JSON.
      source_fingerprint: of the code that checks, for the cache.
      blessing: with the report, and marked as by the stock InfraValidator.
    """
    report = check(
        pathlib.Path(path_utils.serving_model_path(model.uri)),
        pathlib.Path(model_run.uri) / signatures.RECORDED_FILE,
        contract.read_labels(pathlib.Path(schema.uri) / contract.SCHEMA_FILE),
        rules.Limits(**json.loads(limits)),
    )
    folder = pathlib.Path(blessing.uri)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report, ensure_ascii=False, indent=1)
    durable.write_text(folder / rules.REPORT_FILE, f"{text}\n")
    is_blessed = report["is_blessed"]
    mark = rules.BLESSED_FILE if is_blessed else rules.NOT_BLESSED_FILE
    (folder / mark).touch()
    blessing.set_int_custom_property(BLESSED_PROPERTY, int(is_blessed))
    logging.info("Infra blessed: %s", is_blessed)


def check(
    model: pathlib.Path,
    recording: pathlib.Path,
    labels: tuple[str, ...],
    limits: rules.Limits,
) -> dict[str, Any]:
    """Probes a SavedModel and judges it.

    Args:
      model: its folder.
      recording: file with the Trainer's answers.
      labels: class names of the contract, in label order.
      limits: what the model must keep.

    Returns:
      `is_blessed`; `rules`, as `common.rule.Rule`; their `sentences`; `refusals`, those that
      speak against the model; and the figures: `load_seconds`, `latency_ms` {p50, p99,
      calls}, `plain_latency_ms` the same without test-time views, `peak_memory_bytes`,
      `size_bytes`, `answers` {images, asked, equal, largest_difference}, None where the
      model did not come so far; `log`, the last lines of a process that did not end well.
    """
    probed = fresh_process.run(model, recording, limits.timeout_seconds)
    findings = probed.findings
    expected = None
    if findings.get("answers"):
        expected = recorded.read(recording).probabilities
    size_bytes = sum(path.stat().st_size for path in model.rglob("*") if path.is_file())
    found = rules.judge(findings, probed.end, expected, labels, size_bytes, limits)
    refusals = [rule.sentence for rule in found if not rule.is_kept]
    return {
        "is_blessed": not refusals,
        "sentences": [rule.sentence for rule in found],
        "refusals": refusals,
        "rules": [dataclasses.asdict(rule) for rule in found],
        "load_seconds": findings.get("load_seconds"),
        "latency_ms": _latency(findings.get("latencies_ms")),
        "plain_latency_ms": _latency(findings.get("plain_latencies_ms")),
        "peak_memory_bytes": findings.get("peak_memory_bytes"),
        "size_bytes": size_bytes,
        "answers": _answers(findings, expected, labels, limits),
        "log": list(probed.log) if probed.end else [],
    }


def _latency(latencies: list[float] | None) -> dict[str, float] | None:
    if not latencies:
        return None
    return {
        "p50": rules.percentile_ms(latencies, 50),
        "p99": rules.percentile_ms(latencies, 99),
        "calls": len(latencies),
    }


def _answers(
    findings: dict[str, Any],
    expected: Any,
    labels: tuple[str, ...],
    limits: rules.Limits,
) -> dict[str, Any] | None:
    if expected is None:
        return None
    differences = rules.compare(findings["answers"], expected, labels)
    largest = float(differences.max())
    return {
        "images": len(expected),
        "asked": len(differences),
        "equal": int((differences <= limits.max_difference).sum()),
        # JSON has no infinity.
        "largest_difference": largest if largest < float("inf") else None,
    }
