"""Archive to pushed model, by every road on which it can answer."""

import base64
import dataclasses
import json
import pathlib
import re

import filelock
import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

import slimline as sl
from common.errors import ConfigError, DataError
from components.image_example_gen import fingerprint
from components.model_evaluator import predictions
from pipeline import execution, experiments
from pipeline import fingerprint as pipeline_fingerprint
from pipeline.config import BulkInferenceConfig, InfraConfig
from pipeline.runs import lineage, model_card, parts, runs
from pushed_models import (
    data_profile,
    models_config,
    signatures,
    split_rule,
    version_history,
    versions,
)
from schema import features
from serving.local_model import LocalModel
from slimline.cli import main
from storage import manifest
from trainer import evaluation as trainer_evaluation
from trainer import input_pipeline
from trainer.config import as_json, flatten

pytestmark = pytest.mark.e2e

COMPONENTS = (
    "contract",
    "ingest",
    "statistics",
    "check",
    "transform",
    "train",
    "baseline",
    "infra",
    "evaluate",
    "push",
)
# With views, so that every road is seen to have them.
LEARNS = {
    "steps": 60,
    "batch_size": 32,
    "learning_rate": 0.02,
    "optimizer": "momentum",
    "test_time_views": "mirror_shift",
}


@pytest.fixture(scope="module")
def house(make_house, small_net):
    return make_house(small_net)


@pytest.fixture(scope="module")
def first(house):
    """Summary of a run that learns its fake and passes."""
    return house.run(house.config(min_top_1=0.3, **LEARNS))


def artifact(summary, component: str, key: str) -> pathlib.Path:
    record = json.loads((pathlib.Path(summary.folder) / "summary.json").read_text())
    (uri,) = record["artifacts"][component][key]
    return pathlib.Path(uri)


def test_the_first_run_is_blessed_and_pushed(house, first) -> None:
    assert first.passed
    assert not first.is_cached
    assert sum(first.images.values()) == 300
    assert first.images["test"] == 100
    # Of 200 images 10 % ± 4 deviations.
    assert abs(first.images["eval"] - 20) < 17
    assert first.parameters == 75_290
    assert first.baseline_version is None
    assert first.verdict[1] == "no earlier model to compare with"
    assert first.pushed_version == str(versions.newest(house.serving))
    assert (pathlib.Path(first.folder) / "history.csv").is_file()


def test_the_run_leaves_its_report(first) -> None:
    page = (pathlib.Path(first.folder) / "report.html").read_text(encoding="utf-8")
    assert f"{first.metrics['top_1']:.4f}" in page
    assert "All cells together hold 100 images" in page
    assert "Not shown in full" not in page
    assert "not recorded" not in page
    assert 'alt="heat map for ' in page


def test_the_pushed_model_classifies_images(first) -> None:
    model = LocalModel.load(first.pushed_path)
    predictions = model.predict(list(first.sample_images))
    assert len(predictions) == 3
    assert {prediction.label for prediction in predictions} <= set(model.labels)


def test_nothing_changed_is_served_from_the_cache(house, first) -> None:
    again = house.run(house.config(min_top_1=0.3, **LEARNS))
    assert again.is_cached
    assert again.passed
    assert again.metrics == first.metrics
    assert versions.numbers(house.serving) == [int(first.pushed_version)]


@pytest.mark.nightly
def test_another_threshold_trains_nothing_anew(house, first) -> None:
    summary = house.run(house.config(min_top_1=0.999, **LEARNS))
    top_1 = summary.metrics["top_1"]
    assert summary.passed == (top_1 >= 0.999)
    assert summary.metrics == pytest.approx(first.metrics, abs=1e-6)
    assert summary.seconds["train"] < 2
    if not summary.passed:
        assert summary.verdict[0] == f"top-1 {top_1:.4f}, required 0.9990"
        assert summary.pushed_version is None


