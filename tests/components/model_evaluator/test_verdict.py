"""Figures from the table of predictions against scikit-learn's from the model itself."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tensorflow.compat.v1 as v1
import tensorflow_model_analysis as tfma
from sklearn import metrics as sklearn_metrics
from tensorflow.core.protobuf import saved_model_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import path_utils
from tfx_bsl.public import tfxio

from components.model_evaluator import (
    analysis,
    classes,
    component,
    gate,
    predictions,
    scores,
    verdict,
)
from pipeline.beam import engines
from schema import features, images

LABELS = ("ant", "bee", "cat", "dog", "emu", "fox", "gnu")
SETTINGS = analysis.Settings(LABELS, top_k=(2, 5, 7))
# Of a baseline: two classes of LABELS are new since then, one is gone, the order differs.
OTHER_LABELS = ("yak", "gnu", "bee", "cat", "ant", "dog")
NUM_IMAGES = 60
SIZE_PX = 4


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """An evaluation and what it was made of.

    Attributes:
      uri: of the evaluation artifact.
      labels: int [n], in the order of `keys`.
      keys: of the images.
      candidate: its probabilities, float32 [n, num_classes].
      baseline: the same of the baseline, in the order of its own labels.
      baseline_labels: class names of the baseline; none without one.
      sizes: bucket of each image.
    """

    uri: str
    labels: np.ndarray
    keys: list[str]
    candidate: np.ndarray
    baseline: np.ndarray
    baseline_labels: tuple[str, ...]
    sizes: np.ndarray


@pytest.fixture(
    scope="module",
    params=[(), LABELS, OTHER_LABELS],
    ids=["alone", "with_baseline", "other_classes"],
)
def evaluated(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Evaluated:
    folder = tmp_path_factory.mktemp("evaluation")
    random = np.random.default_rng(5)
    file = folder / "examples.gz"
    examples = _write(file, random)
    models = {analysis.CANDIDATE: _model(folder / "candidate", 1, len(LABELS))}
    if request.param:
        models[analysis.BASELINE] = _model(folder / "baseline", 2, len(request.param))
    uri = folder / "artifact"
    analysis.run(
        functools.partial(_read, str(file)),
        models,
        SETTINGS,
        uri,
        beam.Pipeline(argv=engines.local()),
        request.param,
    )
    values = [example.features.feature for example in examples]
    serialised = [example.SerializeToString() for example in examples]
    candidate = _predict(models[analysis.CANDIDATE], serialised)
    return Evaluated(
        uri=str(uri),
        labels=np.array([each[features.LABEL].int64_list.value[0] for each in values]),
        keys=[each[features.KEY].bytes_list.value[0].decode() for each in values],
        candidate=candidate,
        baseline=(
            _predict(models[analysis.BASELINE], serialised)
            if request.param
            else np.zeros([0])
        ),
        baseline_labels=request.param,
        sizes=np.array(
            [
                "up to 32 px"
                if each[features.WIDTH].int64_list.value[0] <= 32
                else "33 to 64 px"
                for each in values
            ]
        ),
    )


def baseline_of(evaluated: Evaluated) -> classes.Baseline | None:
    names = evaluated.baseline_labels
    return classes.Baseline("6", names) if names else None


@pytest.fixture(scope="module")
def figures(evaluated: Evaluated) -> dict[str, Any]:
    return verdict.measure(evaluated.uri, SETTINGS, baseline_of(evaluated))


def test_a_model_without_views_has_no_figure_without_them(figures) -> None:
    assert figures["test_time_views"] is None
    assert scores.views_in_words(None) == ""


def test_headline_metrics_are_those_of_scikit_learn(
    evaluated: Evaluated, figures: dict[str, Any]
) -> None:
    assert figures["metrics"].keys() == {
        "top_1",
        "top_2",
        "top_5",
        "cross_entropy",
        "example_count",
        "macro_precision",
        "macro_recall",
        "macro_f1",
        "calibration_error",
    }
    expected = _scikit_learn(evaluated.labels, evaluated.candidate)
    for name, value in expected.items():
        assert figures["metrics"][name] == pytest.approx(value, abs=1e-6), name
    assert figures["metrics"]["example_count"] == NUM_IMAGES


def test_what_the_training_said_is_read_from_the_model(
    evaluated: Evaluated, tmp_path: pathlib.Path
) -> None:
    found = verdict.measure(evaluated.uri, SETTINGS, baseline_of(evaluated), tmp_path)
    assert found["training_warnings"] == []
    folder = tmp_path / "assets.extra"
    folder.mkdir()
    (folder / "training_warnings.json").write_text('["the averages lag"]')
    found = verdict.measure(evaluated.uri, SETTINGS, baseline_of(evaluated), tmp_path)
    assert found["training_warnings"] == ["the averages lag"]


def test_the_baseline_is_measured_on_the_same_images(
    evaluated: Evaluated, figures: dict[str, Any]
) -> None:
    names = evaluated.baseline_labels
    if not names:
        assert figures["baseline_metrics"] is None
        assert figures["differences"] is None
        assert figures["classes"] is None
        return
    shared = [name for name in LABELS if name in names]
    is_in = np.isin(np.array(LABELS)[evaluated.labels], shared)
    assert figures["classes"] == {
        "shared": tuple(shared),
        "added": tuple(name for name in LABELS if name not in names),
        "removed": tuple(name for name in names if name not in LABELS),
        "images": np.count_nonzero(is_in),
    }
    # Of each model the true classes by its own numbers.
    own = np.array([names.index(LABELS[label]) for label in evaluated.labels[is_in]])
    before = _headline(own, evaluated.baseline[is_in], len(names))
    after = _headline(evaluated.labels[is_in], evaluated.candidate[is_in], len(LABELS))
    assert figures["baseline_metrics"].keys() == before.keys()
    for name, value in before.items():
        assert figures["baseline_metrics"][name] == pytest.approx(value, abs=1e-6), name
        difference = figures["differences"][name]
        assert difference["difference"] == pytest.approx(after[name] - value, abs=1e-6)
        assert difference["low"] < difference["difference"] < difference["high"]


def test_confusion_and_classes_are_those_of_scikit_learn(
    evaluated: Evaluated, figures: dict[str, Any]
) -> None:
    predicted = evaluated.candidate.argmax(axis=1)
    places = range(len(LABELS))
    confusion = sklearn_metrics.confusion_matrix(
        evaluated.labels, predicted, labels=places
    )
    assert figures["confusion"] == confusion.tolist()
    assert np.sum(figures["confusion"]) == NUM_IMAGES
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        evaluated.labels, predicted, labels=places, zero_division=0
    )
    for place, label in enumerate(LABELS):
        assert figures["per_class"][label] == pytest.approx(
            {
                "precision": precision[place],
                "recall": recall[place],
                "f1": f1[place],
                "support": support[place],
            },
            abs=1e-6,
        )


def test_slices_are_parts_of_the_whole(
    evaluated: Evaluated, figures: dict[str, Any]
) -> None:
    slices = figures["slices"]
    assert slices.keys() == {"class", "size", "colour", "source"}
    hits = evaluated.candidate.argmax(axis=1) == evaluated.labels
    for bucket in np.unique(evaluated.sizes):
        is_in = evaluated.sizes == bucket
        row = slices["size"][bucket]
        assert row["example_count"] == np.count_nonzero(is_in)
        assert row["top_1"] == pytest.approx(hits[is_in].mean(), abs=1e-6)
        assert row["cross_entropy"] == pytest.approx(
            _cross_entropy(evaluated.labels[is_in], evaluated.candidate[is_in]),
            abs=1e-6,
        )
    assert slices["source"].keys() == {"even.bin", "odd/folder"}
    assert slices["colour"].keys() == {"gray", "colour"}
    for label, row in slices["class"].items():
        recall = figures["per_class"][label]["recall"]
        assert row["top_1"] == pytest.approx(recall, abs=1e-6)


def test_the_table_holds_every_image_once_sorted_by_key(evaluated: Evaluated) -> None:
    table = predictions.read(evaluated.uri)
    order = np.argsort(evaluated.keys)
    assert table["key"].tolist() == [evaluated.keys[place] for place in order]
    assert table["label"].tolist() == evaluated.labels[order].tolist()
    np.testing.assert_allclose(
        np.stack(table["probabilities"]), evaluated.candidate[order], atol=1e-6
    )
    np.testing.assert_array_equal(
        table["predicted"], evaluated.candidate[order].argmax(axis=1)
    )
    if names := evaluated.baseline_labels:
        known = [*LABELS, *(name for name in names if name not in LABELS)]
        predicted = evaluated.baseline[order].argmax(axis=1)
        assert [known[number] for number in table["baseline_predicted"]] == [
            names[number] for number in predicted
        ]
    left = [path.name for path in pathlib.Path(evaluated.uri).iterdir()]
    assert not [name for name in left if name.startswith(".")]


@pytest.mark.parametrize(
    ("before", "aligned"),
    [
        (("bee", "ant"), [0.4, 0.6, 0.0]),  # cat is new
        (("cat", "dog"), [0.0, 0.0, 0.6, 0.4]),  # dog is gone, ant and bee are new
        (("yak", "gnu"), [0.0, 0.0, 0.0, 0.6, 0.4]),
    ],
)
def test_probabilities_follow_the_names(
    before: tuple[str, ...], aligned: list[float]
) -> None:
    found = classes.align(np.array([[0.6, 0.4]]), ("ant", "bee", "cat"), before)
    np.testing.assert_array_equal(found, [aligned])


@pytest.mark.parametrize("before", [(), OTHER_LABELS], ids=["alone", "with_baseline"])
def test_a_model_with_views_is_measured_without_them_too(
    tmp_path: pathlib.Path, before: tuple[str, ...]
) -> None:
    """In one pass; the gate judges what is served."""
    file = tmp_path / "examples.gz"
    examples = _write(file, np.random.default_rng(5))
    candidate = tmp_path / "candidate"
    models = {analysis.CANDIDATE: _model(candidate, 1, len(LABELS), plain_seed=9)}
    if before:
        models[analysis.BASELINE] = _model(
            tmp_path / "baseline", 2, len(before), plain_seed=8
        )
    uri = str(tmp_path / "artifact")
    analysis.run(
        functools.partial(_read, str(file)),
        models,
        SETTINGS,
        pathlib.Path(uri),
        beam.Pipeline(argv=engines.local()),
        before,
    )
    baseline = classes.Baseline("6", before) if before else None
    figures = verdict.measure(uri, SETTINGS, baseline, candidate)
    serialised = [example.SerializeToString() for example in examples]
    labels = np.array(
        [
            example.features.feature[features.LABEL].int64_list.value[0]
            for example in examples
        ]
    )
    for name, value in _scikit_learn(
        labels, _predict(str(candidate), serialised)
    ).items():
        assert figures["metrics"][name] == pytest.approx(value, abs=1e-6), name
    loaded = tf.saved_model.load(str(candidate))
    plain = loaded.signatures["views_compared"](examples=tf.constant(serialised))
    without = figures["test_time_views"]
    assert without["views"] == "mirror"
    expected = _headline(labels, plain["plain_probabilities"].numpy(), len(LABELS))
    assert without["metrics"].keys() == expected.keys()
    for name, value in expected.items():
        assert without["metrics"][name] == pytest.approx(value, abs=1e-5), name
        difference = without["differences"][name]
        gain = figures["metrics"][name] - value
        assert difference["difference"] == pytest.approx(gain, abs=1e-5)
        assert difference["low"] <= difference["difference"] <= difference["high"]
    assert scores.views_in_words(without) == (
        f"top-1 {expected['top_1']:.4f} without its test-time views (mirror),"
        f" {without['differences']['top_1']['difference']:+.4f} with them (95 % interval"
        f" {without['differences']['top_1']['low']:+.4f} to"
        f" {without['differences']['top_1']['high']:+.4f})"
    )


def test_top_k_of_a_baseline_with_no_more_classes_than_k_is_left_out() -> None:
    """It would be 1, whatever the model answers."""
    table = pd.DataFrame(
        {
            f"{prefix}{name}": [value, value]
            for prefix in ("", predictions.BASELINE_PREFIX)
            for name, value in (
                (predictions.PREDICTED, 0),
                (predictions.LABEL_RANK, 2),
                (predictions.LABEL_PROBABILITY, 0.5),
            )
        }
        | {predictions.LABEL: [1, 1]}
    )
    found = verdict.compare(table, (1, 2, 5), num_classes=5)
    assert found["baseline_metrics"].keys() == {"top_1", "top_2", "cross_entropy"}
    assert found["differences"]["top_2"]["difference"] == 0


def test_a_live_model_without_a_class_in_common_is_not_even_asked(
    tmp_path: pathlib.Path,
) -> None:
    """Through the component; the baseline's graph is empty, and has names of classes."""
    examples = standard_artifacts.Examples()
    examples.uri = str(tmp_path / "examples")
    examples.split_names = artifact_utils.encode_split_names(["test"])
    examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    examples.set_string_custom_property("file_format", "tfrecords_gzip")
    (tmp_path / "examples" / "Split-test").mkdir(parents=True)
    _write(tmp_path / "examples" / "Split-test" / "data.gz", np.random.default_rng(5))
    model, live = standard_artifacts.Model(), standard_artifacts.Model()
    model.uri, live.uri = str(tmp_path / "candidate"), str(tmp_path / "live")
    _model(pathlib.Path(path_utils.serving_model_dir(model.uri)), 1, len(LABELS))
    live.set_int_custom_property("exists", 1)
    live.set_string_custom_property("version", "6")
    assets = pathlib.Path(path_utils.serving_model_dir(live.uri), "assets")
    assets.mkdir(parents=True)
    (assets / "labels.txt").write_text("yak\nowl\n")
    empty = saved_model_pb2.SavedModel()
    empty.meta_graphs.add()
    (assets.parent / "saved_model.pb").write_bytes(empty.SerializeToString())
    evaluation, blessing = (
        standard_artifacts.ModelEvaluation(),
        standard_artifacts.ModelBlessing(),
    )
    evaluation.uri, blessing.uri = str(tmp_path / "evaluation"), str(tmp_path / "bless")
    context = component.ModelEvaluator_Executor.Context(
        make_beam_pipeline_fn=lambda: beam.Pipeline(argv=engines.local())
    )
    component.ModelEvaluator_Executor(context).Do(
        {"examples": [examples], "model": [model], "baseline_model": [live]},
        {"evaluation": [evaluation], "blessing": [blessing]},
        {
            "settings": json.dumps(dataclasses.asdict(SETTINGS)),
            "limits": json.dumps({"max_top_1_drop": 0.0, "class_changes": "ask"}),
            "split": "test",
            "source_fingerprint": "",
        },
    )
    found = json.loads((tmp_path / "evaluation" / gate.VERDICT_FILE).read_text())
    assert found["sentences"][1:] == [
        "not compared with version 6: the two models have no class in common",
        "the classes are not those of version 6 (new, without a baseline: ant, bee, cat, dog,"
        " emu and 2 more; gone: yak, owl), slimline run --accept-classes accepts that",
    ]
    assert not found["is_blessed"]
    assert found["baseline_metrics"] is None


