"""Servers that speak TensorFlow Serving's interfaces over real sockets, and fail on demand."""

import base64
import collections
import concurrent.futures
import dataclasses
import http.server
import io
import json
import re
import threading
import time

import grpc
import numpy as np
import pytest
from google.protobuf import json_format
from PIL import Image

LABELS = ("red", "green", "the blue")
MODEL = "colours"
# Version -> labels. Both are loaded.
VERSIONS = {7: "stable", 9: "canary"}
# What TensorFlow Serving makes of the codes, http_server.cc.
HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_PATH = re.compile(
    "/v1/models/([^/:]+)(?:/versions/([0-9]+)|/labels/([^/:]+))?(:predict|/metadata)?"
)


class Failure(Exception):
    """An error that a server is to answer with."""

    def __init__(self, code, text):
        super().__init__(code, text)
        self.code = code
        self.text = text


@dataclasses.dataclass
class Colours:
    """A model whose probabilities are the shares of the channels, and its troubles.

    Attributes:
      failures: (code, text), one a request to come; 'CUT' closes the connection.
      asked: (name, version, label) of each request for predictions.
      batches: their numbers of images.
      class_lists: class names of the first batch, of the second and so on, in turn.
      headers: the last request's, names in lower case.
      seconds: that each prediction takes.
      retry_after: header of refusals by REST, or ''.
      most_at_once: predictions in progress at the same time.
    """

    failures: collections.deque = dataclasses.field(default_factory=collections.deque)
    asked: list = dataclasses.field(default_factory=list)
    batches: list = dataclasses.field(default_factory=list)
    class_lists: list = dataclasses.field(default_factory=lambda: [LABELS])
    headers: dict = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    most_at_once: int = 0
    retry_after: str = ""
    address: str = ""
    target: str = ""
    port: int = 0
    _running: int = 0
    _lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def find(self, name, version, label):
        """Version that is asked for; texts as TensorFlow Serving has them."""
        if name != MODEL:
            raise Failure(
                "NOT_FOUND", f"Servable not found for request: Latest({name})"
            )
        if label:
            for number, known in VERSIONS.items():
                if known == label:
                    return number
            raise Failure(
                "INVALID_ARGUMENT", f"Unrecognized servable version label: {label}"
            )
        if version is None:
            return max(VERSIONS)
        if version not in VERSIONS:
            raise Failure(
                "NOT_FOUND",
                f"Servable not found for request: Specific({name}, {version})",
            )
        return version

    def predict(self, name, version, label, images):
        """Version, and its outputs by name."""
        with self._lock:
            self.asked.append((name, version, label))
            labels = self.class_lists[len(self.batches) % len(self.class_lists)]
            self.batches.append(len(images))
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)
        try:
            time.sleep(self.seconds)
            self.fail()
            number = self.find(name, version, label)
            return number, _outputs(self._probabilities(images), labels)
        finally:
            with self._lock:
                self._running -= 1

    def fail(self):
        """Raises the next failure."""
        with self._lock:
            failure = self.failures.popleft() if self.failures else None
        if failure:
            raise Failure(*failure)

    def _probabilities(self, images):
        try:
            pixels = [
                np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))
                for image in images
            ]
        except OSError:
            raise Failure("INVALID_ARGUMENT", "Unknown image file format.") from None
        means = np.stack([image.mean((0, 1)) for image in pixels]).astype(np.float32)
        return means / means.sum(1, keepdims=True)


def _outputs(probabilities, labels):
    order = np.argsort(-probabilities, axis=1, kind="stable")
    return {
        "probabilities": probabilities,
        "classes": np.asarray(labels)[order],
        "scores": np.take_along_axis(probabilities, order, 1),
    }


def _signature_def_map():
    from tensorflow.core.framework import types_pb2
    from tensorflow_serving.apis import get_model_metadata_pb2

    found = get_model_metadata_pb2.SignatureDefMap()
    signature = found.signature_def["predict_images"]
    signature.method_name = "tensorflow/serving/predict"
    signature.inputs["images"].name = "images:0"
    signature.inputs["images"].dtype = types_pb2.DT_STRING
    signature.inputs["images"].tensor_shape.dim.add(size=-1)
    signature.outputs["scores"].name = "scores:0"
    signature.outputs["scores"].dtype = types_pb2.DT_FLOAT
    signature.outputs["scores"].tensor_shape.dim.add(size=-1)
    signature.outputs["scores"].tensor_shape.dim.add(size=3)
    return found


