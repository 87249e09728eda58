"""A client of TensorFlow Serving's gRPC interface that needs no TensorFlow."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import numpy as np

from pushed_models import signatures
from serving import server_answers, wire_messages
from serving.model_spec import ModelSpec
from serving.server_address import Address
from serving.server_answers import Refused, Rows, VersionStatus

_SERVICES = {
    "Predict": "PredictionService",
    "GetModelMetadata": "PredictionService",
    "GetModelStatus": "ModelService",
}
_METADATA_FIELD = "signature_def"
_OPTIONS = [
    # The default is 4 MiB; 64 images of 20,000 classes are 40 MB.
    ("grpc.max_receive_message_length", 256 << 20),
    # A headless service of Kubernetes has an address for each pod; calls take turns.
    ("grpc.lb_policy_name", "round_robin"),
    # By default gRPC waits a second before it connects again, longer than our retries take.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
# gRPC has one code for all failures of a connection; only the text tells them apart, in the
# words of its different releases. The first match counts.
_CONNECTION_ERRORS = (
    (
        re.compile("DNS resolution failed|errors? resolving"),
        server_answers.UNKNOWN_HOST,
    ),
    (
        re.compile("http1|HTTP/1|http2 header with status|Failed parsing HTTP/2", re.I),
        server_answers.NO_MODEL_SERVER,
    ),
    (re.compile("Stream removed|RST_STREAM|Connection reset|Socket closed"), None),
    (re.compile("ssl|tls|handshake|verif", re.I), server_answers.ENCRYPTION),
    (re.compile("failed to connect|backends failing", re.I), None),
)
_LAST_REASON = re.compile(
    "^.*(?:remote host: |last error: (?:UNKNOWN: )?(?:ipv[46]:[^ ]+: )?)"
)


class GrpcClient:
    """Calls to one server; threads may share it."""

    def __init__(
        self,
        address: Address,
        headers: Mapping[str, str],
        authorities: bytes | None,
    ):
        """Connects at the first call.

        Args:
          address: of the server.
          headers: sent as metadata with every call.
          authorities: certificates to trust in PEM; None for the system's.
        """
        self._is_tls = address.is_tls
        self._metadata = [(name.lower(), text) for name, text in headers.items()]
        self._channel = (
            grpc.secure_channel(
                address.target, grpc.ssl_channel_credentials(authorities), _OPTIONS
            )
            if address.is_tls
            else grpc.insecure_channel(address.target, _OPTIONS)
        )
        self._methods = {
            name: self._channel.unary_unary(
                f"/tensorflow.serving.{service}/{name}",
                request_serializer=lambda request: request.SerializeToString(),
                response_deserializer=wire_messages.message_class(
                    f"{name}Response"
                ).FromString,
            )
            for name, service in _SERVICES.items()
        }

    def predict(
        self, spec: ModelSpec, encoded: Sequence[bytes], timeout_seconds: float
    ) -> Rows:
        """Outputs of `predict_images` for encoded images.

        Raises:
          Refused: there is no answer, or an error; as of the other methods.
        """
        request = _request("Predict", spec)
        request.model_spec.signature_name = signatures.PREDICT_IMAGES
        tensor = request.inputs[signatures.INPUTS[signatures.PREDICT_IMAGES]]
        tensor.dtype = wire_messages.STRING
        tensor.tensor_shape.dim.add(size=len(encoded))
        tensor.string_val.extend(encoded)
        response = self._call("Predict", request, timeout_seconds)
        answered = response.model_spec
        return Rows(
            _table(response, signatures.CLASSES, len(encoded)),
            _table(response, signatures.SCORES, len(encoded)),
            _table(response, signatures.PROBABILITIES, len(encoded)),
            answered.version.value if answered.HasField("version") else None,
        )

    def status(self, spec: ModelSpec, timeout_seconds: float) -> list[VersionStatus]:
        """State of each version."""
        request = _request("GetModelStatus", spec)
        response = self._call("GetModelStatus", request, timeout_seconds)
        return server_answers.statuses(wire_messages.document(response))

    def metadata(self, spec: ModelSpec, timeout_seconds: float) -> dict[str, Any]:
        """The document of the REST interface: `model_spec` and `metadata`."""
        request = _request("GetModelMetadata", spec)
        request.metadata_field.append(_METADATA_FIELD)
        response = self._call("GetModelMetadata", request, timeout_seconds)
        signature_map = wire_messages.message_class("SignatureDefMap").FromString(
            response.metadata[_METADATA_FIELD].value
        )
        return {
            "model_spec": wire_messages.document(response.model_spec),
            "metadata": {_METADATA_FIELD: wire_messages.document(signature_map)},
        }

    def models(self, timeout_seconds: float) -> list[str] | None:
        """None: the interface has no such call."""
        return None

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def _call(self, method: str, request: Any, timeout_seconds: float) -> Any:
        try:
            return self._methods[method](
                request, timeout=timeout_seconds, metadata=self._metadata
            )
        except grpc.RpcError as error:
            raise self._refused(error.code().name, error.details() or "") from error

    def _refused(self, code: str, text: str) -> Refused:
        if code == "UNIMPLEMENTED":
            return Refused(server_answers.NO_MODEL_SERVER, text)
        if code == "RESOURCE_EXHAUSTED" and "larger than max" in text:
            return Refused(server_answers.TOO_LARGE, text)
        if code in (server_answers.UNAVAILABLE, "UNKNOWN", "INTERNAL"):
            reason = _LAST_REASON.sub("", text)
            for pattern, meaning in _CONNECTION_ERRORS:
                if meaning == server_answers.ENCRYPTION and not self._is_tls:
                    continue
                if pattern.search(text):
                    return Refused(meaning or server_answers.NO_CONNECTION, reason)
        return Refused(code, text)


def _request(method: str, spec: ModelSpec) -> Any:
    request = wire_messages.message_class(f"{method}Request")()
    request.model_spec.name = spec.name
    if spec.version is not None:
        request.model_spec.version.value = spec.version
    elif spec.label:
        request.model_spec.version_label = spec.label
    return request


def _table(response: Any, name: str, rows: int) -> list[list[Any]]:
    """An output as rows of text or floats.

    Raises:
      Refused: it is missing, or has another number of rows.
    """
    tensor = response.outputs[name]
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    values: list[Any] = [one.decode("utf-8", "replace") for one in tensor.string_val]
    if tensor.dtype == wire_messages.FLOAT:
        content = np.frombuffer(tensor.tensor_content, "<f4")
        values = content.tolist() or list(tensor.float_val)
    if len(shape) == 2 and shape[0] == rows and values:
        # A tensor may leave out repetitions of its last value.
        values += values[-1:] * (rows * shape[1] - len(values))
        if len(values) == rows * shape[1]:
            table: list[list[Any]] = np.array(values, object).reshape(shape).tolist()
            return table
    raise Refused(
        server_answers.NO_MODEL_SERVER,
        f"output '{name}' of shape {shape} with {len(values)} values for {rows} images",
    )