def test_the_verdict_holds_rules_and_figures(
    evaluated: Evaluated, figures: dict[str, Any]
) -> None:
    top_1 = figures["metrics"]["top_1"]
    assert verdict.write(evaluated.uri, figures, gate.Limits(min_top_1=top_1))
    assert not verdict.write(evaluated.uri, figures, gate.Limits(min_top_1=0.99))
    path = pathlib.Path(evaluated.uri) / gate.VERDICT_FILE
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["is_blessed"] is False
    assert written["refusals"] == [f"top-1 {top_1:.4f}, required 0.9900"]
    assert written["rules"][0]["limit"] == 0.99
    assert written["confusion"] == figures["confusion"]


def test_equal_probabilities_count_as_tensorflow_counts_them() -> None:
    tied = predictions.of_batch(
        [b"a"],
        np.array([1]),
        {"": np.array([[0.4, 0.4, 0.2]], np.float32)},
        {},
        predictions.schema((), has_baseline=False),
    )
    assert tied["predicted"].to_pylist() == [0]
    assert tied["label_rank"].to_pylist() == [1]


def test_top_k_says_nothing_of_k_classes() -> None:
    assert SETTINGS.measured_k == [1, 2, 5]


def _write(file: pathlib.Path, random: np.random.Generator) -> list[tf.train.Example]:
    """A shard of Examples; gives them."""
    examples = list(_examples(random))
    with tf.io.TFRecordWriter(str(file), "GZIP") as writer:
        for example in examples:
            writer.write(example.SerializeToString())
    return examples