@pytest.fixture
def serve_rest():
    """Function (**more) -> Colours behind REST. `tls` is a context, `is_local` tells models."""
    servers = []

    def serve(tls=None, is_local=False):
        model = Colours()
        server = http.server.ThreadingHTTPServer(
            ("localhost", 0), _handler(model, is_local)
        )
        # Clients that go away are part of the tests.
        server.handle_error = lambda *arguments: None
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        model.port = server.server_port
        model.target = f"localhost:{model.port}"
        model.address = f"{'https' if tls else 'http'}://{model.target}"
        return model

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def _handler(model, is_local):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments):
            pass

        def do_GET(self):
            self._answer(None)

        def do_POST(self):
            length = int(self.headers["Content-Length"])
            self._answer(json.loads(self.rfile.read(length)))

        def _answer(self, body):
            model.headers = {name.lower(): text for name, text in self.headers.items()}
            try:
                self._send(200, *self._document(body))
            except Failure as failure:
                if failure.code == "CUT":
                    self.close_connection = True
                elif failure.code.isdigit():
                    self._send(int(failure.code), failure.text)
                else:
                    status = HTTP_STATUS[failure.code]
                    self._send(status, {"error": failure.text})

        def _document(self, body):
            if self.path == "/monitoring/prometheus/metrics":
                return ("# TYPE requests counter",)
            if self.path == "/api/models" and is_local:
                model.fail()
                return ({"models": [{"name": MODEL}]},)
            match = _PATH.fullmatch(self.path)
            if not match:
                raise Failure("404", "<html>Not Found</html>")
            name, version, label, method = match.groups()
            version = int(version) if version else None
            if body is not None:
                return self._predictions(name, version, label, body)
            model.fail()
            number = model.find(name, version, label)
            if method:
                return (_metadata_document(number),)
            return (_status_document([number] if version or label else VERSIONS),)

        def _predictions(self, name, version, label, body):
            assert body["signature_name"] == "predict_images"
            images = [
                base64.b64decode(instance["b64"], validate=True)
                for instance in body["instances"]
            ]
            number, found = model.predict(name, version, label, images)
            outputs = {name: value.tolist() for name, value in found.items()}
            rows = [
                {name: value[place] for name, value in outputs.items()}
                for place in range(len(images))
            ]
            headers = {"Slimline-Model-Version": str(number)} if is_local else {}
            return {"predictions": rows}, headers

        def _send(self, status, document, headers=None):
            content = (
                document if isinstance(document, str) else json.dumps(document)
            ).encode()
            self.send_response(status)
            for name, text in (headers or {}).items():
                self.send_header(name, text)
            if status == 429 and model.retry_after:
                self.send_header("Retry-After", model.retry_after)
            if status == 307:
                self.send_header("Location", "https://elsewhere/")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler


