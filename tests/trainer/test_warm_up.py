"""The warm-up requests are ones that the model answers, within the server's limits."""

import collections

import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from pushed_models import signatures
from schema import features
from trainer import warm_up

RECORDED = [b"ccc", b"a", b"bb", b"eeeee", b"dddd"]


@pytest.fixture
def recording(tmp_path):
    """Function (images) -> file as `trainer.recording` writes it."""

    def write(images):
        path = tmp_path / "recorded"
        with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
            for image in images:
                feature = {
                    features.ENCODED: tf.train.Feature(
                        bytes_list=tf.train.BytesList(value=[image])
                    )
                }
                writer.write(
                    tf.train.Example(
                        features=tf.train.Features(feature=feature)
                    ).SerializeToString()
                )
        return path

    return write


def read(path):
    """As TensorFlow Serving reads it: uncompressed TFRecords of PredictionLogs."""
    return [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    ]


def asked(log):
    """Signature and images of a request."""
    if log.HasField("classify_log"):
        request = log.classify_log.request
        examples = request.input.example_list.examples
    else:
        request = log.predict_log.request
        name = request.model_spec.signature_name
        tensor = tf.make_ndarray(request.inputs[signatures.INPUTS[name]])
        assert tensor.ndim == 1
        if name == "predict_images":
            return name, tensor.tolist()
        examples = map(tf.train.Example.FromString, tensor.tolist())
    images = [
        example.features.feature[features.ENCODED].bytes_list.value[0]
        for example in examples
    ]
    return request.model_spec.signature_name, images


def test_each_signature_alone_and_in_a_batch(recording, tmp_path):
    path = warm_up.add(tmp_path, recording(RECORDED))
    assert path == tmp_path / "assets.extra" / "tf_serving_warmup_requests"
    logs = read(path)
    smallest = [b"a", b"bb", b"ccc", b"dddd"]
    names = ["serving_default", "predict_images", "classify"]
    assert [asked(log) for log in logs] == [
        *((name, smallest[:1]) for name in names),
        *((name, smallest) for name in names),
    ]
    kinds = collections.Counter(log.WhichOneof("log_type") for log in logs)
    assert kinds == {"predict_log": 4, "classify_log": 2}


def test_of_few_images_none_is_asked_for_twice(recording, tmp_path):
    logs = read(warm_up.add(tmp_path, recording([b"a"])))
    assert [asked(log) for log in logs] == [
        (name, [b"a"]) for name in signatures.INPUTS
    ]


def test_the_recorded_answers_go_along(recording, tmp_path):
    recorded = recording(RECORDED)
    warm_up.add(tmp_path, recorded)
    copy = tmp_path / "assets.extra" / "recorded_outputs.tfrecord.gz"
    assert copy.read_bytes() == recorded.read_bytes()


def test_never_more_than_the_server_takes():
    requests = len(warm_up.BATCH_SIZES) * len(signatures.INPUTS)
    assert requests <= signatures.MAX_WARM_UP_RECORDS == 1000
    assert min(warm_up.BATCH_SIZES) == 1
