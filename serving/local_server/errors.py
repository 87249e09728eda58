"""Errors of the local server: a fixed text, and its code in either protocol.

The texts are TensorFlow Serving's where it has one. They hold no path, no stack and no message
of a library, so that clients learn nothing about this machine, and repeat a name of the request
only if it has harmless characters.
"""

import re

import grpc

# Names of models, labels, signatures and tensors.
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class ServerError(Exception):
    """The server cannot answer a request.

    Attributes:
      grpc_code: status of a gRPC call.
      http_status: of a REST response.
      text: message for the client.
    """

    grpc_code = grpc.StatusCode.INTERNAL
    http_status = 500
    default_text = "Internal error"

    def __init__(self, text: str = ""):
        super().__init__(text or self.default_text)
        self.text = text or self.default_text


class BadRequest(ServerError):
    """The request does not fit its method."""

    grpc_code = grpc.StatusCode.INVALID_ARGUMENT
    http_status = 400


class InvalidInput(BadRequest):
    """The bytes of an input are refused, as of one that is no image."""


class TooLarge(BadRequest):
    """The request exceeds a limit; unlike RESOURCE_EXHAUSTED, clients do not retry it."""

    http_status = 413


class FailedPrecondition(ServerError):
    """The model has no such signature."""

    grpc_code = grpc.StatusCode.FAILED_PRECONDITION
    http_status = 400


class NotFound(ServerError):
    """There is no such model or version."""

    grpc_code = grpc.StatusCode.NOT_FOUND
    http_status = 404


class Unavailable(ServerError):
    """The server is busy and the client may try again.

    TensorFlow Serving has the same codes for a full batching queue.
    """

    grpc_code = grpc.StatusCode.UNAVAILABLE
    http_status = 503
    default_text = "The server is busy, its queue is full. Try again in a moment."


class DeadlineExceeded(ServerError):
    """The deadline of the request passed before its answer."""

    grpc_code = grpc.StatusCode.DEADLINE_EXCEEDED
    http_status = 504
    default_text = "Deadline exceeded"


def shown(name: str) -> str:
    """`name` if it has harmless characters, else '?'."""
    return name if NAME.fullmatch(name) else "?"