def _status_document(numbers):
    return {
        "model_version_status": [
            {
                "version": str(number),
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
            for number in sorted(numbers)
        ]
    }


def _metadata_document(number):
    signatures = json_format.MessageToDict(
        _signature_def_map(),
        preserving_proto_field_name=True,
        including_default_value_fields=True,
    )
    spec = {"name": MODEL, "signature_name": "", "version": str(number)}
    return {"model_spec": spec, "metadata": {"signature_def": signatures}}


@pytest.fixture
def serve_grpc():
    """Function (**more) -> Colours behind gRPC. `tls` is (key, certificate) in PEM."""
    servers = []

    def serve(tls=None, port=0, is_in_content=False):
        model = Colours()
        server = grpc.server(
            concurrent.futures.ThreadPoolExecutor(8),
            options=[("grpc.so_reuseport", 0)],
        )
        _add_services(server, model, is_in_content)
        place = f"localhost:{port}"
        model.port = (
            server.add_secure_port(place, grpc.ssl_server_credentials([tls]))
            if tls
            else server.add_insecure_port(place)
        )
        server.start()
        servers.append(server)
        model.target = f"localhost:{model.port}"
        model.address = f"{'grpcs' if tls else 'grpc'}://{model.target}"
        return model

    yield serve
    for server in servers:
        server.stop(None)


def _add_services(server, model, is_in_content):
    import tensorflow as tf
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )

    def answered(context, answer):
        model.headers = dict(context.invocation_metadata())
        try:
            return answer()
        except Failure as failure:
            context.abort(grpc.StatusCode[failure.code], failure.text)

    def parts(spec):
        version = spec.version.value if spec.HasField("version") else None
        return spec.name, version, spec.version_label or None

    class Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            def answer():
                assert request.model_spec.signature_name == "predict_images"
                images = list(tf.make_ndarray(request.inputs["images"]))
                number, found = model.predict(*parts(request.model_spec), images)
                response = predict_pb2.PredictResponse()
                response.model_spec.name = request.model_spec.name
                response.model_spec.version.value = number
                for name, value in found.items():
                    tensor = tf.make_tensor_proto(value)
                    if value.dtype == np.float32 and not is_in_content:
                        # As TensorFlow Serving does it.
                        tensor.tensor_content = b""
                        tensor.float_val.extend(value.ravel().tolist())
                    response.outputs[name].CopyFrom(tensor)
                return response

            return answered(context, answer)

        def GetModelMetadata(self, request, context):
            def answer():
                model.fail()
                number = model.find(*parts(request.model_spec))
                response = get_model_metadata_pb2.GetModelMetadataResponse()
                response.model_spec.name = request.model_spec.name
                response.model_spec.version.value = number
                (field,) = request.metadata_field
                response.metadata[field].Pack(_signature_def_map())
                return response

            return answered(context, answer)

    class Models(model_service_pb2_grpc.ModelServiceServicer):
        def GetModelStatus(self, request, context):
            def answer():
                model.fail()
                name, version, label = parts(request.model_spec)
                number = model.find(name, version, label)
                return json_format.ParseDict(
                    _status_document([number] if version or label else VERSIONS),
                    get_model_status_pb2.GetModelStatusResponse(),
                )

            return answered(context, answer)

    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        Predictions(), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(Models(), server)


@pytest.fixture(params=["rest", "grpc"])
def colours(request):
    """The model behind REST, and behind gRPC."""
    return request.getfixturevalue(f"serve_{request.param}")()


@pytest.fixture(scope="session")
def write_colour_model():
    """Function (folder, signature="predict_images") -> folder with a SavedModel in it."""
    return _write_colour_model


def _write_colour_model(folder, signature="predict_images"):
    """A TF1-style SavedModel whose probabilities are the shares of the channels."""
    import tensorflow as tf

    v1 = tf.compat.v1
    asset = folder.parent / "labels.txt"
    asset.parent.mkdir(parents=True, exist_ok=True)
    asset.write_text("".join(f"{label}\n" for label in LABELS), encoding="utf-8")
    with tf.Graph().as_default(), v1.Session() as session:
        images = v1.placeholder(tf.string, [None], name="images")
        means = tf.map_fn(
            lambda data: tf.reduce_mean(
                tf.cast(
                    tf.io.decode_image(data, 3, expand_animations=False), tf.float32
                ),
                [0, 1],
            ),
            images,
            fn_output_signature=tf.TensorSpec([3], tf.float32),
        )
        # A variable, so that restoring is tested too.
        scale = v1.get_variable("scale", initializer=1.0)
        probabilities = scale * means / tf.reduce_sum(means, 1, keepdims=True)
        scores, order = tf.nn.top_k(probabilities, k=len(LABELS))
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, tf.constant(str(asset)))
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            [v1.saved_model.tag_constants.SERVING],
            signature_def_map={
                signature: v1.saved_model.predict_signature_def(
                    {"images": images},
                    {
                        "probabilities": probabilities,
                        "classes": tf.gather(tf.constant(LABELS), order),
                        "scores": scores,
                    },
                )
            },
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
        )
        builder.save()
    asset.unlink()
    return folder
