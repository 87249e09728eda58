"""The REST interface of TensorFlow Serving, from outside."""

import base64
import contextlib
import http.client
import json
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import requests
import requests.adapters
import requests.auth
import urllib3.exceptions

from schema import signatures
from schema.errors import ConfigError
from serving import refusals, server_address
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


class _Bearer(requests.auth.AuthBase):
    """A token as an object: else a line in ~/.netrc would take its place."""

    def __init__(self, token: str):
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class RestClient:
    """Requests to one server; threads may share it."""

    def __init__(
        self,
        address: Address,
        *,
        connections: int,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        ca_file: str = "",
    ):
        """Connects at the first request.

        Args:
          address: of the server.
          connections: kept open at most; further threads wait.
          token: bearer token, or ''.
          headers: sent with every request.
          ca_file: PEM file of the authorities to trust in place of the usual ones, or ''.
        """
        self._address = address
        scheme = "https" if address.is_tls else "http"
        self._base = f"{scheme}://{address.target}{address.path}"
        self._session = requests.Session()
        adapter = requests.adapters.HTTPAdapter(
            pool_maxsize=connections, pool_block=True
        )
        self._session.mount(f"{scheme}://", adapter)
        self._session.headers.update(headers or {})
        if token:
            self._session.auth = _Bearer(token)
        # Given with each request: the variable REQUESTS_CA_BUNDLE goes before the session's.
        self._trusted: str | bool = ca_file or True

    def predict(
        self, spec: ModelSpec, encoded: Sequence[bytes], timeout_seconds: float
    ) -> Rows:
        """Outputs of `predict_images` for encoded images.

        Raises:
          Refused: there is no answer, or an error.
          ConfigError: the address or the encryption is wrong.
        """
        body = {
            "signature_name": signatures.PREDICT_IMAGES,
            "instances": [
                {"b64": base64.b64encode(image).decode("ascii")} for image in encoded
            ],
        }
        answer, headers = self._ask(
            f"{_path(spec)}:predict", timeout_seconds, json.dumps(body).encode()
        )
        with self._understood():
            rows = answer["predictions"]
            if len(rows) != len(encoded):
                raise ValueError(f"{len(rows)} answers to {len(encoded)} images")
            version = headers.get(VERSION_HEADER, "")
            return Rows(
                [list(map(str, row[signatures.CLASSES])) for row in rows],
                [_floats(row[signatures.SCORES]) for row in rows],
                [_floats(row[signatures.PROBABILITIES]) for row in rows],
                int(version) if version.isascii() and version.isdigit() else None,
            )

    def status(self, spec: ModelSpec, timeout_seconds: float) -> list[VersionStatus]:
        """State of each version, newest first."""
        answer, _ = self._ask(_path(spec), timeout_seconds)
        with self._understood():
            found = [
                VersionStatus(
                    version=int(entry["version"]),
                    state=str(entry["state"]),
                    error_code=str(entry.get("status", {}).get("error_code", "OK")),
                    error_message=str(entry.get("status", {}).get("error_message", "")),
                )
                for entry in answer["model_version_status"]
            ]
        return sorted(found, key=lambda status: -status.version)

    def metadata(self, spec: ModelSpec, timeout_seconds: float) -> dict[str, Any]:
        """The document of TensorFlow Serving: `model_spec` and `metadata`."""
        answer, _ = self._ask(f"{_path(spec)}/metadata", timeout_seconds)
        with self._understood():
            return {name: answer[name] for name in ("model_spec", "metadata")}

    def models(self, timeout_seconds: float) -> list[str] | None:
        """Names of the served models; None where the server does not tell."""
        answer, _ = self._ask(LIST_PATH, timeout_seconds, may_be_missing=True)
        if answer is None:
            return None
        with self._understood():
            return sorted(str(entry["name"]) for entry in answer["models"])

    def close(self) -> None:
        """Gives the connections back."""
        self._session.close()

    def _ask(
        self,
        path: str,
        timeout_seconds: float,
        body: bytes | None = None,
        *,
        may_be_missing: bool = False,
    ) -> tuple[Any, Mapping[str, str]]:
        """JSON and headers of the answer; POST where there is a body.

        The JSON is None where the server does not know the path and `may_be_missing`.
        """
        ends = time.monotonic() + timeout_seconds
        with (
            self._transport_errors(),
            self._session.request(
                "GET" if body is None else "POST",
                self._base + path,
                data=body,
                headers={} if body is None else {"Content-Type": "application/json"},
                timeout=timeout_seconds,
                verify=self._trusted,
                # Followed, a POST would become a GET.
                allow_redirects=False,
                stream=True,
            ) as response,
        ):
            content = _read(response, ends)
        if may_be_missing and response.status_code == 404:
            return None, response.headers
        return self._document(response, content), response.headers

    def _document(self, response: requests.Response, content: bytes) -> Any:
        status = response.status_code
        if response.is_redirect:
            raise ConfigError(
                f"{self._address.text} sends its clients elsewhere",
                found=response.headers["Location"],
                tip="give that address",
            )
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            document = None
        if status == 200:
            if document is None:
                raise self._not_a_model_server("an answer that is not JSON")
            return document
        error = document.get("error") if isinstance(document, dict) else None
        if error is None and status in (404, 405):
            raise self._not_a_model_server(f"status {status} without an error in JSON")
        raise Refused(
            refusals.HTTP_CODES.get(status, "UNKNOWN"),
            str(error or f"status {status} {response.reason}").strip(),
            _retry_after(response.headers.get("Retry-After", "")),
        )

    @contextlib.contextmanager
    def _understood(self) -> Iterator[None]:
        """An answer of another form than TensorFlow Serving's is an error of its sender."""
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            found = f"{type(error).__name__} {error} in its answer"
            raise self._not_a_model_server(found) from error

    @contextlib.contextmanager
    def _transport_errors(self) -> Iterator[None]:
        try:
            yield
        except requests.exceptions.Timeout as error:
            raise Refused(refusals.DEADLINE_EXCEEDED, _LATE) from error
        except requests.exceptions.SSLError as error:
            raise self._encryption_error(error) from error
        except (
            requests.exceptions.ConnectionError,
            urllib3.exceptions.HTTPError,
        ) as error:
            causes = _causes(error)
            kinds = {type(cause) for cause in causes}
            if urllib3.exceptions.NameResolutionError in kinds:
                raise server_address.unknown_host(self._address) from error
            if http.client.BadStatusLine in kinds:
                raise self._not_a_model_server("no HTTP/1") from error
            if urllib3.exceptions.ReadTimeoutError in kinds:
                raise Refused(refusals.DEADLINE_EXCEEDED, _LATE) from error
            raise Refused(refusals.NO_CONNECTION, _reason(causes)) from error
        except (requests.exceptions.RequestException, UnicodeError) as error:
            raise ConfigError(f"cannot ask {self._address.text}: {error}") from error
        except OSError as error:
            # What `requests` says of a ca_file that is not there.
            raise ConfigError(
                f"cannot open an encrypted connection to {self._address.text}: {error}"
            ) from error

    def _encryption_error(self, error: Exception) -> ConfigError:
        return server_address.encryption_error(
            self._address, _reason(_causes(error)) or str(error)
        )

    def _not_a_model_server(self, found: str) -> ConfigError:
        return server_address.not_a_model_server(self._address, found)


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


