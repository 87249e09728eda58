"""Takes what libraries write to file descriptors 1 and 2 off the terminal.

TensorFlow, abseil and Beam write there before any log setting holds, and from C++.
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
    """The streams as they were before.

    Attributes:
      stdout: for the result.
      stderr: for what moves.
    """

    stdout: TextIO
    stderr: TextIO


def discard() -> contextlib.AbstractContextManager[Terminal]:
    """Lets what libraries write to descriptors 1 and 2 vanish."""
    return capture(pathlib.Path(os.devnull))


@contextlib.contextmanager
def capture(log: pathlib.Path, *, is_echoed: bool = False) -> Iterator[Terminal]:
    """Sends descriptors 1 and 2 of this process and its children to `log`.

    Args:
      log: appended to.
      is_echoed: what reaches the log goes to the real standard error as well.

    Yields:
      The real streams. The descriptors are put back at the end, whatever ends it.
    """
    with contextlib.ExitStack() as stack:
        terminal = Terminal(
            _keep(sys.stdout, 1, stack),
            _keep(sys.stderr, 2, stack),
        )
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
    """Sends Python's streams that are no descriptors, as in a notebook, to `target`."""
    with os.fdopen(os.dup(target), "a", buffering=1, encoding="utf-8") as log:
        stand_ins = {}
        for name, number in (("stdout", 1), ("stderr", 2)):
            stream = getattr(sys, name)
            if not _is_descriptor(stream, number):
                stand_ins[name] = _StandIn(stream, log)
                setattr(sys, name, stand_ins[name])
        try:
            yield
        finally:
            for name, stand_in in stand_ins.items():
                stand_in.end()
                if getattr(sys, name) is stand_in:
                    setattr(sys, name, stand_in.usual)


class _StandIn(io.TextIOBase):
    """Writes to a log, and once that has ended to the usual stream.

    Handlers of `logging` keep the stream of the moment in which they were made.
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
        """From now on all goes to the usual stream."""
        self.flush()
        self._target = self.usual


def _is_descriptor(stream: TextIO, number: int) -> bool:
    try:
        return stream.fileno() == number
    except (OSError, ValueError):
        return False


def _keep(stream: TextIO, number: int, stack: contextlib.ExitStack) -> TextIO:
    """A stream to where `stream` goes now; one that is no descriptor stays as it is."""
    if not _is_descriptor(stream, number):
        return stream
    return stack.enter_context(
        os.fdopen(
            os.dup(number),
            "w",
            buffering=1,
            encoding=stream.encoding,
            errors="replace",
        )
    )


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


@contextlib.contextmanager
def _echo(log: pathlib.Path, stream: TextIO) -> Iterator[None]:
    """Follows the file rather than tees a pipe: nothing can block on a full pipe."""
    is_over = threading.Event()
    # Opened here, not in the thread: from now on everything is to be shown.
    file = log.open(encoding="utf-8", errors="replace")
    file.seek(0, os.SEEK_END)

    def follow() -> None:
        with file:
            while True:
                # Asked before reading, so that the last round sees the last bytes.
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
