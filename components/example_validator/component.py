"""ExampleValidator that refuses data which break their contract, or have drifted.

The stock component writes anomalies down and lets the run go on to train on them. What the
data are compared with is the profile of those that the live model was trained on; it lies
beside the model, because open-source Kubeflow Pipelines runs no resolvers that could fetch
an earlier run's statistics.
"""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.components.example_validator import executor as stock_executor
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.component.experimental.annotations import (
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts
from tfx.types import standard_component_specs as keys

from common.errors import DataError
from components import artifacts
from components.example_validator import distances
from components.example_validator import profile as profiles
from components.example_validator.profile import Profile
from pushed_models import data_profile, models_config
from schema import contract, features
from schema.spelling import listed
from storage import durable

MAX_NAMED = 5
# In the anomalies: what was measured, also where it was let through.
DISTANCES_FILE = "distances.json"


@artifacts.component
def ExampleValidator(
    statistics: InputArtifact[standard_artifacts.ExampleStatistics],
    schema: InputArtifact[standard_artifacts.Schema],
    examples: InputArtifact[standard_artifacts.Examples],
    serving_folder: Parameter[str],
    limits: Parameter[str],
    source_fingerprint: Parameter[str],
    anomalies: OutputArtifact[standard_artifacts.ExampleAnomalies],
    profile: OutputArtifact[standard_artifacts.ExampleStatistics],
) -> None:
    """Validates data against the contract and against the data of the live model.

    Args:
      statistics: what StatisticsGen found in the Examples.
      schema: the contract.
      examples: for what their statistics do not say, such as the brightness of images.
      serving_folder: folder of the model's versions, `<serving>/<model name>`.
      limits: `distances.Limits` as JSON.
      source_fingerprint: of the code, for the cache.
      anomalies: of the stock component, and DISTANCES_FILE.
      profile: of train, to be pushed with the model.

    Raises:
      DataError: a split has anomalies, lies too far from train or from what the live model
        was trained on, or its classes are too imbalanced.
    """
    stock_executor.Executor().Do(
        {keys.STATISTICS_KEY: [statistics], keys.SCHEMA_KEY: [schema]},
        {keys.ANOMALIES_KEY: [anomalies]},
        {},
    )
    labels = contract.read_labels(pathlib.Path(schema.uri) / contract.SCHEMA_FILE)
    _refuse_anomalies(anomalies, statistics, labels)
    allowed = distances.Limits(**json.loads(limits))
    found = _profiles(examples, statistics, allowed)
    train = found[features.TRAIN]
    _write_profile(profile, train)
    version, baseline = _baseline(pathlib.Path(serving_folder))
    drift: list[distances.Distance] = []
    if baseline:
        drift = distances.between(
            baseline, train, allowed.max_drift, allowed.max_label_drift
        )
    _write_distances(anomalies, version if drift else None, drift)
    _refuse_imbalance(train, allowed)
    _refuse_skew(found, allowed)
    _refuse_drift(version, drift)


def _refuse_anomalies(
    artifact: types.Artifact, statistics: types.Artifact, labels: Sequence[str]
) -> None:
    """Raises DataError where a split has anomalies, or train lacks a class.

    Eval and test may lack classes: small ones have no images to spare, and official splits
    are what they are.
    """
    train = stats_artifact_utils.load_statistics(statistics, features.TRAIN).proto()
    sentences = []
    if missing := profiles.missing_classes(train, labels):
        sentences.append(f"train: no image of {listed(missing)}")
    for split in artifact_utils.decode_split_names(artifact.split_names):
        path = (
            f"{artifact_utils.get_split_uri([artifact], split)}/"
            f"{stock_executor.DEFAULT_FILE_NAME}"
        )
        with fileio.open(path, "rb") as file:
            anomalies = anomalies_pb2.Anomalies.FromString(file.read())
        _forgive_missing_classes(anomalies)
        sentences += [f"{split}: {words}" for words in in_words(anomalies)]
    if sentences:
        raise DataError(
            "the data break their contract",
            found=listed(sentences, MAX_NAMED, "; "),
            tip=contract.BROKEN_TIP,
        )


def _forgive_missing_classes(anomalies: anomalies_pb2.Anomalies) -> None:
    """Removes the anomaly that class names are missing: it says how many, not which.

    Contracts that ask for it, by `unique_constraints`, do so of every split.
    """
    if features.TEXT not in anomalies.anomaly_info:
        return
    reasons = anomalies.anomaly_info[features.TEXT].reason
    kept = [
        reason
        for reason in reasons
        if reason.type != anomalies_pb2.AnomalyInfo.FEATURE_TYPE_LOW_UNIQUE
    ]
    del reasons[:]
    reasons.extend(kept)


def _profiles(
    examples: types.Artifact, statistics: types.Artifact, limits: distances.Limits
) -> dict[str, Profile]:
    """Split -> profile; train alone where the others are not compared with it."""
    return {
        split: profiles.make(
            fileio.glob(f"{artifact_utils.get_split_uri([examples], split)}/*"),
            stats_artifact_utils.load_statistics(statistics, split).proto(),
        )
        for split in (features.SPLITS if limits.max_skew else (features.TRAIN,))
    }


def _baseline(folder: pathlib.Path) -> tuple[int | None, Profile | None]:
    """The live version, and the profile of what it was trained on, where there is one."""
    live = models_config.live(folder)
    if live is None:
        return None, None
    return live, profiles.read(data_profile.of_version(folder / str(live)))


def _write_profile(artifact: types.Artifact, found: Profile) -> None:
    artifact.split_names = artifact_utils.encode_split_names([features.TRAIN])
    folder = pathlib.Path(artifact_utils.get_split_uri([artifact], features.TRAIN))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / data_profile.FILE_NAME).write_bytes(
        found.SerializeToString(deterministic=True)
    )


