"""Workers end with the process that asked for them."""

import os
import socket

import pytest

from pipeline.beam import worker_pool


class Ended(Exception):
    """In place of the end of this process."""


@pytest.fixture(autouse=True)
def no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr(os, "_exit", end)


def test_a_worker_whose_caller_is_gone_ends() -> None:
    caller, worker = socket.socketpair()
    caller.close()
    with worker, pytest.raises(Ended, match="1"):
        worker_pool._end_with(worker)


def test_a_worker_whose_caller_speaks_stays() -> None:
    caller, worker = socket.socketpair()
    with caller, worker:
        caller.sendall(b"x")
        worker_pool._end_with(worker)