def test_a_worse_candidate_is_not_pushed(house, first) -> None:
    summary = house.run(house.config(min_top_1=0.0, steps=1, batch_size=32))
    assert not summary.passed
    assert summary.pushed_version is None
    assert versions.newest(house.serving) == int(first.pushed_version)
    assert summary.baseline_version == first.pushed_version
    assert summary.baseline_metrics["top_1"] == pytest.approx(first.metrics["top_1"])
    change = summary.metrics["top_1"] - first.metrics["top_1"]
    assert summary.verdict[1] == (
        f"{change:+.4f} against version {first.pushed_version}"
        f" ({first.metrics['top_1']:.4f}, ± {_margin(summary):.4f}),"
        " more than the allowed drop of 0.0100"
    )
    table = predictions.read(str(artifact(summary, "evaluate", "evaluation")))
    hits, before = predictions.hits(table), predictions.hits(table, prefix="baseline_")
    assert hits.mean() == pytest.approx(summary.metrics["top_1"])
    assert before.mean() == pytest.approx(first.metrics["top_1"])


def _margin(summary) -> float:
    difference = summary.differences["top_1"]
    return (difference["high"] - difference["low"]) / 2


def test_a_model_below_the_threshold_is_not_pushed(house, first) -> None:
    summary = house.run(house.config(min_top_1=0.99, steps=1, batch_size=32))
    assert not summary.passed
    assert summary.verdict[0].startswith("top-1 0.")
    assert summary.verdict[0].endswith(", required 0.9900")
    assert summary.pushed_version is None
    assert versions.numbers(house.serving) == [int(first.pushed_version)]


@dataclasses.dataclass(frozen=True)
class Answers:
    """The images of the test split, and what the Trainer's evaluation graph says of them.

    Attributes:
      serialised: Examples. encoded: their images.
      labels: int [n].
      probabilities: float32 [n, num_classes]. plain: without test-time views.
    """

    serialised: list[bytes]
    encoded: list[bytes]
    labels: np.ndarray
    probabilities: np.ndarray
    plain: np.ndarray


@pytest.fixture(scope="module")
def trainers(house, first) -> Answers:
    pattern = str(artifact(first, "ingest", "examples") / "Split-test" / "*")
    files = sorted(tf.io.gfile.glob(pattern))
    serialised = [r.numpy() for r in tf.data.TFRecordDataset(files, "GZIP")]
    encoded = [
        tf.train.Example.FromString(one)
        .features.feature[features.ENCODED]
        .bytes_list.value[0]
        for one in serialised
    ]
    config = house.config(**LEARNS).trainer
    transform = tft.TFTransformOutput(
        str(artifact(first, "transform", "transform_graph"))
    )
    split = input_pipeline.load_split([pattern], transform, 2**30)
    run_dir = artifact(first, "train", "model_run")
    checkpoint = str(run_dir / "checkpoints" / f"model.ckpt-{first.best_step}")
    answers = []
    for views in (config.model.test_time_views, "none"):
        with trainer_evaluation.EvalSession(
            config, split, 10, test_time_views=views
        ) as evaluation_graph:
            answers.append(
                evaluation_graph.probabilities(checkpoint, first.weights, split.images)
            )
    return Answers(serialised, encoded, split.labels, *answers)