def _examples(random: np.random.Generator) -> Iterator[tf.train.Example]:
    for number in range(NUM_IMAGES):
        size_px = 40 if number % 3 else 20
        shape = [1, size_px, size_px, 1 if number % 4 else 3]
        pixels = random.integers(0, 256, shape).astype(np.uint8)
        label = int(random.integers(len(LABELS)))
        key = f"even.bin#{number}" if number % 2 else f"odd/folder/{number}.png"
        values = {
            features.ENCODED: next(images.encode_pngs(pixels)),
            features.FORMAT: b"png",
            features.TEXT: LABELS[label].encode(),
            features.KEY: key.encode(),
        }
        numbers = {
            features.HEIGHT: size_px,
            features.WIDTH: size_px,
            features.LABEL: label,
        }
        feature = {
            name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
            for name, value in values.items()
        } | {
            name: tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
            for name, value in numbers.items()
        }
        yield tf.train.Example(features=tf.train.Features(feature=feature))


def _read(file: str, pipeline: beam.Pipeline) -> beam.PCollection:
    source = tfxio.TFExampleRecord(
        file_pattern=file, raw_record_column_name=tfma.constants.ARROW_INPUT_COLUMN
    )
    return pipeline | source.BeamSource()


def _model(
    folder: pathlib.Path, seed: int, num_classes: int, plain_seed: int = 0
) -> str:
    """A SavedModel with the signature of ours and weights of noise.

    With `plain_seed` it has test-time views, and other weights for the images as they are.
    """
    with tf.Graph().as_default(), v1.Session() as session:
        examples = v1.placeholder(tf.string, [None])
        encoded = tf.io.parse_example(
            examples, {features.ENCODED: tf.io.FixedLenFeature([], tf.string)}
        )[features.ENCODED]
        pixels = tf.map_fn(_decode, encoded, fn_output_signature=tf.float32)
        flat = tf.reshape(pixels, [-1, SIZE_PX * SIZE_PX * 3])
        probabilities, plain = (
            tf.nn.softmax(tf.matmul(flat, _noise(each, num_classes)))
            for each in (seed, plain_seed)
        )
        # TFMA unpacks a single output.
        outputs = {"probabilities": probabilities, "scores": tf.sort(probabilities)}
        names = {"serving_default": outputs}
        if plain_seed:
            compared = {"probabilities": probabilities, "plain_probabilities": plain}
            names["views_compared"] = compared
        writer = v1.saved_model.Builder(str(folder))
        writer.add_meta_graph_and_variables(
            session,
            [tf.saved_model.SERVING],
            {
                name: v1.saved_model.predict_signature_def({"examples": examples}, each)
                for name, each in names.items()
            },
        )
        writer.save()
    if plain_seed:
        extra = folder / "assets.extra"
        extra.mkdir()
        (extra / "test_time_views.json").write_text('"mirror"')
    return str(folder)