def _read(response: requests.Response, ends: float) -> bytes:
    """The body; the timeout of `requests` is for each read, this one for all of them."""
    chunks = []
    size = 0
    # What has come so far; `iter_content` waits until a chunk is full.
    while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
        chunks.append(chunk)
        size += len(chunk)
        if time.monotonic() > ends:
            raise Refused(refusals.DEADLINE_EXCEEDED, _LATE)
        if size > _MAX_ANSWER_BYTES:
            raise Refused(
                "INTERNAL", f"an answer of more than {_MAX_ANSWER_BYTES:,} bytes"
            )
    return b"".join(chunks)


def _retry_after(text: str) -> float:
    """Seconds of the header Retry-After; the form with a date is not waited for."""
    return float(text) if text.isascii() and text.isdigit() else 0.0


def _causes(error: BaseException) -> list[BaseException]:
    """The error and what led to it; urllib3 keeps some of that in arguments."""
    found: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        current = waiting.pop()
        if not isinstance(current, BaseException) or current in found:
            continue
        found.append(current)
        waiting += [
            current.__cause__,
            current.__context__,
            getattr(current, "reason", None),
            *current.args,
        ]
    return found


def _reason(causes: Sequence[BaseException]) -> str:
    """The sentence of the system, where there is one, else of the deepest library."""
    for cause in causes:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    return str(causes[-1])