def test_every_signature_gives_the_trainers_probabilities(first, trainers) -> None:
    """Trainer's evaluation graph, every signature, and what the evaluator kept."""
    serialised, encoded = trainers.serialised, trainers.encoded
    expected = trainers.probabilities
    model = tf.saved_model.load(first.pushed_path)
    by_examples = model.signatures["serving_default"](examples=tf.constant(serialised))
    by_images = model.signatures["predict_images"](images=tf.constant(encoded))
    np.testing.assert_allclose(by_examples["probabilities"], expected, atol=1e-5)
    np.testing.assert_allclose(by_images["probabilities"], expected, atol=1e-5)
    classified = model.signatures["classify"](inputs=tf.constant(serialised))
    np.testing.assert_array_equal(classified["classes"], by_images["classes"])
    best_first = -np.sort(-expected, axis=1)
    np.testing.assert_allclose(classified["scores"], best_first, atol=1e-5)

    by_evaluator = predictions.read(str(artifact(first, "evaluate", "evaluation")))
    by_key = dict(zip(by_evaluator["key"], by_evaluator["probabilities"], strict=True))
    assert len(by_key) == len(serialised)
    for one, probabilities in zip(serialised, expected, strict=True):
        np.testing.assert_allclose(by_key[_key(one)], probabilities, atol=1e-5)

    right = expected.argmax(axis=1) == trainers.labels
    assert first.metrics["top_1"] == pytest.approx(right.mean(), abs=1e-6)
    cross_entropy = -np.log(expected[np.arange(len(right)), trainers.labels]).mean()
    assert first.metrics["cross_entropy"] == pytest.approx(cross_entropy, abs=1e-5)
    assert first.metrics["example_count"] == len(right)


def test_the_figure_without_views_is_that_of_the_plain_graph(first, trainers) -> None:
    plain, expected = trainers.plain, trainers.probabilities
    assert np.abs(plain - expected).max() > 1e-3
    model = tf.saved_model.load(first.pushed_path)
    compared = model.signatures["views_compared"](
        examples=tf.constant(trainers.serialised)
    )
    np.testing.assert_allclose(compared["probabilities"], expected, atol=1e-5)
    np.testing.assert_allclose(compared["plain_probabilities"], plain, atol=1e-5)
    right = (plain.argmax(axis=1) == trainers.labels).mean()
    without = first.test_time_views
    assert without["views"] == "mirror_shift"
    assert without["metrics"]["top_1"] == pytest.approx(right, abs=1e-6)
    folder = pathlib.Path(first.folder)
    told = f"top-1 {right:.4f} without its test-time views (mirror_shift)"
    assert told in (folder / "report.html").read_text(encoding="utf-8")
    card = pathlib.Path(first.pushed_path, "assets.extra", "model_card.md")
    assert told in card.read_text(encoding="utf-8")
    assert "served with test-time views (mirror_shift)" in card.read_text("utf-8")
    (latency,) = (
        rule["sentence"]
        for rule in first.infra_rules
        if rule["name"] == "max_latency_ms"
    )
    assert re.fullmatch(
        r"p99 latency \d+\.\d ms, p50 \d+\.\d ms with test-time views"
        r" \(without them p99 \d+\.\d ms, p50 \d+\.\d ms\)",
        latency,
    )


def _key(serialised: bytes) -> str:
    feature = tf.train.Example.FromString(serialised).features.feature
    return feature[features.KEY].bytes_list.value[0].decode()


def test_servers_give_the_trainers_probabilities(
    house, first, trainers, serve_process, warm_forks
) -> None:
    """The local server by REST and by gRPC, asked as TensorFlow Serving is asked."""
    images, expected = trainers.encoded, trainers.probabilities
    best_first = -np.sort(-expected, axis=1)
    with serve_process.serving(house.root, forks=warm_forks) as served:
        url = f"{served.url}/v1/models/cifar10"
        by_rest = {
            name: requests.post(
                f"{url}:predict",
                json={
                    "signature_name": name,
                    "instances": [
                        {"b64": base64.b64encode(one).decode()} for one in ask
                    ],
                },
                timeout=60,
            )
            for name, ask in (
                (signatures.PREDICT_IMAGES, images),
                (signatures.SERVING_DEFAULT, trainers.serialised),
            )
        }
        classified = requests.post(
            f"{url}:classify",
            json={
                "signature_name": signatures.CLASSIFY,
                "examples": [
                    {features.ENCODED: {"b64": base64.b64encode(one).decode()}}
                    for one in images
                ],
            },
            timeout=60,
        ).json()
        with grpc.insecure_channel(served.grpc) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            request = predict_pb2.PredictRequest()
            request.model_spec.name = "cifar10"
            request.model_spec.signature_name = signatures.PREDICT_IMAGES
            request.inputs["images"].CopyFrom(tf.make_tensor_proto(images, tf.string))
            by_grpc = stub.Predict(request, timeout=60)
    for answer in by_rest.values():
        assert answer.status_code == 200, answer.text
        found = [one["probabilities"] for one in answer.json()["predictions"]]
        np.testing.assert_allclose(found, expected, atol=1e-5)
    scores = [[score for _, score in pairs] for pairs in classified["results"]]
    np.testing.assert_allclose(scores, best_first, atol=1e-5)
    found = tf.make_ndarray(by_grpc.outputs["probabilities"])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert str(by_grpc.model_spec.version.value) == first.pushed_version


