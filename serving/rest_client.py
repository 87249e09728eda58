"""The REST interface of TensorFlow Serving, from outside."""

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
        path = f"{_path(spec)}:predict"
        document, headers = self._ask(path, timeout_seconds, json.dumps(body).encode())
        with _understood():
            found = document["predictions"]
            if len(found) != len(encoded):
                raise ValueError(f"{len(found)} answers to {len(encoded)} images")
            version = headers.get(VERSION_HEADER, "")
            return Rows(
                [list(map(str, row[signatures.CLASSES])) for row in found],
                [_floats(row[signatures.SCORES]) for row in found],
                [_floats(row[signatures.PROBABILITIES]) for row in found],
                int(version) if version.isascii() and version.isdigit() else None,
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
        """Names of the served models; None where the server does not tell."""
        try:
            document, _ = self._ask(LIST_PATH, timeout_seconds)
        except Refused as refused:
            if refused.http_status == 404:
                return None
            raise
        with _understood():
            return sorted(str(entry["name"]) for entry in document["models"])

    def close(self) -> None:
        """Gives the connections back."""
        self._pool.clear()

    def _ask(
        self, path: str, timeout_seconds: float, body: bytes | None = None
    ) -> tuple[Any, Mapping[str, str]]:
        """JSON, None where there is none, and headers; POST where there is a body."""
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
            document = json.loads(content)
        except (ValueError, RecursionError):
            document = None
        if response.status != 200:
            raise _refusal(response, document)
        return document, response.headers


@contextlib.contextmanager
def _understood() -> Iterator[None]:
    """An answer of another form than TensorFlow Serving's is an error of its sender."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        found = f"{type(error).__name__} {error} in its answer"
        raise Refused(refusals.NO_MODEL_SERVER, found) from error


def _refusal(response: urllib3.BaseHTTPResponse, document: Any) -> Refused:
    """What another status than 200 means."""
    status = response.status
    if location := response.get_redirect_location():
        return Refused(refusals.MOVED, location)
    error = document.get("error") if isinstance(document, dict) else None
    code = refusals.HTTP_CODES.get(status, "UNKNOWN")
    if error is None and status in (404, 405):
        code = refusals.NO_MODEL_SERVER
    text = str(error or f"status {status} {response.reason}").strip()
    # The form of Retry-After with a date is not waited for.
    asked = response.headers.get("Retry-After", "")
    seconds = float(asked) if asked.isascii() and asked.isdigit() else 0.0
    return Refused(code, text, seconds, status)


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
