"""Refusals of the local server: a fixed text, and its code in either protocol.

The texts are TensorFlow Serving's where it has one. None of them holds a path, a stack or
anything that a library said: what a client sends must not find out about this machine. A
name from the request is repeated only where it is made of harmless characters.
"""

import re

import grpc

# What a model, a label, a signature or a tensor can be called.
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class ServerError(Exception):
    """A request that gets no answer.

    Attributes:
      grpc_code: status of a gRPC call.
      http_status: of a REST response.
      text: what the client is told.
    """

    grpc_code = grpc.StatusCode.INTERNAL
    http_status = 500
    default_text = "Internal error"

    def __init__(self, text: str = ""):
        super().__init__(text or self.default_text)
        self.text = text or self.default_text


class BadRequest(ServerError):
    """The request is not what its method takes."""

    grpc_code = grpc.StatusCode.INVALID_ARGUMENT
    http_status = 400


class InvalidInput(BadRequest):
    """The bytes of a request are refused, as where they are no image."""


class TooLarge(BadRequest):
    """The request is beyond a budget of the server, and will be the next time, too.

    Hence not RESOURCE_EXHAUSTED, which clients try again.
    """

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
    """The request is fine and cannot be answered now; the client may try again.

    TensorFlow Serving answers with the same codes where its batching queue is full.
    """

    grpc_code = grpc.StatusCode.UNAVAILABLE
    http_status = 503
    default_text = "The server is busy, its queue is full. Try again in a moment."


class DeadlineExceeded(ServerError):
    """The client's time was over before the answer was there."""

    grpc_code = grpc.StatusCode.DEADLINE_EXCEEDED
    http_status = 504
    default_text = "Deadline exceeded"


def shown(name: str) -> str:
    """`name` where it is made of harmless characters, else '?'."""
    return name if NAME.fullmatch(name) else "?"