def _write_distances(
    artifact: types.Artifact, version: int | None, found: list[distances.Distance]
) -> None:
    document = {
        "version": version,
        "distances": [
            {**dataclasses.asdict(distance), "sentence": distance.sentence}
            for distance in found
        ],
    }
    text = json.dumps(document, ensure_ascii=False, indent=1)
    durable.write_text(pathlib.Path(artifact.uri) / DISTANCES_FILE, f"{text}\n")


def _refuse_imbalance(train: Profile, limits: distances.Limits) -> None:
    if sentence := distances.imbalance(train, limits.max_imbalance):
        raise DataError(
            "the classes are too imbalanced",
            found=sentence,
            tip="add images of the rare ones; to train on them on purpose:"
            " --set data.max_imbalance=0",
        )


def _refuse_skew(of_splits: dict[str, Profile], limits: distances.Limits) -> None:
    sentences = [
        f"{split}: {distance.sentence}"
        for split, found in of_splits.items()
        if split != features.TRAIN
        for distance in distances.between(
            of_splits[features.TRAIN], found, limits.max_skew, limits.max_skew
        )
        if not distance.is_kept
    ]
    if sentences:
        raise DataError(
            "eval or test is distributed differently from train",
            found=listed(sentences, MAX_NAMED, "; "),
            tip="look at them with `slimline data check`; to accept it on purpose:"
            " --set data.max_skew=0",
        )


def _refuse_drift(version: int | None, drift: list[distances.Distance]) -> None:
    refused = [distance for distance in drift if not distance.is_kept]
    if not refused:
        return
    names = {
        "max_label_drift"
        if distance.measure == distances.INFINITY_NORM
        else "max_drift"
        for distance in refused
    }
    accept = " ".join(f"--set data.{name}=0" for name in sorted(names))
    raise DataError(
        f"the data have drifted from those that version {version} was trained on",
        found=listed([distance.sentence for distance in refused], MAX_NAMED, "; "),
        tip="look at them with `slimline data inspect`; to train on them on purpose:"
        f" {accept}",
    )


def in_words(anomalies: anomalies_pb2.Anomalies) -> list[str]:
    """A sentence for each anomaly, sorted by feature, class names first."""
    by_feature = sorted(
        anomalies.anomaly_info.items(),
        key=lambda item: (item[0] != features.TEXT, item),
    )
    sentences = [
        f"{name}: {reason.description or reason.short_description}"
        for name, info in by_feature
        for reason in info.reason
    ]
    sentences += [
        reason.description for reason in anomalies.dataset_anomaly_info.reason
    ]
    return [" ".join(sentence.split()) for sentence in sentences]


def read_distances(uri: str) -> dict[str, Any]:
    """What was measured: `version`, None where there was nothing to compare with, and
    `distances`, as `distances.Distance` with their sentences, the farthest beyond first.

    Args:
      uri: of the anomalies.
    """
    path = pathlib.Path(uri) / DISTANCES_FILE
    if not path.is_file():
        return {"version": None, "distances": []}
    return json.loads(path.read_text(encoding="utf-8"))
