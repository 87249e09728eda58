"""Refusals of the local server: a fixed text, and its code in either protocol.

The texts are TensorFlow Serving's where it has one. None of them holds a path, a stack or
anything that a library said: what a client sends must not find out about this machine. A
name from the request is repeated only where it is made of harmless signs.
"""

import re

import grpc

# What a model, a label, a signature or a tensor can be called.
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")

_OVERLOADED_TEXT = "The server is busy, its queue is full. Try again in a moment."
_SHUTTING_DOWN_TEXT = "The server is shutting down."


class ServerError(Exception):
    """A request that gets no answer.

    Attributes:
      grpc_code: status of a gRPC call.
      http_status: of a REST response.
      text: what the client is told.
    """

    grpc_code = grpc.StatusCode.INTERNAL
    http_status = 500

    def __init__(self, text: str):
        super().__init__(text)
        self.text = text


class BadRequest(ServerError):
    """The request is not what its method takes."""

    grpc_code = grpc.StatusCode.INVALID_ARGUMENT
    http_status = 400


class InvalidInput(BadRequest):
    """The bytes of a request are refused, as where they are no image."""


class FailedPrecondition(ServerError):
    """The model cannot do what is asked, as classify without such a signature."""

    grpc_code = grpc.StatusCode.FAILED_PRECONDITION
    http_status = 400


class NotFound(ServerError):
    """There is no such thing; base of the three below."""

    grpc_code = grpc.StatusCode.NOT_FOUND
    http_status = 404


class UnknownModel(NotFound):
    """No model of that name is served."""

    def __init__(self, name: str, text: str = ""):
        super().__init__(
            text or f"Servable not found for request: Latest({shown(name)})"
        )


class UnknownVersion(NotFound):
    """The model is served, but not in that version."""

    def __init__(self, name: str, version: int):
        super().__init__(
            f"Servable not found for request: Specific({shown(name)}, {version})"
        )


class UnknownLabel(BadRequest):
    """The model has no such label; TensorFlow Serving calls it an invalid argument."""

    def __init__(self, label: str):
        super().__init__(f"Unrecognized servable version label: {shown(label)}")


class NotAvailable(ServerError):
    """The model is known, but no version of it is loaded at the moment."""

    grpc_code = grpc.StatusCode.UNAVAILABLE
    http_status = 503


class Overloaded(ServerError):
    """The queue is full; the client may try again.

    TensorFlow Serving answers with the same codes where its batching queue is full.
    """

    grpc_code = grpc.StatusCode.UNAVAILABLE
    http_status = 503

    def __init__(self, text: str = _OVERLOADED_TEXT):
        super().__init__(text)


class ShuttingDown(ServerError):
    """The server takes no more requests."""

    grpc_code = grpc.StatusCode.UNAVAILABLE
    http_status = 503

    def __init__(self, text: str = _SHUTTING_DOWN_TEXT):
        super().__init__(text)


class DeadlineExceeded(ServerError):
    """The client's time was over before the answer was there."""

    grpc_code = grpc.StatusCode.DEADLINE_EXCEEDED
    http_status = 504

    def __init__(self, text: str = "Deadline exceeded"):
        super().__init__(text)


class TooLarge(ServerError):
    """The request is beyond a budget of the server, and will be the next time, too.

    Hence not RESOURCE_EXHAUSTED, which clients try again.
    """

    grpc_code = grpc.StatusCode.INVALID_ARGUMENT
    http_status = 413


class UnsupportedMediaType(ServerError):
    """The body is neither JSON nor said to be."""

    grpc_code = grpc.StatusCode.INVALID_ARGUMENT
    http_status = 415


class RequestTimeout(ServerError):
    """The request did not arrive in time."""

    grpc_code = grpc.StatusCode.DEADLINE_EXCEEDED
    http_status = 408

    def __init__(self, text: str = "The request did not arrive in time."):
        super().__init__(text)


class MethodNotAllowed(ServerError):
    """The path exists, for another HTTP method."""

    grpc_code = grpc.StatusCode.INVALID_ARGUMENT
    http_status = 405


class Misdirected(ServerError):
    """The request names a host or comes from a page that is not of this server.

    So a web page that has its own name resolve to this machine gets no answer.
    """

    grpc_code = grpc.StatusCode.PERMISSION_DENIED
    http_status = 421


class MethodNotImplemented(ServerError):
    """TensorFlow Serving has the method, the local server has not."""

    grpc_code = grpc.StatusCode.UNIMPLEMENTED
    http_status = 501


class InternalError(ServerError):
    """Something broke that is no client's fault; the log holds what it was."""

    def __init__(self, text: str = "Internal error"):
        super().__init__(text)


def shown(name: str) -> str:
    """`name` where it is made of harmless signs, else '?'."""
    return name if NAME.fullmatch(name) else "?"
