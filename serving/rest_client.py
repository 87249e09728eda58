"""The REST interface of TensorFlow Serving, from outside."""

import base64
import http.client
import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import urllib3
from urllib3 import exceptions

from schema import signatures
from serving import refusals, server_answers
from serving.model_spec import ModelSpec
from serving.refusals import Refused
from serving.server_address import Address
from serving.server_answers import Rows, VersionStatus

# Of the local server only: which version answered, and which models there are.
VERSION_HEADER = "Slimline-Model-Version"
LIST_PATH = "/api/models"
_MODELS_PATH = "/v1/models"
_LATE = "the time is over"
_CHUNK_BYTES = 1 << 16
# 64 images of 20,000 classes are 90 MB of JSON.
_MAX_ANSWER_BYTES = 256 << 20

_Read = TypeVar("_Read")


class RestClient:
    """Requests to one server; threads may share it."""

    def __init__(
        self,
        address: Address,
        headers: Mapping[str, str],
        authorities: bytes | None,
        connections: int,
    ):
        """Connects at the first request.

        Args:
          address: of the server.
          headers: sent with every request.
          authorities: to trust in place of the usual ones, in PEM; None for those.
          connections: kept open at most; further threads wait.
        """
        scheme = "https" if address.is_tls else "http"
        self._base = f"{scheme}://{address.target}{address.path}"
        self._headers = headers
        options: dict[str, Any] = {"maxsize": connections, "block": True}
        if address.is_tls:
            options |= {
                "cert_reqs": "CERT_REQUIRED",
                "ca_cert_data": authorities and authorities.decode("ascii", "replace"),
            }
        proxy = urllib.request.getproxies().get(scheme)
        self._pool = (
            urllib3.ProxyManager(proxy, **options)
            if proxy and not urllib.request.proxy_bypass(address.host)
            else urllib3.PoolManager(**options)
        )

    def predict(
        self, spec: ModelSpec, encoded: Sequence[bytes], timeout_seconds: float
    ) -> Rows:
        """Outputs of `predict_images` for encoded images.

        Raises:
          Refused: there is no answer, or an error.
        """
        body = {
            "signature_name": signatures.PREDICT_IMAGES,
            "instances": [
                {"b64": base64.b64encode(image).decode("ascii")} for image in encoded
            ],
        }

        response, document = self._request(
            f"{_path(spec)}:predict", timeout_seconds, json.dumps(body).encode()
        )

        def rows() -> Rows:
            found = document["predictions"]
            if len(found) != len(encoded):
                raise ValueError(f"{len(found)} answers to {len(encoded)} images")
            version = response.headers.get(VERSION_HEADER, "")
            return Rows(
                [list(map(str, row[signatures.CLASSES])) for row in found],
                [_floats(row[signatures.SCORES]) for row in found],
                [_floats(row[signatures.PROBABILITIES]) for row in found],
                int(version) if version.isascii() and version.isdigit() else None,
            )

        return _understood(response, document, rows)

    def status(self, spec: ModelSpec, timeout_seconds: float) -> list[VersionStatus]:
        """State of each version."""

        response, document = self._request(_path(spec), timeout_seconds)
        return _understood(
            response, document, lambda: server_answers.statuses(document)
        )

    def metadata(self, spec: ModelSpec, timeout_seconds: float) -> dict[str, Any]:
        """The document of TensorFlow Serving: `model_spec` and `metadata`."""
        response, document = self._request(f"{_path(spec)}/metadata", timeout_seconds)
        return _understood(
            response,
            document,
            lambda: {name: document[name] for name in ("model_spec", "metadata")},
        )

    def models(self, timeout_seconds: float) -> list[str] | None:
        """Names of the served models; None where the server does not tell."""
        response, document = self._request(LIST_PATH, timeout_seconds)
        if response.status == 404:
            return None
        return _understood(
            response,
            document,
            lambda: sorted(str(entry["name"]) for entry in document["models"]),
        )

    def close(self) -> None:
        """Gives the connections back."""
        self._pool.clear()

    def _request(
        self, path: str, timeout_seconds: float, body: bytes | None = None
    ) -> tuple[urllib3.BaseHTTPResponse, Any]:
        """The response and its JSON, None where it has none; POST where there is a body."""
        ends = time.monotonic() + timeout_seconds
        try:
            response = self._pool.request(
                "GET" if body is None else "POST",
                self._base + path,
                body=body,
                headers={"Content-Type": "application/json", **self._headers},
                timeout=urllib3.Timeout(total=timeout_seconds),
                # Our own are for all kinds of failures, and a POST would become a GET.
                retries=False,
                redirect=False,
                preload_content=False,
            )
            with response:
                content = _read(response, ends)
        except (exceptions.HTTPError, OSError) as error:
            raise _refused(error) from error
        try:
            return response, json.loads(content)
        except (ValueError, RecursionError):
            return response, None