def test_tables_of_many_files_give_the_same(house, first, tmp_path) -> None:
    """Batch inference over files, and the stock BulkInferrer over Examples."""
    files = artifact(first, "ingest", "examples") / "Split-test"
    encoded = {}
    for record in tf.data.TFRecordDataset(sorted(map(str, files.iterdir())), "GZIP"):
        feature = tf.train.Example.FromString(record.numpy()).features.feature
        image = feature[features.ENCODED].bytes_list.value[0]
        encoded[_key(record.numpy())] = image
    photos = {f"{place:03}.png": key for place, key in enumerate(sorted(encoded))}
    (tmp_path / "photos").mkdir()
    for name, key in photos.items():
        (tmp_path / "photos" / name).write_bytes(encoded[key])
    model = LocalModel.load(first.pushed_path)
    expected = dict(
        zip(
            photos.values(),
            model.predict([encoded[key] for key in photos.values()], top=10),
            strict=True,
        )
    )

    command = ["predict", str(tmp_path / "photos"), "--output"]
    options = ["--root", str(house.root), "--model", "cifar10", "--top", "10", "-q"]
    rows = tmp_path / "rows.jsonl"
    assert main.main([*command, str(rows), *options]) == 0
    by_batch = {photos[pathlib.Path(row["file"]).name]: row for row in _read_rows(rows)}
    assert by_batch.keys() == expected.keys()
    for key, prediction in expected.items():
        answer = [(one["label"], one["score"]) for one in by_batch[key]["top"]]
        assert answer == prediction.top
        assert by_batch[key]["model"] == f"cifar10@{first.pushed_version}"

    config = dataclasses.replace(
        house.config(min_top_1=0.3, **LEARNS),
        bulk_inference=BulkInferenceConfig(splits=("test",)),
    )
    summary = house.run(config)
    logs = artifact(summary, "infer", "inference_result")
    command = ["predict", "--from-logs", str(logs), "--output", str(rows), "--force"]
    assert main.main([*command, "--top", "10", "-q"]) == 0
    by_bulk = {row["file"]: row for row in _read_rows(rows)}
    assert by_bulk.keys() == expected.keys()
    for key, prediction in expected.items():
        answer = {one["label"]: one["score"] for one in by_bulk[key]["top"]}
        assert answer == pytest.approx(dict(prediction.top), abs=1e-5)


