"""A client of TensorFlow Serving's REST interface."""

import base64
import contextlib
import http.client
import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import urllib3
from urllib3 import exceptions

from pushed_models import signatures
from serving import server_answers
from serving.model_spec import ModelSpec
from serving.server_address import Address
from serving.server_answers import Refused, Rows, VersionStatus

_MODELS_PATH = "/v1/models"
_LATE = "the time is over"
_CHUNK_BYTES = 1 << 16
# 64 images of 20,000 classes are 90 MB of JSON.
_MAX_ANSWER_BYTES = 256 << 20


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
          headers: of every request.
          authorities: certificates to trust in PEM; None for the system's.
          connections: open ones, at most; further threads wait.
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
          Refused: there is no answer, or an error; as of the other methods.
        """
        body = {
            "signature_name": signatures.PREDICT_IMAGES,
            "instances": [
                {"b64": base64.b64encode(image).decode("ascii")} for image in encoded
            ],
        }
        path = f"{_path(spec)}:predict"
        document, headers = self._ask(path, timeout_seconds, json.dumps(body).encode())
        with _understood():
            rows = document["predictions"]
            if len(rows) != len(encoded):
                raise ValueError(f"{len(rows)} answers to {len(encoded)} images")
            return Rows(
                [list(map(str, row[signatures.CLASSES])) for row in rows],
                [_floats(row[signatures.SCORES]) for row in rows],
                [_floats(row[signatures.PROBABILITIES]) for row in rows],
                _number(headers.get(server_answers.VERSION_HEADER, "")),
            )

    def status(self, spec: ModelSpec, timeout_seconds: float) -> list[VersionStatus]:
        """State of each version."""
        document, _ = self._ask(_path(spec), timeout_seconds)
        with _understood():
            return server_answers.statuses(document)

    def metadata(self, spec: ModelSpec, timeout_seconds: float) -> dict[str, Any]:
        """The document of TensorFlow Serving: `model_spec` and `metadata`."""
        document, _ = self._ask(f"{_path(spec)}/metadata", timeout_seconds)
        with _understood():
            return {name: document[name] for name in ("model_spec", "metadata")}

    def models(self, timeout_seconds: float) -> list[str] | None:
        """Names of the served models; None if the server has no list."""
        try:
            document, _ = self._ask(server_answers.LIST_PATH, timeout_seconds)
        except Refused as refused:
            if refused.http_status == 404:
                return None
            raise
        with _understood():
            return sorted(str(entry["name"]) for entry in document["models"])

    def close(self) -> None:
        """Closes the connections."""
        self._pool.clear()

    def _ask(
        self, path: str, timeout_seconds: float, body: bytes | None = None
    ) -> tuple[Any, Mapping[str, str]]:
        """JSON of the answer, or None, and its headers; a body makes it a POST."""
        ends = time.monotonic() + timeout_seconds
        try:
            response = self._pool.request(
                "GET" if body is None else "POST",
                self._base + path,
                body=body,
                headers={"Content-Type": "application/json", **self._headers},
                timeout=urllib3.Timeout(total=timeout_seconds),
                # The client retries all kinds of failures; a redirected POST becomes a GET.
                retries=False,
                redirect=False,
                preload_content=False,
            )
            with response:
                content = _read(response, ends)
        except (exceptions.HTTPError, OSError) as error:
            raise _refused(error) from error
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            document = None
        if response.status != 200:
            raise _refusal(response, document)
        return document, response.headers


@contextlib.contextmanager
def _understood() -> Iterator[None]:
    """Turns an answer of another form than TensorFlow Serving's into a Refused."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        text = f"{type(error).__name__} {error} in its answer"
        raise Refused(server_answers.NO_MODEL_SERVER, text) from error


def _refusal(response: urllib3.BaseHTTPResponse, document: Any) -> Refused:
    """The meaning of a status other than 200."""
    status = response.status
    if location := response.get_redirect_location():
        return Refused(server_answers.MOVED, location)
    error = document.get("error") if isinstance(document, dict) else None
    code = server_answers.HTTP_CODES.get(status, "UNKNOWN")
    if error is None and status in (404, 405):
        code = server_answers.NO_MODEL_SERVER
    text = str(error or f"status {status} {response.reason}").strip()
    # A Retry-After with a date is ignored.
    seconds = _number(response.headers.get("Retry-After", "")) or 0
    return Refused(code, text, seconds, status)


def _refused(error: Exception) -> Refused:
    """The meaning of an error of the connection."""
    cause = error.__cause__ or error.__context__ or error
    reason = getattr(cause, "strerror", None) or str(cause)
    code = server_answers.NO_CONNECTION
    if isinstance(error, exceptions.NameResolutionError):
        code = server_answers.UNKNOWN_HOST
    elif isinstance(error, exceptions.SSLError):
        code, reason = server_answers.ENCRYPTION, str(error)
    elif isinstance(error, exceptions.NewConnectionError):
        pass
    elif isinstance(error, exceptions.TimeoutError):
        code, reason = server_answers.DEADLINE_EXCEEDED, _LATE
    elif any(type(one) is http.client.BadStatusLine for one in error.args):
        code, reason = server_answers.NO_MODEL_SERVER, "no HTTP/1"
    return Refused(code, reason)


def _read(response: urllib3.BaseHTTPResponse, ends: float) -> bytes:
    """The body; the timeout of urllib3 is for each read, this deadline for all of them."""
    content = bytearray()
    # `read1` returns what has arrived; `stream` waits until a chunk is full.
    while chunk := response.read1(_CHUNK_BYTES, decode_content=True):
        content += chunk
        if time.monotonic() > ends:
            raise Refused(server_answers.DEADLINE_EXCEEDED, _LATE)
        if len(content) > _MAX_ANSWER_BYTES:
            raise Refused(
                "INTERNAL", f"an answer of more than {_MAX_ANSWER_BYTES:,} bytes"
            )
    return bytes(content)


def _floats(values: Sequence[Any]) -> list[float]:
    """The float32 values that the server wrote as decimal numbers."""
    return np.asarray(values, np.float32).tolist()


def _number(text: str) -> int | None:
    is_number = text.isascii() and text.isdigit() and len(text) < 20
    return int(text) if is_number else None


def _path(spec: ModelSpec) -> str:
    path = f"{_MODELS_PATH}/{urllib.parse.quote(spec.name, safe='')}"
    if spec.version is not None:
        return f"{path}/versions/{spec.version}"
    if spec.label:
        return f"{path}/labels/{urllib.parse.quote(spec.label, safe='')}"
    return path
