"""Checks that a candidate can be served, in a process of its own.

TFX's InfraValidator starts a model server in Docker and asks whether it answers; this one
needs no Docker and asks whether the answers are right. It emits the same artifact.
"""

import dataclasses
import json
import pathlib
from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.utils import path_utils

from components import artifacts
from components.infra_check import fresh_process, rules
from pushed_models import recorded, signatures
from schema import contract
from storage import durable

MODEL_KEY = "model"
MODEL_RUN_KEY = "model_run"
SCHEMA_KEY = "schema"
BLESSING_KEY = "blessing"
LIMITS_KEY = "limits"
FINGERPRINT_KEY = "source_fingerprint"

# As tfx.components.infra_validator.executor marks the artifact and Pusher reads it; that
# module would import clients of Docker and Kubernetes.
BLESSED_PROPERTY = "blessed"


class InfraCheckSpec(component_spec.ComponentSpec):
    """Channels of InfraCheck; those of the stock InfraValidator have its keys."""

    PARAMETERS = {
        LIMITS_KEY: component_spec.ExecutionParameter(type=str),
        FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        MODEL_KEY: component_spec.ChannelParameter(type=standard_artifacts.Model),
        MODEL_RUN_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ModelRun
        ),
        SCHEMA_KEY: component_spec.ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {
        BLESSING_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.InfraBlessing
        )
    }


class Executor(base_executor.BaseExecutor):
    """Has the candidate probed by a fresh process, then judges what it found."""

    @artifacts.checked
    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See base class."""
        limits = rules.Limits(**json.loads(exec_properties[LIMITS_KEY]))
        model = pathlib.Path(
            path_utils.serving_model_path(
                artifact_utils.get_single_uri(input_dict[MODEL_KEY])
            )
        )
        model_run = pathlib.Path(
            artifact_utils.get_single_uri(input_dict[MODEL_RUN_KEY])
        )
        schema = pathlib.Path(artifact_utils.get_single_uri(input_dict[SCHEMA_KEY]))
        report = check(
            model,
            model_run / signatures.RECORDED_FILE,
            contract.read_labels(schema / contract.SCHEMA_FILE),
            limits,
        )
        blessing = artifact_utils.get_single_instance(output_dict[BLESSING_KEY])
        folder = pathlib.Path(blessing.uri)
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(report, ensure_ascii=False, indent=1)
        durable.write_text(folder / rules.REPORT_FILE, f"{text}\n")
        is_blessed = report["is_blessed"]
        (
            folder / (rules.BLESSED_FILE if is_blessed else rules.NOT_BLESSED_FILE)
        ).touch()
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


class InfraCheck(base_component.BaseComponent):
    """Loads a candidate as a server would and holds its answers against training's."""

    SPEC_CLASS = InfraCheckSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        model_run: types.BaseChannel,
        schema: types.BaseChannel,
        limits: rules.Limits,
        source_fingerprint: str,
    ):
        """Makes the component.

        Args:
          model: the candidate.
          model_run: of the Trainer, with its recorded answers.
          schema: the contract, for the labels.
          limits: what the model must keep.
          source_fingerprint: of the code that checks, for the cache.
        """
        super().__init__(
            InfraCheckSpec(
                model=model,
                model_run=model_run,
                schema=schema,
                limits=json.dumps(dataclasses.asdict(limits)),
                source_fingerprint=source_fingerprint,
                blessing=types.Channel(type=standard_artifacts.InfraBlessing),
            )
        )
