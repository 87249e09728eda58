"""The section `infra` of the configuration, and what the check found."""

import json
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

from common.errors import ConfigError
from components.infra_check import rules
from pipeline.config import InfraConfig

PROCESS = "process"
TF_SERVING = "tf_serving"


def limits(infra: InfraConfig) -> rules.Limits:
    """What a served model must keep."""
    return rules.Limits(
        max_difference=infra.max_difference,
        max_latency_ms=infra.max_latency_ms,
        max_size_mb=infra.max_size_mb,
    )


def check(infra: InfraConfig) -> None:
    """Refuses a validator that cannot run here, and limits that it would not look at.

    Raises:
      ConfigError: TensorFlow Serving is asked for, and there is no Docker or a limit that
        it does not measure.
    """
    if infra.validator != TF_SERVING:
        return
    tip = f"--set infra.validator={PROCESS} checks the model in a process of its own"
    if not shutil.which("docker"):
        raise ConfigError(
            f"setting 'infra.validator' is {TF_SERVING}, which runs in Docker",
            found="no docker command",
            tip=tip,
        )
    for name in (rules.MAX_LATENCY_MS, rules.MAX_SIZE_MB):
        if getattr(infra, name):
            raise ConfigError(
                f"setting 'infra.{name}' has no effect with infra.validator={TF_SERVING}",
                found=f"{getattr(infra, name):g}",
                expected="0, no limit",
                tip=tip,
            )


def read(blessing_uri: str) -> dict[str, Any]:
    """What the check wrote into its artifact (`components.infra_check.component.check`).

    The stock validator leaves no figures, only its mark; there is one rule then.
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
    rule = {"name": TF_SERVING, "sentence": sentence, "is_kept": is_blessed}
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
