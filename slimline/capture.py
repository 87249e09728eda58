"""Takes what libraries write to file descriptors 1 and 2 off the terminal.

TensorFlow, abseil and Beam write there before any log setting holds, and from C++.
"""

import contextlib
import dataclasses
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
            yield terminal
        finally:
            _flush()
            for number, copy in saved:
                os.dup2(copy, number)
                os.close(copy)
            os.close(target)


def _keep(stream: TextIO, number: int, stack: contextlib.ExitStack) -> TextIO:
    """A stream to where `stream` goes now; one that is no descriptor stays as it is."""
    try:
        is_descriptor = stream.fileno() == number
    except (OSError, ValueError):
        is_descriptor = False
    if not is_descriptor:
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