def _read_rows(path: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_served_model_answers_as_training_recorded(first) -> None:
    report = json.loads(
        (artifact(first, "infra", "blessing") / "infra.json").read_text()
    )
    assert report["is_blessed"]
    images = min(20, first.images["eval"])
    assert report["answers"]["images"] == images
    # By three signatures, alone and in a batch.
    assert report["answers"]["equal"] == report["answers"]["asked"] == 6 * images
    assert report["answers"]["largest_difference"] < 1e-4
    model = pathlib.Path(first.pushed_path)
    added = [
        model / model_card.FILE,
        model / manifest.FILE,
        data_profile.of_version(model),
    ]
    sizes = [
        path.stat().st_size
        for path in model.rglob("*")
        if path.is_file() and path not in added
    ]
    assert report["size_bytes"] == sum(sizes)
    assert first.infra_rules == report["rules"]


def test_what_is_pushed_is_what_was_checked(house, first) -> None:
    version = pathlib.Path(first.pushed_path)
    assert manifest.problems(version) == []
    extra = version / manifest.EXTRA_FOLDER
    assert {path.name for path in extra.iterdir()} == {
        "data_profile.pb",
        "manifest.json",
        "model_card.md",
        "recorded_outputs.tfrecord.gz",
        "split_rule.json",
        "test_time_views.json",
        "tf_serving_warmup_requests",
        "training_warnings.json",
    }
    warnings = json.loads((extra / signatures.WARNINGS_FILE).read_text())
    assert warnings == first.findings
    assert split_rule.of_model(version) == split_rule.SplitRule(
        0.0
    )  # a test of its own
    recorded = artifact(first, "train", "model_run") / signatures.RECORDED_FILE
    assert (extra / signatures.RECORDED_FILE).read_bytes() == recorded.read_bytes()
    requests = tf.data.TFRecordDataset(str(extra / signatures.WARM_UP_FILE))
    assert len(list(requests)) == 6
    (push,) = version_history.read(house.serving)
    assert (push.action, push.version) == ("push", int(first.pushed_version))
    assert push.by == first.run
    assert models_config.read(house.root / "serving") == {
        "cifar10": models_config.Entry()
    }


def test_a_model_that_cannot_be_served_is_not_pushed(house, first) -> None:
    config = house.config(min_top_1=0.3, **LEARNS)
    limits = InfraConfig(max_size_mb=0.1)
    summary = house.run(dataclasses.replace(config, infra=limits))
    assert summary.refusals == []
    assert not summary.passed
    (refusal,) = summary.infra_refusals
    assert re.fullmatch(r"size \d\.\d MB, at most 0\.1 MB allowed", refusal)
    assert summary.pushed_version is None
    assert versions.newest(house.serving) == int(first.pushed_version)


def test_the_lineage_names_data_and_code(house, first) -> None:
    version = pathlib.Path(first.pushed_path)
    steps = {step.component: step for step in lineage.of_version(house.root, version)}
    assert list(steps) == list(COMPONENTS)
    data = steps["ingest"].properties["input_fingerprint"]
    assert data == fingerprint.fingerprint(house.data) == first.data_fingerprint
    assert steps["ingest"].properties[
        "source_fingerprint"
    ] == pipeline_fingerprint.source("components.image_example_gen.component")
    assert steps["train"].properties[
        "source_fingerprint"
    ] == pipeline_fingerprint.source("components.net_trainer.component", "trainer.task")
    assert steps["train"].properties["config"]["train"]["batch_size"] == 32
    assert steps["push"].facts["pushed_version"] == first.pushed_version
    run = [
        step.component
        for step in lineage.of_artifacts(
            house.root, [str(artifact(first, "evaluate", "evaluation"))]
        )
    ]
    assert "push" not in run
    assert run[-1] == "evaluate"


def test_the_model_card_tells_the_same(house, first) -> None:
    card = (pathlib.Path(first.pushed_path) / model_card.FILE).read_text()
    assert card.startswith(f"# Model card: cifar10, version {first.pushed_version}\n")
    assert f"| top_1 | {first.metrics['top_1']:.4f} | " in card
    assert first.data_fingerprint in card
    train, validation = first.images["train"], first.images["eval"]
    assert f"{train} train · {validation} eval · 100 test" in card
    assert f"- {first.verdict[0]}\n" in card


def test_one_changed_image_changes_the_fingerprint(
    house, first, new_fakes, tmp_path
) -> None:
    fakes = new_fakes(1)
    folder = fakes.cifar10_binary(tmp_path / "cifar-10-batches-bin", 100)
    batch = bytearray((folder / "data_batch_1.bin").read_bytes())
    batch[-1] ^= 1
    (folder / "data_batch_1.bin").write_bytes(batch)
    archive = fakes.pack(folder, tmp_path / "cifar-10-binary.tar.gz")
    config = dataclasses.replace(house, data=archive).config(**LEARNS)
    execution.run_part(
        config,
        parts.Part(last="ingest"),
        root=house.root,
        run_folder=runs.create(house.root, flatten(as_json(config)), {}),
        origins={},
    )
    before = artifact(first, "ingest", "examples")
    (after,) = {p for p in before.parent.iterdir() if p.is_dir()} - {before}
    steps = lineage.of_artifacts(house.root, [str(after)])
    (data,) = (
        step.properties["input_fingerprint"]
        for step in steps
        if step.component == "ingest"
    )
    assert data == fingerprint.fingerprint(archive) != first.data_fingerprint


def test_lineage_of_what_is_not_there(house, first, tmp_path) -> None:
    with pytest.raises(ConfigError, match="no metadata store in"):
        lineage.of_version(tmp_path, pathlib.Path(first.pushed_path))
    with pytest.raises(ConfigError, match="has no record of"):
        lineage.of_version(house.root, house.serving / "1")


def test_after_a_rollback_candidates_are_held_against_what_is_live(
    house, first
) -> None:
    """And the next push over pinned versions is live at once. The last one on this root."""
    config = house.config(steps=1, batch_size=32)
    loose = dataclasses.replace(config.evaluation, min_top_1=0.001, max_top_1_drop=1.0)
    bad = house.run(dataclasses.replace(config, evaluation=loose))
    assert bad.metrics["top_1"] < first.metrics["top_1"]
    assert models_config.live(house.serving) == int(bad.pushed_version)
    sl.models("cifar10", root=house.root).rollback(reason="worse")
    assert models_config.live(house.serving) == int(first.pushed_version)
    config = house.config(steps=2, batch_size=32)
    third = house.run(dataclasses.replace(config, evaluation=loose))
    assert third.baseline_version == first.pushed_version
    assert models_config.read(house.root / "serving")["cifar10"] == models_config.Entry(
        (int(first.pushed_version), int(third.pushed_version)),
        {"stable": int(third.pushed_version)},
    )
    assert LocalModel.load(house.serving).folder.name == third.pushed_version


@pytest.mark.nightly
def test_inception_goes_through_the_same_chain(house) -> None:
    config = experiments.tiny(experiments.cifar10_inception_v2())
    config = dataclasses.replace(
        config, data=dataclasses.replace(config.data, path=str(house.data))
    )
    summary = house.run(config)
    assert summary.net == "inception_v2"
    assert summary.parameters == 10_253_762
    assert summary.steps == 2
    assert summary.metrics["example_count"] == 100


def test_a_new_class_stops_the_run_before_training(tmp_path, new_fakes) -> None:
    data = new_fakes(2).class_folders(
        tmp_path / "digits", [*"0123456789", "ten"], 20, channels=1
    )
    config = experiments.tiny(experiments.digits_resnet_20())
    config = dataclasses.replace(
        config, data=dataclasses.replace(config.data, path=str(data))
    )
    folder = runs.create(tmp_path / "runs", as_json(config), {})
    with pytest.raises(DataError, match="break their contract") as caught:
        execution.run(config, root=tmp_path / "runs", run_folder=folder, origins={})
    assert "ten" in caught.value.found
    (artifacts,) = (tmp_path / "runs").glob("digits-resnet-20-*")
    assert (artifacts / "ingest").is_dir()
    assert not (artifacts / "transform").exists()


def test_two_runs_of_one_experiment_keep_apart(tmp_path) -> None:
    config = experiments.tiny(experiments.digits_resnet_20())
    folder = runs.create(tmp_path, as_json(config), {})
    lock = filelock.FileLock(tmp_path / ".digits-resnet-20-digits-tiny.lock")
    with lock, pytest.raises(ConfigError, match="another run"):
        execution.run(config, root=tmp_path, run_folder=folder, origins={})
