"""All that a run left, read from its folder and artifacts; what is gone is named."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from tensorflow_metadata.proto.v0 import anomalies_pb2

from common import run_files
from common.errors import ConfigError
from components.image_example_gen import reports
from components.infra_check import rules
from components.model_evaluator import gate, predictions
from report import run_settings
from report.run_settings import Setting
from schema import features

# As TFX's ExampleValidator names it, whose module takes ten seconds to load.
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
      data_check: findings of a check of the images, where there was one.
      infra: what the check of the served model wrote, or None.
      missing: what is gone -> a sentence that names the file.
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
        """Folder of an artifact; None where the run has none of that name."""
        return _uri(self.summary, component, key)

    def split(self, name: str) -> pathlib.Path | None:
        """Folder of the Examples of a split; None where it is gone."""
        uri = self.uri("ingest", "examples")
        folder = uri / f"Split-{name}" if uri else None
        return folder if folder and folder.is_dir() else None

    def without(self, *names: str) -> list[str]:
        """Sentences about those of `names` that are gone."""
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
    verdict = _read_json(evaluation, gate.VERDICT_FILE, VERDICT, missing)
    ingest = _read_json(examples, reports.SUMMARY_FILE, INGEST, missing)
    data = RunData(
        folder=folder,
        summary=summary,
        settings=run_settings.read(folder),
        verdict=verdict,
        table=_read_table(evaluation, missing),
        ingest=ingest,
        quarantine=_read_quarantine(examples, missing),
        anomalies=_read_anomalies(_uri(summary, "check", "anomalies"), missing),
        data_check=_read_data_check(folder),
        infra=_read_json(
            _uri(summary, "infra", "blessing"), rules.REPORT_FILE, "infra", {}
        ),
        missing=missing,
    )
    for split in features.SPLITS:
        if data.split(split) is None:
            where = examples / f"Split-{split}" if examples else f"Split-{split}"
            missing[f"{EXAMPLES} {split}"] = f"the {split} images are gone: no {where}"
    if all(not path.exists() for path in _artifacts(summary)):
        raise ConfigError(
            f"the artifacts of run '{folder.name}' are gone",
            found=f"no {evaluation}, no {examples}",
            expected="the evaluation and the images that the page is made of",
            tip="slimline run makes them again; what the run decided:"
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


def _artifacts(summary: Mapping[str, Any]) -> list[pathlib.Path]:
    """Those that the page is made of."""
    uris = [
        _uri(summary, "evaluate", "evaluation"),
        _uri(summary, "ingest", "examples"),
    ]
    return [uri for uri in uris if uri]


def _uri(summary: Mapping[str, Any], component: str, key: str) -> pathlib.Path | None:
    uris = summary["artifacts"].get(component, {}).get(key, [])
    return pathlib.Path(uris[0]) if uris else None


def _read_json(
    folder: pathlib.Path | None, file: str, name: str, missing: dict[str, str]
) -> dict[str, Any] | None:
    if folder is None:
        missing[name] = f"no {file}: the run names no artifact that holds it"
        return None
    try:
        return json.loads((folder / file).read_text(encoding="utf-8"))
    except OSError:
        missing[name] = f"gone: {folder / file}"
    except ValueError:
        missing[name] = f"damaged: {folder / file}"
    return None


def _read_table(
    folder: pathlib.Path | None, missing: dict[str, str]
) -> pd.DataFrame | None:
    path = (folder or pathlib.Path()) / predictions.FILE
    try:
        return predictions.read(str(folder)) if folder else None
    except FileNotFoundError:
        missing[PREDICTIONS] = f"gone: {path}"
    except (OSError, ValueError):  # pyarrow's errors for invalid files
        missing[PREDICTIONS] = f"damaged: {path}"
    return None


def _read_quarantine(
    folder: pathlib.Path | None, missing: dict[str, str]
) -> list[dict[str, str]]:
    path = (folder or pathlib.Path()) / reports.QUARANTINE_FILE
    try:
        # By line feeds alone: keys may hold the other characters that end lines.
        lines = path.read_text(encoding="utf-8").split("\n") if folder else []
        return [json.loads(line) for line in lines if line]
    except OSError:
        missing[QUARANTINE] = f"gone: {path}"
    except ValueError:
        missing[QUARANTINE] = f"damaged: {path}"
    return []


def _read_anomalies(
    folder: pathlib.Path | None, missing: dict[str, str]
) -> dict[str, list[str]] | None:
    found: dict[str, list[str]] = {}
    if folder is None:
        return None
    for split in features.SPLITS:
        path = folder / f"Split-{split}" / ANOMALIES_FILE
        try:
            anomalies = anomalies_pb2.Anomalies.FromString(path.read_bytes())
        except OSError:
            missing[ANOMALIES] = f"gone: {path}"
            return None
        except ValueError:  # google.protobuf.message.DecodeError
            missing[ANOMALIES] = f"damaged: {path}"
            return None
        found[split] = _in_words(anomalies)
    return found


def _in_words(anomalies: anomalies_pb2.Anomalies) -> list[str]:
    sentences = [
        f"{name}: {info.description or info.short_description}"
        for name, info in sorted(anomalies.anomaly_info.items())
    ]
    return sentences + [
        reason.description for reason in anomalies.dataset_anomaly_info.reason
    ]


def _read_data_check(folder: pathlib.Path) -> dict[str, Any] | None:
    found = _read_json(folder, run_files.DATA_CHECK_FILE, "", {})
    return found.get("findings", found) if found else None


def trainer_values(settings: Sequence[Setting], sections: Sequence[str]) -> dict:
    """Nested settings of `sections`, as `trainer.config.from_json` reads them."""
    nested: dict[str, dict[str, Any]] = {}
    for setting in settings:
        section, _, key = setting.key.partition(".")
        if section in sections:
            nested.setdefault(section, {})[key] = setting.value
    return nested
