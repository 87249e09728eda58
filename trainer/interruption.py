"""SIGINT and SIGTERM in a training: the update under way ends first, so it can resume."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Held:
    """A signal that waits.

    Attributes:
      number: of the signal, 0 for none.
    """

    number: int = 0

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.number == number == signal.SIGINT:
            raise KeyboardInterrupt  # a second Ctrl-C does not wait
        self.number = self.number or number


@contextlib.contextmanager
def held() -> Iterator[Held]:
    """Holds SIGINT and SIGTERM back; whoever works inside looks at `number` and leaves.

    At the end the signal is raised again, for the handlers that were there before. Outside
    of the main thread, which alone gets signals, nothing is held.
    """
    made = Held()
    if threading.current_thread() is not threading.main_thread():
        yield made
        return
    before = {number: signal.signal(number, made._receive) for number in _SIGNALS}
    try:
        yield made
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if made.number:
            signal.raise_signal(made.number)
