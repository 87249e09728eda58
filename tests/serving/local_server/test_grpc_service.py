"""gRPC against a server that runs, through the published stubs."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

COLOURS = ((250, 10, 20), (30, 220, 9), (0, 70, 200))
TIMEOUT_SECONDS = 30


@pytest.fixture(scope="module")
def channel(served):
    with grpc.insecure_channel(served.grpc) as opened:
        yield opened


@pytest.fixture(scope="module")
def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def encoded(png):
    return [png(*colour) for colour in COLOURS]


def predict_request(images, name="colours", signature="predict_images", key="images"):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    request.inputs[key].CopyFrom(tf.make_tensor_proto(images, tf.string))
    return request


def refusal(call, request):
    with pytest.raises(grpc.RpcError) as refused:
        call(request, timeout=TIMEOUT_SECONDS)
    return refused.value.code().name, refused.value.details()


@pytest.mark.parametrize("version", [1, 2])
def test_predict(stub, encoded, offline, version):
    request = predict_request(encoded)
    request.model_spec.version.value = version
    answer = stub.Predict(request, timeout=TIMEOUT_SECONDS)
    assert answer.model_spec.name == "colours"
    assert answer.model_spec.version.value == version
    assert answer.model_spec.signature_name == "predict_images"
    assert answer.outputs.keys() == {"probabilities", "classes", "scores"}
    wanted = offline(COLOURS, bias=0.0 if version == 1 else 1.5)
    found = tf.make_ndarray(answer.outputs["probabilities"])
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    # Clients read the typed fields as they are, too.
    np.testing.assert_allclose(
        answer.outputs["probabilities"].float_val, wanted.ravel(), atol=1e-5
    )
    best = tf.make_ndarray(answer.outputs["classes"])[:, 0]
    names = np.asarray([b"red", b"green", b"blue"])
    assert list(best) == list(names[wanted.argmax(axis=1)])


def test_default_and_labels(stub, encoded):
    request = predict_request(encoded[:1])
    answer = stub.Predict(request, timeout=TIMEOUT_SECONDS)
    assert answer.model_spec.version.value == 1
    request.model_spec.version_label = "canary"
    answer = stub.Predict(request, timeout=TIMEOUT_SECONDS)
    assert answer.model_spec.version.value == 2


def test_default_signature_takes_examples(stub, encoded, example, offline):
    examples = [example(image) for image in encoded]
    request = predict_request(examples, signature="", key="examples")
    answer = stub.Predict(request, timeout=TIMEOUT_SECONDS)
    assert answer.model_spec.signature_name == "serving_default"
    found = tf.make_ndarray(answer.outputs["probabilities"])
    np.testing.assert_allclose(found, offline(COLOURS), atol=1e-5)


def test_output_filter(stub, encoded):
    request = predict_request(encoded)
    request.output_filter.append("scores")
    answer = stub.Predict(request, timeout=TIMEOUT_SECONDS)
    assert answer.outputs.keys() == {"scores"}
    request.output_filter.append("scores")
    assert refusal(stub.Predict, request) == (
        "INVALID_ARGUMENT",
        "duplicate output tensor alias",
    )
    request.output_filter[:] = ["logits"]
    code, text = refusal(stub.Predict, request)
    assert code == "INVALID_ARGUMENT"
    assert "{classes,probabilities,scores}" in text


@pytest.mark.parametrize("has_context", [False, True])
def test_classify(stub, encoded, example, offline, has_context):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "colours"
    request.model_spec.signature_name = "classify"
    examples = [tf.train.Example.FromString(example(image)) for image in encoded]
    if has_context:
        listed = request.input.example_list_with_context
        listed.context.features.feature["camera"].bytes_list.value.append(b"north")
        listed.examples.extend(examples)
    else:
        request.input.example_list.examples.extend(examples)
    answer = stub.Classify(request, timeout=TIMEOUT_SECONDS)
    assert answer.model_spec.version.value == 1
    wanted = offline(COLOURS)
    assert len(answer.result.classifications) == 3
    for entry, row in zip(answer.result.classifications, wanted, strict=True):
        order = np.argsort(-row, kind="stable")
        names = ["red", "green", "blue"]
        assert [found.label for found in entry.classes] == [names[i] for i in order]
        scores = [found.score for found in entry.classes]
        np.testing.assert_allclose(scores, row[order], atol=1e-5)


def test_metadata_and_status(channel, stub):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "colours"
    assert refusal(stub.GetModelMetadata, request)[0] == "INVALID_ARGUMENT"
    request.metadata_field.append("signature_def")
    answer = stub.GetModelMetadata(request, timeout=TIMEOUT_SECONDS)
    assert answer.model_spec.version.value == 1
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["classify"].inputs.keys() == {"inputs"}

    models = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "colours"
    answer = models.GetModelStatus(request, timeout=TIMEOUT_SECONDS)
    found = [
        (e.version, e.state, e.status.error_code) for e in answer.model_version_status
    ]
    assert found == [(2, 30, 0), (1, 30, 0)]
    request.model_spec.name = "nope"
    assert refusal(models.GetModelStatus, request) == (
        "NOT_FOUND",
        "Could not find any versions of model nope",
    )


def test_health(channel):
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", "tensorflow.serving.PredictionService"):
        request = health_pb2.HealthCheckRequest(service=name)
        answer = health.Check(request, timeout=TIMEOUT_SECONDS)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    request = health_pb2.HealthCheckRequest(service="other")
    assert refusal(health.Check, request)[0] == "NOT_FOUND"


def no_spec(images):
    request = predict_request(images)
    request.ClearField("model_spec")
    return request


def with_tensor(tensor):
    def build(images):
        request = predict_request(images)
        request.inputs["images"].CopyFrom(tensor)
        return request

    return build


def repeated(images):
    """One value for a shape of a million: TensorFlow would repeat it."""
    request = predict_request(images[:1])
    request.inputs["images"].tensor_shape.dim[0].size = 1_000_000
    return request


def second_input(images):
    request = predict_request(images)
    request.inputs["more"].CopyFrom(tf.make_tensor_proto([b"a"]))
    return request


def by_version(images):
    request = predict_request(images)
    request.model_spec.version.value = 9
    return request


def by_label(images):
    request = predict_request(images)
    request.model_spec.version_label = "gone"
    return request


@pytest.mark.parametrize(
    ("build", "code", "text"),
    [
        (no_spec, "INVALID_ARGUMENT", "Missing ModelSpec"),
        (
            lambda i: predict_request(i, name=""),
            "INVALID_ARGUMENT",
            "no name specified",
        ),
        (lambda i: predict_request(i, name="nope"), "NOT_FOUND", "Latest(nope)"),
        (by_version, "NOT_FOUND", "Specific(colours, 9)"),
        (by_label, "INVALID_ARGUMENT", "version label: gone"),
        (
            lambda i: predict_request(i, signature="gone"),
            "FAILED_PRECONDITION",
            'Serving signature key "gone" not found.',
        ),
        (lambda i: predict_request(i, key="other"), "INVALID_ARGUMENT", "input size"),
        (second_input, "INVALID_ARGUMENT", "input size does not match"),
        (with_tensor(tf.make_tensor_proto([1.0])), "INVALID_ARGUMENT", "type string"),
        (with_tensor(tf.make_tensor_proto(b"a")), "INVALID_ARGUMENT", "shape []"),
        (
            with_tensor(tf.make_tensor_proto([[b"a"]])),
            "INVALID_ARGUMENT",
            "shape [1, 1]",
        ),
        (repeated, "INVALID_ARGUMENT", "fewer values"),
        (lambda i: predict_request([]), "INVALID_ARGUMENT", "empty"),
        (lambda i: predict_request([b"a"]), "INVALID_ARGUMENT", "instance 0: neither"),
        (
            lambda i: predict_request([*i, i[0][:-20]]),
            "INVALID_ARGUMENT",
            "3",
        ),
        (lambda i: predict_request(i * 400), "INVALID_ARGUMENT", "1,024"),
    ],
)
def test_errors(stub, encoded, build, code, text):
    found_code, found_text = refusal(stub.Predict, build(encoded))
    assert (found_code, text in found_text) == (code, True), found_text


def test_what_is_not_implemented(stub):
    assert (
        refusal(stub.Regress, regression_pb2.RegressionRequest())[0] == "UNIMPLEMENTED"
    )
    request = inference_pb2.MultiInferenceRequest()
    assert refusal(stub.MultiInference, request)[0] == "UNIMPLEMENTED"


def test_messages_that_are_none(channel):
    path = "/tensorflow.serving.PredictionService/Predict"
    garbage = channel.unary_unary(path)
    # What gRPC itself says of it, and no more.
    code, text = refusal(garbage, b"\xff" * 100)
    assert code == "UNKNOWN"
    assert "Traceback" not in text
    large = garbage, b"\x00" * (33 << 20)
    assert refusal(*large)[0] == "RESOURCE_EXHAUSTED"


def test_deadline(stub, encoded):
    with pytest.raises(grpc.RpcError) as refused:
        stub.Predict(predict_request(encoded * 300), timeout=0.001)
    assert refused.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
