"""Redirects what libraries write to file descriptors 1 and 2.

TensorFlow, abseil and Beam write there before any log setting applies, and from C++.
"""

import contextlib
import dataclasses
import io
import os
import pathlib
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

ECHO_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class Terminal:
    """The streams before the redirection: `stdout` for the result, `stderr` for progress."""

    stdout: TextIO
    stderr: TextIO


def discard() -> contextlib.AbstractContextManager[Terminal]:
    """Discards what libraries write to descriptors 1 and 2."""
    return capture(pathlib.Path(os.devnull))


@contextlib.contextmanager
def capture(log: pathlib.Path, *, is_echoed: bool = False) -> Iterator[Terminal]:
    """Sends descriptors 1 and 2 of this process and its children to `log`.

    Args:
      log: appended to.
      is_echoed: what reaches the log goes to the real standard error as well.

    Yields:
      The real streams. The descriptors are restored at the end, also by an exception.
    """
    with contextlib.ExitStack() as stack:
        terminal = Terminal(_keep(sys.stdout, 1, stack), _keep(sys.stderr, 2, stack))
        saved = [(number, os.dup(number)) for number in (1, 2)]
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        if is_echoed:
            stack.enter_context(_echo(log, terminal.stderr))
        _flush()
        try:
            for number, _ in saved:
                os.dup2(target, number)
            with _diverted(target):
                yield terminal
        finally:
            _flush()
            for number, copy in saved:
                os.dup2(copy, number)
                os.close(copy)
            os.close(target)


@contextlib.contextmanager
def _diverted(target: int) -> Iterator[None]:
    """Redirects Python streams without a descriptor, as in a notebook, to `target`."""
    with contextlib.ExitStack() as stack:
        log = os.fdopen(os.dup(target), "a", buffering=1, encoding="utf-8")
        stack.enter_context(log)
        for redirect, stream, number in (
            (contextlib.redirect_stdout, sys.stdout, 1),
            (contextlib.redirect_stderr, sys.stderr, 2),
        ):
            if not _is_descriptor(stream, number):
                stand_in = _StandIn(stream, log)
                stack.callback(stand_in.end)
                stack.enter_context(redirect(stand_in))
        yield


class _StandIn(io.TextIOBase):
    """Writes to a log, and to the usual stream once that has ended.

    Handlers of `logging` keep the stream that was current when they were created.
    """

    def __init__(self, usual: TextIO, log: TextIO):
        self.usual = usual
        self._target = log

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the usual stream."""
        return self.usual.encoding

    def write(self, text: str) -> int:
        """See base class."""
        return self._target.write(text)

    def flush(self) -> None:
        """See base class."""
        self._target.flush()

    def end(self) -> None:
        """Writes to the usual stream from now on."""
        self.flush()
        self._target = self.usual


def _is_descriptor(stream: TextIO, number: int) -> bool:
    try:
        return stream.fileno() == number
    except (OSError, ValueError):
        return False


def _keep(stream: TextIO, number: int, stack: contextlib.ExitStack) -> TextIO:
    """A copy of `stream` that the redirection leaves alone."""
    if not _is_descriptor(stream, number):
        return stream
    return stack.enter_context(
        os.fdopen(
            os.dup(number), "w", buffering=1, encoding=stream.encoding, errors="replace"
        )
    )


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


@contextlib.contextmanager
def _echo(log: pathlib.Path, stream: TextIO) -> Iterator[None]:
    """Follows the file; unlike with a pipe, no writer can block on a slow reader."""
    is_over = threading.Event()
    # Opened before the thread starts, so that nothing is missed.
    file = log.open(encoding="utf-8", errors="replace")
    file.seek(0, os.SEEK_END)

    def follow() -> None:
        with file:
            while True:
                # Checked before reading, so that the last round gets the last bytes.
                is_last = is_over.wait(ECHO_SECONDS)
                stream.write(file.read())
                stream.flush()
                if is_last:
                    return

    thread = threading.Thread(target=follow, name="echo", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
