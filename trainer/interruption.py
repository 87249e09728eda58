"""Delays SIGINT and SIGTERM until the current update of a training is done."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Held:
    """A delayed signal: its `number`, 0 for none."""

    number: int = 0

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.number == number == signal.SIGINT:
            raise KeyboardInterrupt  # a second Ctrl-C does not wait
        self.number = self.number or number


@contextlib.contextmanager
def held() -> Iterator[Held]:
    """Delays SIGINT and SIGTERM; the code inside checks `number` and returns.

    At the end the signal is raised again, for the earlier handlers. Only the main thread
    receives signals; in others this does nothing.
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
