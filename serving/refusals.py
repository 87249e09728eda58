"""What a model server answers in place of predictions, and what its user is told."""

import re

from common.errors import ConfigError, ServerError, SlimlineError
from serving.model_spec import ModelSpec
from serving.server_address import Address

UNAVAILABLE = "UNAVAILABLE"
DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
_INVALID = "INVALID_ARGUMENT"
# Those that gRPC counts among others, or knows not at all.
TOO_LARGE = "TOO_LARGE"
NO_CONNECTION = "NO_CONNECTION"
UNKNOWN_HOST = "UNKNOWN_HOST"
ENCRYPTION = "ENCRYPTION"
NO_MODEL_SERVER = "NO_MODEL_SERVER"
MOVED = "MOVED"
# Something else listens there, or nobody ever will.
OF_THE_ADDRESS = (UNKNOWN_HOST, ENCRYPTION, NO_MODEL_SERVER, MOVED)
# Those after which the same request may succeed. Asking twice does no harm: a model that
# predicts changes nothing.
RETRIED = (NO_CONNECTION, UNAVAILABLE, "RESOURCE_EXHAUSTED")
# HTTP status -> code of gRPC: TensorFlow Serving's, and those of a proxy before it.
HTTP_CODES = {
    400: _INVALID,
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: DEADLINE_EXCEEDED,
    409: "ABORTED",
    413: TOO_LARGE,
    415: _INVALID,
    429: "RESOURCE_EXHAUSTED",
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
_TOKEN_TIP = "a token of the server; the command takes it from SLIMLINE_SERVER_TOKEN"
# Code -> what the user is told where the request or its address is wrong.
_CONFIG_ERRORS = {
    "NOT_FOUND": "{server} does not serve {model}",
    "UNAUTHENTICATED": "{server} does not let this client ask for {model}",
    "PERMISSION_DENIED": "{server} does not let this client ask for {model}",
    _INVALID: "{server} does not take the request for {model}",
    "FAILED_PRECONDITION": "{server} does not take the request for {model}",
    TOO_LARGE: "the request is larger than {server} takes",
    UNKNOWN_HOST: "there is no host '{host}'",
    ENCRYPTION: "no encrypted connection to {server}",
    NO_MODEL_SERVER: "what listens at {server} is no model server",
    MOVED: "{server} sends its clients elsewhere",
}
# And where the server or the way to it could not do it.
_SERVER_ERRORS = {
    DEADLINE_EXCEEDED: "no answer of {server} within {seconds:g} s",
    "RESOURCE_EXHAUSTED": "{server} is busy",
    NO_CONNECTION: "no model server answers at {server}",
    UNAVAILABLE: "{server} cannot answer for {model} now",
}
_TIPS = {
    "UNAUTHENTICATED": _TOKEN_TIP,
    "PERMISSION_DENIED": _TOKEN_TIP,
    TOO_LARGE: "smaller batches or images",
    ENCRYPTION: "--ca-file names the authority of an own certificate; http:// and grpc://"
    " do not encrypt",
    NO_MODEL_SERVER: "gRPC is at port 8500, REST at port 8501, where nobody changed it",
    MOVED: "give that address",
    DEADLINE_EXCEEDED: "more time, smaller batches, or a less busy server",
    "RESOURCE_EXHAUSTED": "later, or with smaller batches",
    NO_CONNECTION: "slimline serve starts one on this machine",
}


class Refused(Exception):
    """A request that got no answer, or no good one.

    Attributes:
      code: name of gRPC's status code, or one of those above.
      text: what the server or the system said.
      retry_after_seconds: what the server asked for, or 0.
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
        self.http_status = http_status
        self.code = code
        self.text = text[:300]
        self.retry_after_seconds = retry_after_seconds

    @property
    def may_be_an_image(self) -> bool:
        """Whether the server may have refused the bytes of an image."""
        known = (_UNKNOWN_LABEL, _UNKNOWN_SIGNATURE, _BATCH_TOO_LARGE)
        return self.code == _INVALID and not any(
            pattern.search(self.text) for pattern in known
        )


def as_user_error(
    refused: Refused, address: Address, spec: ModelSpec | None, deadline_seconds: float
) -> SlimlineError:
    """The error that tells a user what a refusal means and what to do.

    Args:
      refused: the last of the attempts.
      address: of the server.
      spec: the model that was asked for; None for all of the server's.
      deadline_seconds: that the request had.

    Returns:
      ConfigError or ServerError.
    """
    code, text = refused.code, refused.text
    if code == _INVALID and _UNKNOWN_LABEL.search(text):
        code = "NOT_FOUND"
    tip = _TIPS.get(code, "")
    if _BATCH_TOO_LARGE.search(text):
        tip = "a batch_size of at most max_batch_size in the server's batching.conf"
    elif code in (_INVALID, "FAILED_PRECONDITION") and _UNKNOWN_SIGNATURE.search(text):
        tip = "slimline run pushes models with the signature predict_images"
    told = {
        "server": address.text,
        "host": address.host,
        "model": "its models" if spec is None else spec,
        "seconds": deadline_seconds,
    }
    if code in _CONFIG_ERRORS:
        expected = "TensorFlow Serving, or slimline serve"
        return ConfigError(
            _CONFIG_ERRORS[code].format(**told),
            found=text,
            expected=expected if code == NO_MODEL_SERVER else "",
            tip=tip,
        )
    if code in _SERVER_ERRORS:
        return ServerError(_SERVER_ERRORS[code].format(**told), found=text, tip=tip)
    return ServerError(f"{address.text} failed: {text}", found=code)
