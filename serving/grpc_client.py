"""The gRPC interface of TensorFlow Serving, from outside; without TensorFlow."""

import contextlib
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grpc
import numpy as np
from google.protobuf import json_format

from schema import signatures
from schema.errors import ConfigError
from serving import refusals, server_address, wire_messages
from serving.model_spec import ModelSpec
from serving.refusals import Refused
from serving.server_address import Address
from serving.server_answers import STATES, Rows, VersionStatus

_SERVICES = {
    "Predict": "PredictionService",
    "GetModelMetadata": "PredictionService",
    "GetModelStatus": "ModelService",
}
_METADATA_FIELD = "signature_def"
_OPTIONS = [
    # The limit is 4 MiB else; 64 images of 20,000 classes are 40 MB.
    ("grpc.max_receive_message_length", 256 << 20),
    # A headless service of Kubernetes has an address a pod: all of them are asked in turn.
    ("grpc.lb_policy_name", "round_robin"),
    # After a failure gRPC fails at once for a second, then for longer, while our own retries
    # are through in less.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}
# What releases of gRPC say; there is nothing but text to tell these apart.
_UNKNOWN_HOST = re.compile("DNS resolution failed|errors? resolving|name not found")
_UNREACHABLE = re.compile("failed to connect|backends failing", re.IGNORECASE)
_LAST_REASON = re.compile(
    "^.*(?:remote host: |last error: (?:UNKNOWN: )?(?:ipv[46]:[^ ]+: )?)"
)
_HTTP1 = re.compile(
    "http1|HTTP/1|http2 header with status|Failed parsing HTTP/2", re.IGNORECASE
)
_ENCRYPTION = re.compile("ssl|tls|handshake|verif", re.IGNORECASE)
_CUT_OFF = re.compile("Stream removed|RST_STREAM|Connection reset|Socket closed")
_DATA_TYPES = {wire_messages.FLOAT: "DT_FLOAT", wire_messages.STRING: "DT_STRING"}


class GrpcClient:
    """Calls to one server; threads may share it."""

    def __init__(
        self,
        address: Address,
        *,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        ca_file: str = "",
    ):
        """Connects at the first call.

        Args:
          address: of the server.
          token: bearer token, or ''.
          headers: sent as metadata with every call.
          ca_file: PEM file of the authorities to trust in place of the usual ones, or ''.

        Raises:
          ConfigError: the file cannot be read.
        """
        self._address = address
        self._metadata = [
            (name.lower(), text) for name, text in (headers or {}).items()
        ]
        if token:
            self._metadata.append(("authorization", f"Bearer {token}"))
        if address.is_tls:
            credentials = grpc.ssl_channel_credentials(_authorities(ca_file))
            self._channel = grpc.secure_channel(
                address.target, credentials, options=_OPTIONS
            )
        else:
            self._channel = grpc.insecure_channel(address.target, options=_OPTIONS)
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
          Refused: there is no answer, or an error.
          ConfigError: the address or the encryption is wrong.
        """
        request = _request("Predict", spec)
        request.model_spec.signature_name = signatures.PREDICT_IMAGES
        tensor = request.inputs[signatures.INPUTS[signatures.PREDICT_IMAGES]]
        tensor.dtype = wire_messages.STRING
        tensor.tensor_shape.dim.add(size=len(encoded))
        tensor.string_val.extend(encoded)
        response = self._call("Predict", request, timeout_seconds)
        with self._understood():
            version = response.model_spec.version.value
            return Rows(
                _table(response, signatures.CLASSES, len(encoded)),
                _table(response, signatures.SCORES, len(encoded)),
                _table(response, signatures.PROBABILITIES, len(encoded)),
                version if response.model_spec.HasField("version") else None,
            )

    def status(self, spec: ModelSpec, timeout_seconds: float) -> list[VersionStatus]:
        """State of each version, newest first."""
        response = self._call(
            "GetModelStatus", _request("GetModelStatus", spec), timeout_seconds
        )
        found = [
            VersionStatus(
                version=entry.version,
                state=STATES.get(entry.state, "UNKNOWN"),
                error_code=_CODES.get(entry.status.error_code, "UNKNOWN"),
                error_message=entry.status.error_message,
            )
            for entry in response.model_version_status
        ]
        return sorted(found, key=lambda status: -status.version)

    def metadata(self, spec: ModelSpec, timeout_seconds: float) -> dict[str, Any]:
        """The document that the REST interface has: `model_spec` and `metadata`."""
        request = _request("GetModelMetadata", spec)
        request.metadata_field.append(_METADATA_FIELD)
        response = self._call("GetModelMetadata", request, timeout_seconds)
        found = wire_messages.message_class("SignatureDefMap").FromString(
            response.metadata[_METADATA_FIELD].value
        )
        document = _document(found)
        for signature in document.get("signature_def", {}).values():
            for tensor in (
                *signature["inputs"].values(),
                *signature["outputs"].values(),
            ):
                number = tensor["dtype"]
                tensor["dtype"] = _DATA_TYPES.get(number, f"DataType {number}")
        answered = response.model_spec
        return {
            "model_spec": {
                "name": answered.name,
                "signature_name": answered.signature_name,
                "version": str(answered.version.value),
            },
            "metadata": {_METADATA_FIELD: document},
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

    def _refused(self, code: str, text: str) -> Exception:
        if code == refusals.UNAVAILABLE:
            return self._no_connection(text)
        if code == "UNIMPLEMENTED":
            return server_address.not_a_model_server(self._address, text)
        if code == "RESOURCE_EXHAUSTED" and "larger than max" in text:
            return Refused(refusals.TOO_LARGE, text)
        if code in ("UNKNOWN", "INTERNAL") and _CUT_OFF.search(text):
            return Refused(refusals.NO_CONNECTION, text)
        return Refused(code, text)

    def _no_connection(self, text: str) -> Exception:
        """gRPC has one code for all that keeps a call from its server; the text tells."""
        if _UNKNOWN_HOST.search(text):
            return server_address.unknown_host(self._address)
        if _HTTP1.search(text):
            return server_address.not_a_model_server(self._address, "no gRPC")
        if _CUT_OFF.search(text):
            return Refused(refusals.NO_CONNECTION, text)
        if not _UNREACHABLE.search(text):
            return Refused(refusals.UNAVAILABLE, text)
        reason = _LAST_REASON.sub("", text)
        if self._address.is_tls and _ENCRYPTION.search(reason):
            return server_address.encryption_error(self._address, reason)
        return Refused(refusals.NO_CONNECTION, reason)

    @contextlib.contextmanager
    def _understood(self) -> Iterator[None]:
        """An answer of another form than a classifier's is an error of its sender."""
        try:
            yield
        except (KeyError, ValueError) as error:
            raise server_address.not_a_model_server(
                self._address, f"{error} in its answer"
            ) from error


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
      ValueError: it is not there, or has not a row an image.
    """
    if name not in response.outputs:
        raise ValueError(f"no output '{name}'")
    tensor = response.outputs[name]
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if len(shape) != 2 or shape[0] != rows:
        raise ValueError(f"output '{name}' of shape {shape} for {rows} images")
    values: list[Any]
    if tensor.dtype == wire_messages.STRING:
        values = [value.decode("utf-8", "replace") for value in tensor.string_val]
    elif tensor.dtype == wire_messages.FLOAT:
        content = np.frombuffer(tensor.tensor_content, "<f4")
        values = content.tolist() or list(tensor.float_val)
    else:
        raise ValueError(f"output '{name}' of data type {tensor.dtype}")
    # A tensor may leave out what repeats its last value.
    values += values[-1:] * (shape[0] * shape[1] - len(values))
    if len(values) != shape[0] * shape[1]:
        raise ValueError(f"output '{name}' with {len(values)} values of {shape}")
    return [
        values[start : start + shape[1]] for start in range(0, len(values), shape[1])
    ]


def _document(message: Any) -> dict[str, Any]:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, including_default_value_fields=True
    )


def _authorities(ca_file: str) -> bytes | None:
    if not ca_file:
        return None
    try:
        return pathlib.Path(ca_file).expanduser().read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read {ca_file}: {error.strerror or error}",
            expected="certificates of authorities in PEM form",
        ) from error