def _noise(seed: int, num_classes: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(size=[SIZE_PX * SIZE_PX * 3, num_classes]).astype(np.float32)


def _decode(encoded: tf.Tensor) -> tf.Tensor:
    pixels = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    pixels = tf.ensure_shape(pixels, [None, None, 3])
    return tf.image.resize(pixels, [SIZE_PX, SIZE_PX]) / 128.0 - 1.0


def _predict(folder: str, serialised: list[bytes]) -> np.ndarray:
    loaded = tf.saved_model.load(folder)
    outputs = loaded.signatures["serving_default"](examples=tf.constant(serialised))
    return outputs["probabilities"].numpy()


def _scikit_learn(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    places = np.arange(len(LABELS))
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1, _ = sklearn_metrics.precision_recall_fscore_support(
        labels, predicted, labels=places, average="macro", zero_division=0
    )
    return {
        "macro_precision": precision,
        "macro_recall": recall,
        "macro_f1": f1,
        **_headline(labels, probabilities, len(LABELS)),
    }


def _headline(
    labels: np.ndarray, probabilities: np.ndarray, num_classes: int
) -> dict[str, float]:
    """What candidate and baseline are both measured by."""
    return {
        "top_1": sklearn_metrics.accuracy_score(labels, probabilities.argmax(axis=1)),
        "cross_entropy": _cross_entropy(labels, probabilities),
        **{
            f"top_{k}": sklearn_metrics.top_k_accuracy_score(
                labels, probabilities, k=k, labels=np.arange(num_classes)
            )
            for k in (2, 5)
        },
    }


def _cross_entropy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    shares = probabilities.astype(np.float64)
    shares /= shares.sum(axis=1, keepdims=True)
    places = np.arange(probabilities.shape[1])
    return sklearn_metrics.log_loss(labels, shares, labels=places)
