"""A SavedModel of somebody else, as TensorFlow Serving takes it: by both protocols."""

import gzip
import json

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


class Scaled(tf.Module):
    """Written by TensorFlow 2; it names no classes and has none of our signatures."""

    def __init__(self):
        super().__init__()
        self.factor = tf.Variable(3.0)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.float32, "x"),
            tf.TensorSpec([None], tf.int32, "y"),
        ]
    )
    def two(self, x, y):
        return {"sum": self.factor * x + tf.cast(y, tf.float32)[:, None]}

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.string, "word")])
    def column(self, word):
        return {"upper": tf.strings.upper(word), "length": tf.strings.length(word)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.string, "word")])
    def scalar(self, word):
        return {"upper": tf.strings.upper(word)}


@pytest.fixture(scope="module")
def running(serve_process, warm_forks, tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    module = Scaled()
    tf.saved_model.save(
        module,
        str(root / "serving" / "scaled" / "00000123"),
        {"serving_default": module.two, "column": module.column, "one": module.scalar},
    )
    with serve_process.serving(root, forks=warm_forks) as served:
        yield served


def post(running, document, **headers):
    body = json.dumps(document).encode()
    if headers.get("Content_Encoding") == "gzip":
        body = gzip.compress(body)
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    url = f"{running.url}/v1/models/scaled:predict"
    return requests.post(url, data=body, headers=named, timeout=30)


@pytest.mark.parametrize(
    ("document", "answer"),
    [
        (
            {"instances": [{"x": [1, 2], "y": 1}, {"x": [0.5, 0], "y": -1}]},
            {"predictions": [[4, 7], [0.5, -1]]},
        ),
        ({"inputs": {"x": [[1, 2]], "y": [1]}}, {"outputs": [[4, 7]]}),
        (
            {"signature_name": "column", "instances": [["cat"], [{"b64": "ZG9n"}]]},
            {
                "predictions": [
                    {"upper": ["CAT"], "length": [3]},
                    {"upper": ["DOG"], "length": [3]},
                ]
            },
        ),
        ({"signature_name": "one", "inputs": "cat"}, {"outputs": "CAT"}),
        ({"signature_name": "one", "inputs": {"word": "cat"}}, {"outputs": "CAT"}),
    ],
)
def test_rest(running, document, answer):
    assert post(running, document).json() == answer
    packed = post(running, document, Content_Encoding="gzip")
    assert packed.json() == answer
    octets = post(running, document, Content_Type="application/octet-stream")
    assert octets.json() == answer


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"instances": [[1, 2]]}, "objects with the inputs x,y"),
        ({"inputs": {"x": [[1, 2, 3]], "y": [1]}}, "shape [1, 3], expected [-1, 2]"),
        ({"inputs": {"x": [[1, 2]], "y": [1.5]}}, "expected type: int32"),
        ({"inputs": {"x": [], "y": []}}, "empty"),
        ({"signature_name": "one", "instances": ["cat"]}, "shape [1], expected []"),
        ({"signature_name": "column", "instances": ["cat"]}, "expected [-1, 1]"),
    ],
)
def test_refusals(running, document, text):
    response = post(running, document)
    assert response.status_code == 400
    assert text in response.json()["error"]


def test_grpc(running):
    with grpc.insecure_channel(running.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "scaled"
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.ones((3, 2), np.float32)))
        request.inputs["y"].int_val.extend([1, 2, 3])
        request.inputs["y"].dtype = tf.int32.as_datatype_enum
        request.inputs["y"].tensor_shape.dim.add(size=3)
        answer = stub.Predict(request, timeout=30)
        assert answer.model_spec.version.value == 123
        found = tf.make_ndarray(answer.outputs["sum"])
        np.testing.assert_array_equal(found, [[4, 4], [5, 5], [6, 6]])
        request.Clear()
        request.model_spec.name = "scaled"
        request.model_spec.signature_name = "one"
        request.inputs["word"].CopyFrom(tf.make_tensor_proto(b"cat"))
        answer = stub.Predict(request, timeout=30)
        assert tf.make_ndarray(answer.outputs["upper"]) == b"CAT"


def test_what_it_says_of_itself(running):
    url = f"{running.url}/v1/models/scaled"
    (status,) = requests.get(url, timeout=30).json()["model_version_status"]
    assert (status["version"], status["state"]) == ("123", "AVAILABLE")
    (listed,) = requests.get(f"{running.url}/api/models", timeout=30).json()["models"]
    assert (listed["answers"], listed["classes"]) == (123, [])
    document = requests.get(f"{url}/metadata", timeout=30).json()
    signatures = document["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serving_default", "column", "one"}
