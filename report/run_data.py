"""What a run left in its folder and artifacts, with a list of what is gone."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from google.protobuf import message
from tensorflow_metadata.proto.v0 import anomalies_pb2

from common import run_files
from common.errors import ConfigError
from components.image_example_gen import reports
from components.infra_check import rules
from components.model_evaluator import gate, predictions
from report import run_settings
from report.run_settings import Setting
from schema import features

# As in TFX's ExampleValidator, whose module takes ten seconds to load.
ANOMALIES_FILE = "SchemaDiff.pb"
VERDICT = "verdict"
PREDICTIONS = "predictions"
INGEST = "ingest"
QUARANTINE = "quarantine"
ANOMALIES = "anomalies"
EXAMPLES = "examples"


@dataclasses.dataclass(frozen=True)
class RunData:
    """What a run left.

    Attributes:
      folder: of the run.
      summary: as `pipeline.runs.summary.Summary`, with `finished` and `artifacts`.
      settings: all of them, sorted.
      verdict: of the evaluation, or None where it is gone.
      table: of predictions (`components.model_evaluator.predictions`), or None.
      ingest: summary of the ingest, or None.
      quarantine: images left out, each with `key` and `reason`.
      anomalies: split -> sentences; None where they are gone.
      data_check: findings of the check of the images, where there was one.
      infra: report of the check of the served model, or None.
      missing: what is gone or damaged -> a sentence that names the file.
    """

    folder: pathlib.Path
    summary: dict[str, Any]
    settings: tuple[Setting, ...]
    verdict: dict[str, Any] | None
    table: pd.DataFrame | None
    ingest: dict[str, Any] | None
    quarantine: list[dict[str, str]]
    anomalies: dict[str, list[str]] | None
    data_check: dict[str, Any] | None
    infra: dict[str, Any] | None
    missing: dict[str, str]

    @property
    def labels(self) -> list[str]:
        """Class names in label order."""
        return list((self.verdict or {}).get("labels") or self.summary["per_class"])

    def uri(self, component: str, key: str) -> pathlib.Path | None:
        """Folder of an artifact; None where the run names none."""
        return _uri(self.summary, component, key)

    def split(self, name: str) -> pathlib.Path | None:
        """Folder of the Examples of a split; None where it is gone."""
        uri = self.uri("ingest", "examples")
        folder = uri / f"Split-{name}" if uri else None
        return folder if folder and folder.is_dir() else None

    def without(self, *names: str) -> list[str]:
        """The sentences of `missing` about `names`."""
        return [self.missing[name] for name in names if name in self.missing]


def read(folder: pathlib.Path) -> RunData:
    """Reads what the run in `folder` left.

    Raises:
      ConfigError: there is no such run, it did not end, or all of its artifacts are gone.
    """
    summary = _read_summary(folder)
    missing: dict[str, str] = {}
    evaluation = _uri(summary, "evaluate", "evaluation")
    examples = _uri(summary, "ingest", "examples")
    checked = _uri(summary, "check", "anomalies")
    anomalies: dict[str, Any] = {
        split: _read(
            checked, f"Split-{split}/{ANOMALIES_FILE}", _anomalies, ANOMALIES, missing
        )
        for split in features.SPLITS
    }
    data_check = _read(folder, run_files.DATA_CHECK_FILE, _json, "", {})
    infra = _uri(summary, "infra", "blessing")
    data = RunData(
        folder=folder,
        summary=summary,
        settings=run_settings.read(folder),
        verdict=_read(evaluation, gate.VERDICT_FILE, _json, VERDICT, missing),
        table=_read(evaluation, predictions.FILE, _predictions, PREDICTIONS, missing),
        ingest=_read(examples, reports.SUMMARY_FILE, _json, INGEST, missing),
        quarantine=_read(
            examples, reports.QUARANTINE_FILE, _json_lines, QUARANTINE, missing
        )
        or [],
        anomalies=None if ANOMALIES in missing else anomalies,
        data_check=data_check and data_check.get("findings", data_check),
        infra=_read(infra, rules.REPORT_FILE, _json, "", {}),
        missing=missing,
    )
    for split in features.SPLITS:
        if data.split(split) is None:
            where = examples / f"Split-{split}" if examples else f"Split-{split}"
            missing[f"{EXAMPLES} {split}"] = f"the {split} images are gone: no {where}"
    if not any(uri and uri.exists() for uri in (evaluation, examples)):
        raise ConfigError(
            f"the artifacts of run '{folder.name}' are gone",
            found=f"no {evaluation}, no {examples}",
            expected="the evaluation and the images for the page",
            tip="slimline run makes them again; the result of the run:"
            f" {folder / run_files.SUMMARY_FILE}",
        )
    return data


def _read_summary(folder: pathlib.Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise ConfigError(f"no run in {folder}", tip="slimline runs lists them")
    path = folder / run_files.SUMMARY_FILE
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"run '{folder.name}' has no {run_files.SUMMARY_FILE}: it failed or was"
            " interrupted",
            tip=f"its log: {folder / run_files.LOG_FILE}",
        ) from error
    if not isinstance(summary, dict) or "artifacts" not in summary:
        raise ConfigError(
            f"{path} is not the summary of a run",
            expected="an object with the figures and artifacts of a run",
        )
    return summary


def _uri(summary: Mapping[str, Any], component: str, key: str) -> pathlib.Path | None:
    uris = summary["artifacts"].get(component, {}).get(key, [])
    return pathlib.Path(uris[0]) if uris else None


def _read(
    folder: pathlib.Path | None,
    file: str,
    parse: Callable[[pathlib.Path], Any],
    name: str,
    missing: dict[str, str],
) -> Any:
    """The content of a file; None where it is gone or damaged, as `missing` then says."""
    if folder is None:
        missing[name] = f"no {file}: the run names no artifact that holds it"
        return None
    path = folder / file
    try:
        return parse(path)
    except (OSError, ValueError, message.DecodeError):  # pyarrow raises the first two
        missing[name] = f"{'damaged' if path.exists() else 'gone'}: {path}"
        return None


def _json(path: pathlib.Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _json_lines(path: pathlib.Path) -> list[Any]:
    # Split at line feeds alone: keys may contain other line separators.
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def _predictions(path: pathlib.Path) -> pd.DataFrame:
    return predictions.read(str(path.parent))


def _anomalies(path: pathlib.Path) -> list[str]:
    found = anomalies_pb2.Anomalies.FromString(path.read_bytes())
    sentences = [
        f"{name}: {info.description or info.short_description}"
        for name, info in sorted(found.anomaly_info.items())
    ]
    reasons = [reason.description for reason in found.dataset_anomaly_info.reason]
    return sentences + reasons