def _understood(
    response: urllib3.BaseHTTPResponse, document: Any, read: Callable[[], _Read]
) -> _Read:
    """What `read` makes of an answer.

    Raises:
      Refused: it is an error, or of another form than TensorFlow Serving's.
    """
    status = response.status
    if location := response.get_redirect_location():
        raise Refused(refusals.MOVED, location)
    if status != 200:
        error = document.get("error") if isinstance(document, dict) else None
        code = refusals.HTTP_CODES.get(status, "UNKNOWN")
        if error is None and status in (404, 405):
            code = refusals.NO_MODEL_SERVER
        text = str(error or f"status {status} {response.reason}").strip()
        raise Refused(code, text, _retry_after(response.headers))
    try:
        return read()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        found = f"{type(error).__name__} {error} in its answer"
        raise Refused(refusals.NO_MODEL_SERVER, found) from error


def _refused(error: Exception) -> Refused:
    """What keeps a request from its server."""
    cause = error.__cause__ or error.__context__ or error
    reason = getattr(cause, "strerror", None) or str(cause)
    code = refusals.NO_CONNECTION
    if isinstance(error, exceptions.NameResolutionError):
        code = refusals.UNKNOWN_HOST
    elif isinstance(error, exceptions.SSLError):
        code, reason = refusals.ENCRYPTION, str(error)
    elif isinstance(error, exceptions.NewConnectionError):
        pass
    elif isinstance(error, exceptions.TimeoutError):
        code, reason = refusals.DEADLINE_EXCEEDED, _LATE
    elif any(type(one) is http.client.BadStatusLine for one in error.args):
        code, reason = refusals.NO_MODEL_SERVER, "no HTTP/1"
    return Refused(code, reason)


def _read(response: urllib3.BaseHTTPResponse, ends: float) -> bytes:
    """The body; the timeout of urllib3 is for each read, this one for all of them."""
    content = bytearray()
    # What has come so far; `stream` waits until a chunk is full.
    while chunk := response.read1(_CHUNK_BYTES, decode_content=True):
        content += chunk
        if time.monotonic() > ends:
            raise Refused(refusals.DEADLINE_EXCEEDED, _LATE)
        if len(content) > _MAX_ANSWER_BYTES:
            raise Refused(
                "INTERNAL", f"an answer of more than {_MAX_ANSWER_BYTES:,} bytes"
            )
    return bytes(content)


def _floats(values: Sequence[Any]) -> list[float]:
    """The float32 values that the decimal ones of an answer were written from."""
    return np.asarray(values, np.float32).tolist()


def _path(spec: ModelSpec) -> str:
    """Path of a model, or of the version or label that is asked for."""
    path = f"{_MODELS_PATH}/{urllib.parse.quote(spec.name, safe='')}"
    if spec.version is not None:
        return f"{path}/versions/{spec.version}"
    if spec.label:
        return f"{path}/labels/{urllib.parse.quote(spec.label, safe='')}"
    return path


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds of the header Retry-After; the form with a date is not waited for."""
    text = headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0
