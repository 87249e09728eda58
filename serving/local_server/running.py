"""A server from start to signal, and what is told meanwhile."""

import asyncio
import contextlib
import logging
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from serving.local_server import status
from serving.local_server.server import LocalServer, ServerConfig

# Called with the name of an event and its fields:
#   started: rest, grpc, models (as `status.listing` gives them)
#   log: level, text; stack, where something broke
#   stopping: grace_seconds
#   stopped: requests, cut_short
Tell = Callable[[str, Mapping[str, Any]], None]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_MAX_FILES = 65_536
# How long a thread that takes a large request apart may keep the event loop from Python's
# lock, once it is asked for it; Python's own 5 ms are felt several times in each request.
_SWITCH_SECONDS = 0.0005


async def run(config: ServerConfig, tell: Tell) -> None:
    """Serves until SIGINT or SIGTERM; a second one ends the process at once.

    Raises:
      ConfigError: the host is unknown, a port is taken, or requests cannot be kept.
    """
    _raise_file_limit()
    sys.setswitchinterval(_SWITCH_SECONDS)
    with _told_log(tell), _first_signal() as signalled:
        server = LocalServer(config)
        starting = asyncio.create_task(server.start())
        waiting = asyncio.create_task(signalled.wait())
        await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if starting.done():
                await starting
                tell(
                    "started",
                    {
                        "rest": server.rest_address,
                        "grpc": server.grpc_address,
                        **status.listing(server.models),
                    },
                )
                await waiting
                tell("stopping", {"grace_seconds": config.grace_seconds})
        finally:
            waiting.cancel()
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await starting
            cut_short = await server.stop()
        count = server.metrics.request_count()
        tell("stopped", {"requests": count, "cut_short": cut_short})


@contextlib.contextmanager
def _first_signal() -> Iterator[asyncio.Event]:
    """An event that the first signal sets; the second one does what it always does."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()

    def note() -> None:
        event.set()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    for number in _SIGNALS:
        loop.add_signal_handler(number, note)
    try:
        yield event
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


class _Forward(logging.Handler):
    def __init__(self, tell: Tell):
        super().__init__(logging.INFO)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Tells the sentence, and the stack apart from it."""
        try:
            fields = {"level": record.levelname.lower(), "text": record.getMessage()}
            if record.exc_info and record.exc_info[1]:
                stack = traceback.format_exception(record.exc_info[1])
                fields["stack"] = "".join(stack).rstrip()
            self._tell("log", fields)
        except Exception:  # as every handler of `logging` does
            self.handleError(record)


@contextlib.contextmanager
def _told_log(tell: Tell) -> Iterator[None]:
    logger = logging.getLogger("slimline")
    level = logger.level
    handler = _Forward(tell)
    logger.addHandler(handler)
    logger.setLevel(min(level or logging.INFO, logging.INFO))
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def _raise_file_limit() -> None:
    """A connection is a file; the usual limit of 1,024 would be used up by one client."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
