"""What model servers answer, by REST or gRPC: outputs, states of versions, refusals."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from common.errors import ConfigError, ServerError, SlimlineError
from serving.model_spec import ModelSpec
from serving.server_address import Address

AVAILABLE = "AVAILABLE"
# Only the local server has these: the version that answered, and the list of models.
VERSION_HEADER = "Slimline-Model-Version"
LIST_PATH = "/api/models"

# Codes of refusals are the names of gRPC's status codes, and these:
UNAVAILABLE = "UNAVAILABLE"
DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
_BUSY = "RESOURCE_EXHAUSTED"
_INVALID = "INVALID_ARGUMENT"
TOO_LARGE = "TOO_LARGE"
NO_CONNECTION = "NO_CONNECTION"
UNKNOWN_HOST = "UNKNOWN_HOST"
ENCRYPTION = "ENCRYPTION"
NO_MODEL_SERVER = "NO_MODEL_SERVER"
MOVED = "MOVED"
# No model server will ever answer at the address.
OF_THE_ADDRESS = (UNKNOWN_HOST, ENCRYPTION, NO_MODEL_SERVER, MOVED)
# A repeated request may succeed, and does no harm: a prediction changes nothing.
RETRIED = (NO_CONNECTION, UNAVAILABLE, _BUSY)
# HTTP status -> code, those of TensorFlow Serving and of proxies.
HTTP_CODES = {
    400: _INVALID,
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: DEADLINE_EXCEEDED,
    409: "ABORTED",
    413: TOO_LARGE,
    415: _INVALID,
    429: _BUSY,
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: DEADLINE_EXCEEDED,
}
_UNKNOWN_LABEL = re.compile("version label", re.IGNORECASE)
_UNKNOWN_SIGNATURE = re.compile("signature", re.IGNORECASE)
_BATCH_TOO_LARGE = re.compile("larger than maximum input batch size")
_NOT_ALLOWED = "{server} denies this client access to {model}"
_NOT_TAKEN = "{server} rejects the request for {model}"
_TOKEN_TIP = "pass a token of the server; the command reads SLIMLINE_SERVER_TOKEN"
# Code -> message and tip, if the request or its address is wrong ...
_CONFIG_ERRORS = {
    "NOT_FOUND": ("{server} does not serve {model}", ""),
    "UNAUTHENTICATED": (_NOT_ALLOWED, _TOKEN_TIP),
    "PERMISSION_DENIED": (_NOT_ALLOWED, _TOKEN_TIP),
    _INVALID: (_NOT_TAKEN, ""),
    "FAILED_PRECONDITION": (_NOT_TAKEN, ""),
    TOO_LARGE: (
        "the request is too large for {server}",
        "send smaller batches or images",
    ),
    UNKNOWN_HOST: ("there is no host '{host}'", ""),
    ENCRYPTION: (
        "cannot encrypt the connection to {server}",
        "--ca-file names the authority of a private certificate; http:// and grpc:// do"
        " not encrypt",
    ),
    NO_MODEL_SERVER: (
        "{server} is not a model server",
        "gRPC is at port 8500, REST at port 8501, by default",
    ),
    MOVED: ("{server} redirects its clients", "use that address"),
}
# ... and if the server, or the network, failed.
_SERVER_ERRORS = {
    DEADLINE_EXCEEDED: (
        "no answer from {server} within {seconds:g} s",
        "allow more time, or send smaller batches",
    ),
    _BUSY: ("{server} is busy", "retry later, or send smaller batches"),
    NO_CONNECTION: (
        "no model server answers at {server}",
        "slimline serve starts one on this machine",
    ),
    UNAVAILABLE: ("{server} cannot answer for {model} now", ""),
}


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """State of one version of a model.

    Attributes:
      version: its number.
      state: 'START', 'LOADING', 'AVAILABLE', 'UNLOADING' or 'END'.
      error_code: name of gRPC's status code; 'OK' without an error.
      error_message: why the version is not served, or ''.
    """

    version: int
    state: str
    error_code: str = "OK"
    error_message: str = ""


@dataclasses.dataclass(frozen=True)
class Rows:
    """Outputs of the signature `predict_images` for a batch, each a row per image."""

    classes: Sequence[Sequence[str]]  # names, best first
    scores: Sequence[Sequence[float]]  # their probabilities
    probabilities: Sequence[Sequence[float]]  # the same in label order
    version: int | None = None  # that answered; None if the server does not say

    def labels(self) -> tuple[str, ...]:
        """Class names in label order, which no server sends as such.

        They follow from the probabilities in label order and the names by descending
        probability of an image without equal probabilities; () if there is none.
        """
        for names, probabilities in zip(self.classes, self.probabilities, strict=True):
            if len(set(probabilities)) == len(names) == len(probabilities):
                ranked = sorted(probabilities, reverse=True)
                by_probability = dict(zip(ranked, names, strict=True))
                return tuple(by_probability[one] for one in probabilities)
        return ()


def statuses(document: Any) -> list[VersionStatus]:
    """States from the JSON of a GetModelStatusResponse.

    Raises:
      KeyError, TypeError, ValueError, AttributeError: the JSON has another form.
    """
    return [
        VersionStatus(
            version=int(entry["version"]),
            state=str(entry["state"]),
            error_code=str(entry.get("status", {}).get("error_code", "OK")),
            error_message=str(entry.get("status", {}).get("error_message", "")),
        )
        for entry in document["model_version_status"]
    ]


class Refused(Exception):
    """A request that got no answer, or an error.

    Attributes:
      code: name of gRPC's status code, or one of those above.
      text: message of the server or the system, at most 300 characters.
      retry_after_seconds: wait that the server asks for, or 0.
      http_status: of the answer, or 0.
    """

    def __init__(
        self,
        code: str,
        text: str,
        retry_after_seconds: float = 0.0,
        http_status: int = 0,
    ):
        super().__init__(code, text)
        self.code = code
        self.text = text[:300]
        self.retry_after_seconds = retry_after_seconds
        self.http_status = http_status

    @property
    def may_be_an_image(self) -> bool:
        """Whether the server may have refused the bytes of an image."""
        known = (_UNKNOWN_LABEL, _UNKNOWN_SIGNATURE, _BATCH_TOO_LARGE)
        return self.code == _INVALID and not any(
            pattern.search(self.text) for pattern in known
        )

    def as_user_error(
        self, address: Address, spec: ModelSpec | None, deadline_seconds: float
    ) -> SlimlineError:
        """The ConfigError or ServerError with the meaning and the next step.

        `spec` is None for a request about all models.
        """
        code = self.code
        if code == _INVALID and _UNKNOWN_LABEL.search(self.text):
            code = "NOT_FOUND"
        kind = ConfigError if code in _CONFIG_ERRORS else ServerError
        message, tip = {**_CONFIG_ERRORS, **_SERVER_ERRORS}.get(code, ("", ""))
        if not message:
            return ServerError(f"{address.text} failed: {self.text}", found=code)
        if _BATCH_TOO_LARGE.search(self.text):
            tip = "a batch_size of at most max_batch_size in the server's batching.conf"
        elif message == _NOT_TAKEN and _UNKNOWN_SIGNATURE.search(self.text):
            tip = "slimline run pushes models with the signature predict_images"
        is_other = code == NO_MODEL_SERVER
        return kind(
            message.format(
                server=address.text,
                host=address.host,
                model="its models" if spec is None else spec,
                seconds=deadline_seconds,
            ),
            found=self.text,
            expected="TensorFlow Serving, or slimline serve" if is_other else "",
            tip=tip,
        )
