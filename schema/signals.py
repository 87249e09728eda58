"""Names of the signals that ended a process, for sentences."""

import signal


def in_words(number: int) -> str:
    """Name of a signal, with its likely sender where the kernel is that."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    # What the kernel sends when memory runs out; nobody else explains it.
    return f"{name} (out of memory?)" if name == "SIGKILL" else name
