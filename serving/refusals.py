"""What a model server answers in place of predictions, and what its user is told."""

import re

from schema.errors import ConfigError, ServerError, SlimlineError
from serving.model_spec import ModelSpec

UNAVAILABLE = "UNAVAILABLE"
DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
_INVALID = "INVALID_ARGUMENT"
# Two that gRPC counts among others.
TOO_LARGE = "TOO_LARGE"
NO_CONNECTION = "NO_CONNECTION"
# Those after which the same request may succeed. Asking twice does no harm: a model that
# predicts changes nothing.
RETRIED = (NO_CONNECTION, UNAVAILABLE, "RESOURCE_EXHAUSTED")
# HTTP status -> code of gRPC. The first lines are TensorFlow Serving's, the others those of
# a proxy before it.
HTTP_CODES = {
    400: _INVALID,
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: UNAVAILABLE,
    504: DEADLINE_EXCEEDED,
    408: DEADLINE_EXCEEDED,
    413: TOO_LARGE,
    415: _INVALID,
    502: UNAVAILABLE,
}
_UNKNOWN_LABEL = re.compile("version label", re.IGNORECASE)
_UNKNOWN_SIGNATURE = re.compile("signature", re.IGNORECASE)
_BATCH_TOO_LARGE = re.compile("larger than maximum input batch size")
_MAX_TEXT = 300


class Refused(Exception):
    """A request that got no answer, or no good one.

    Attributes:
      code: name of gRPC's status code.
      text: what the server or the system said.
      retry_after_seconds: what the server asked for, or 0.
    """

    def __init__(self, code: str, text: str, retry_after_seconds: float = 0.0):
        super().__init__(code, text)
        self.code = code
        self.text = text[:_MAX_TEXT]
        self.retry_after_seconds = retry_after_seconds

    @property
    def may_be_retried(self) -> bool:
        """Whether the same request may succeed a moment later."""
        return self.code in RETRIED

    @property
    def may_be_an_image(self) -> bool:
        """Whether the server may have refused the bytes of an image."""
        known = (_UNKNOWN_LABEL, _UNKNOWN_SIGNATURE, _BATCH_TOO_LARGE)
        return self.code == _INVALID and not any(
            pattern.search(self.text) for pattern in known
        )


def as_user_error(
    refused: Refused, server: str, spec: ModelSpec | None, deadline_seconds: float
) -> SlimlineError:
    """The error that tells a user what a refusal means and what to do.

    Args:
      refused: the last of the attempts.
      server: its address as the user gave it.
      spec: the model that was asked for; None for all of the server's.
      deadline_seconds: that the request had.

    Returns:
      ConfigError for what is wrong in the request, ServerError for what the server or the
      way to it could not do.
    """
    code, text = refused.code, refused.text
    model = "its models" if spec is None else str(spec)
    if code == "NOT_FOUND" or (code == _INVALID and _UNKNOWN_LABEL.search(text)):
        return ConfigError(f"{server} does not serve {model}", found=text)
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return ConfigError(
            f"{server} does not let this client ask for {model}",
            found=text,
            tip="a token of the server; the command takes it from SLIMLINE_SERVER_TOKEN",
        )
    if code in (_INVALID, "FAILED_PRECONDITION"):
        return ConfigError(
            f"{server} does not take the request for {model}",
            found=text,
            tip=_tip_of_refused_request(text),
        )
    if code == TOO_LARGE:
        return ConfigError(
            f"the request is larger than {server} takes",
            found=text,
            tip="smaller batches or images",
        )
    if code == DEADLINE_EXCEEDED:
        return ServerError(
            f"no answer of {server} within {deadline_seconds:g} s",
            found=text,
            tip="more time, smaller batches, or a less busy server",
        )
    if code == "RESOURCE_EXHAUSTED":
        return ServerError(
            f"{server} is busy", found=text, tip="later, or with smaller batches"
        )
    if code == NO_CONNECTION:
        return ServerError(
            f"no model server answers at {server}",
            found=text,
            tip="slimline serve starts one on this machine",
        )
    if code == UNAVAILABLE:
        return ServerError(f"{server} cannot answer for {model} now", found=text)
    return ServerError(f"{server} failed: {text}", found=code)


def _tip_of_refused_request(text: str) -> str:
    if _BATCH_TOO_LARGE.search(text):
        return "a batch_size of at most max_batch_size in the server's batching.conf"
    if _UNKNOWN_SIGNATURE.search(text):
        return "slimline run pushes models with the signature predict_images"
    return ""
