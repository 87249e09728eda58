import csv
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from common.errors import ConfigError, DataError
from serving import prediction_logs

PETS = [("cat", 0.75), ("dog", 0.25)]
BIRDS = [("dog", 0.625), ("cat", 0.375)]


def example(key):
    made = tf.train.Example()
    made.features.feature["image/encoded"].bytes_list.value.append(b"pixels")
    if key is not None:
        made.features.feature["image/key"].bytes_list.value.append(key)
    return made


def predict_log(answers, inputs, name="examples"):
    """As BulkInferrer writes it for one image, and TensorFlow Serving for a batch."""
    log = prediction_log_pb2.PredictionLog()
    request, response = log.predict_log.request, log.predict_log.response
    request.inputs[name].CopyFrom(tf.make_tensor_proto(inputs, tf.string))
    classes = np.array(
        [[label.encode() for label, _ in one] for one in answers], object
    )
    scores = np.array([[score for _, score in one] for one in answers], np.float32)
    response.outputs["classes"].CopyFrom(tf.make_tensor_proto(classes))
    response.outputs["scores"].CopyFrom(tf.make_tensor_proto(scores))
    response.outputs["probabilities"].CopyFrom(tf.make_tensor_proto(scores))
    return log


def classify_log(answers, examples):
    log = prediction_log_pb2.PredictionLog()
    log.classify_log.request.input.example_list.examples.extend(examples)
    for one in answers:
        found = log.classify_log.response.result.classifications.add()
        for label, score in one:
            found.classes.add(label=label, score=score)
    return log


def write_logs(path, logs, compression="GZIP"):
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for log in logs:
            writer.write(log.SerializeToString())


@pytest.fixture
def logs(tmp_path):
    """A folder as BulkInferrer leaves it, of two shards."""
    folder = tmp_path / "inference_result"
    b, a = (example(key).SerializeToString() for key in (b"b.png", b"a.png"))
    write_logs(
        folder / "prediction_logs-00000-of-00002.gz",
        [predict_log([BIRDS], [b]), predict_log([PETS], [a])],
    )
    write_logs(
        folder / "prediction_logs-00001-of-00002.gz",
        [classify_log([PETS[::-1]], [example(b"\xff.png")])],
    )
    return folder


def test_rows_are_sorted_by_key(logs, tmp_path):
    converted = prediction_logs.convert(logs, tmp_path / "rows.jsonl")
    assert converted == prediction_logs.Converted(
        str(tmp_path / "rows.jsonl"), 3, {"cat": 2, "dog": 1}
    )
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [
        (row["file"], row["label"], row["score"], row["model"]) for row in rows
    ] == [
        ("a.png", "cat", 0.75, ""),
        ("b.png", "dog", 0.625, ""),
        ("\udcff.png", "cat", 0.75, ""),
    ]
    assert rows[1]["top"] == [{"label": name, "score": score} for name, score in BIRDS]


def test_csv_and_top(logs, tmp_path):
    output = tmp_path / "rows.csv"
    prediction_logs.convert(logs, output, top=1)
    with output.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["file", "label_1", "score_1", "model"],
            ["a.png", "cat", "0.75", ""],
            ["b.png", "dog", "0.625", ""],
            ["\\udcff.png", "cat", "0.75", ""],
        ]


def test_logs_of_a_server_name_the_model_and_not_always_the_image(tmp_path):
    log = predict_log([PETS, BIRDS], [b"pixels", b"more pixels"], "images")
    log.predict_log.response.model_spec.name = "pets"
    log.predict_log.response.model_spec.version.value = 7
    nameless = predict_log([PETS], [example(None).SerializeToString()])
    nameless.predict_log.response.model_spec.name = "pets"
    path = tmp_path / "requests.tfrecord"
    write_logs(path, [log, nameless], compression="")
    assert list(prediction_logs.read(path, top=1)) == [
        ("requests.tfrecord#0", PETS[:1], "pets@7"),
        ("requests.tfrecord#1", BIRDS[:1], "pets@7"),
        ("requests.tfrecord#2", PETS[:1], "pets"),
    ]


def test_an_output_is_not_replaced_unasked(logs, tmp_path):
    output = tmp_path / "rows.csv"
    output.write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        prediction_logs.convert(logs, output)
    assert output.read_text() == "mine"
    prediction_logs.convert(logs, output, replaces=True)
    assert output.read_text().startswith("file,")
    with pytest.raises(ConfigError, match="cannot write"):
        prediction_logs.convert(logs, tmp_path / "none" / "rows.csv")


def without_classes():
    log = predict_log([PETS], [example(b"a").SerializeToString()])
    del log.predict_log.response.outputs["classes"]
    return log


def regression():
    log = prediction_log_pb2.PredictionLog()
    log.regress_log.response.result.regressions.add(value=1)
    return log


def two_answers():
    return predict_log([PETS, BIRDS], [example(b"a").SerializeToString()])


@pytest.mark.parametrize(
    ("log", "found"),
    [
        (without_classes(), "outputs without classes"),
        (regression(), "a log of kind 'regress_log'"),
        (prediction_log_pb2.PredictionLog(), "a log of kind 'None'"),
        (two_answers(), "2 predictions for 1 images"),
        (classify_log([[]], [example(b"a")]), "a prediction without classes"),
    ],
)
def test_other_logs_are_refused(tmp_path, log, found):
    good = predict_log([PETS], [example(b"a").SerializeToString()])
    write_logs(tmp_path / "logs" / "logs.gz", [good, log])
    with pytest.raises(
        DataError, match=r"cannot read record 1 of .*logs\.gz"
    ) as caught:
        prediction_logs.convert(tmp_path / "logs", tmp_path / "rows.csv")
    assert caught.value.found == found
    assert not (tmp_path / "rows.csv").exists()


@pytest.mark.parametrize("percent", [0, 30, 60, 90, 99])
def test_logs_that_are_cut_are_refused(logs, tmp_path, percent):
    path = logs / "prediction_logs-00000-of-00002.gz"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * percent // 100])
    with pytest.raises(DataError, match=r"cannot read .*00000-of-00002\.gz"):
        prediction_logs.convert(logs, tmp_path / "rows.csv")


def test_damaged_logs_are_refused(logs, tmp_path):
    path = logs / "requests.tfrecord"
    path.write_text("no records, but long enough for one")
    with pytest.raises(DataError, match=r"cannot read record 0 of .*tfrecord"):
        prediction_logs.convert(logs, tmp_path / "rows.csv")


@pytest.mark.parametrize("name", ["none", "empty"])
def test_no_logs_are_an_error(tmp_path, name):
    pathlib.Path(tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".hidden").touch()
    with pytest.raises(DataError, match=r"no logs at|no predictions in"):
        prediction_logs.convert(tmp_path / name, tmp_path / "rows.csv")
