"""The local server: sockets, both protocols, health, start and stop."""

import asyncio
import contextlib
import dataclasses
import logging
import pathlib
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

import grpc
from grpc_health.v1 import health as health_service
from grpc_health.v1 import health_pb2, health_pb2_grpc

from common.errors import ConfigError
from serving.local_server import feedback, grpc_service, rest
from serving.local_server.answering import Answerer
from serving.local_server.connections import Connections
from serving.local_server.limits import InFlight, Limits
from serving.local_server.metrics import Metrics
from serving.local_server.served_models import ServedModels

# Services of the health check.
HEALTH_NAMES = ("", grpc_service.PREDICTION_SERVICE)
_HEALTH_SECONDS = 0.2
_BACKLOG = 1_024
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_MAX_FILES = 65_536
# Python's default of 5 ms, for which the thread that loads a version may keep the interpreter
# lock from the event loop, would delay each request several times.
_SWITCH_SECONDS = 0.0005
_LOGGER = logging.getLogger("slimline.serving")


@dataclasses.dataclass(frozen=True)
class ServerConfig:
    """Settings of a server; the options of `slimline serve` have defaults and meanings."""

    serving_folder: pathlib.Path
    poll_seconds: float
    limits: Limits
    host: str
    rest_port: int
    grpc_port: int
    allowed_hosts: tuple[str, ...]
    grace_seconds: float
    sample_folder: pathlib.Path | None
    sample_share: float
    sample_max: int


async def run(config: ServerConfig) -> None:
    """Serves until SIGINT or SIGTERM; a second one ends the process at once.

    It logs to `slimline.serving`. Some of the records are events with `fields`: started (rest,
    grpc, models and problem, as in `GET /api/models`), stopping (grace_seconds) and stopped
    (requests, cut_short).

    Raises:
      ConfigError: the host is unknown, a port is taken, or requests cannot be kept.
    """
    _raise_file_limit()
    sys.setswitchinterval(_SWITCH_SECONDS)
    signalled = _first_signal()
    server = LocalServer(config)
    starting = asyncio.create_task(server.start())
    waiting = asyncio.create_task(signalled.wait())
    await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
    try:
        if starting.done():
            _log("started", **await starting)
            await waiting
            _log("stopping", grace_seconds=config.grace_seconds)
    finally:
        waiting.cancel()
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await starting
        cut_short = await server.stop()
    _log("stopped", requests=server.metrics.request_count, cut_short=cut_short)


def _log(event: str, **fields: object) -> None:
    _LOGGER.info(event, extra={"fields": fields})


class LocalServer:
    """REST and gRPC for the same models, on the running event loop."""

    def __init__(self, config: ServerConfig):
        """Does not listen yet."""
        self._config, limits = config, config.limits
        self.metrics = Metrics()
        self.models = ServedModels(config.serving_folder, limits, config.poll_seconds)
        self._sampler = None
        if config.sample_folder is not None:
            self._sampler = feedback.RequestSampler(
                config.sample_folder, config.sample_share, config.sample_max
            )
        sample = self._sampler.offer if self._sampler else None
        answerer = Answerer(self.models, limits, self.metrics, sample)
        self._rest = rest.Rest(answerer, (config.host, *config.allowed_hosts))
        self._grpc = grpc.aio.server(
            options=grpc_service.options(limits), maximum_concurrent_rpcs=limits.calls
        )
        grpc_service.Services(answerer).add_to(self._grpc)
        self._health = health_service.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        self._connections: Connections | None = None
        self._listening: asyncio.Server | None = None
        self._watch: asyncio.Task[None] | None = None
        self._add_gauges(answerer.in_flight)

    async def start(self) -> dict[str, Any]:
        """Listens, then loads the wanted versions; requests before that are refused.

        Returns:
          Fields of the event 'started'.

        Raises:
          ConfigError: the host is unknown or a port is taken.
        """
        host, rest_port = self._config.host, self._config.rest_port
        grpc_port = self._config.grpc_port
        await self._set_health(is_ready=False)
        with _binding(host, grpc_port, "--grpc-port"):
            grpc_port = self._grpc.add_insecure_port(_join(host, grpc_port))
            if not grpc_port:
                raise OSError("cannot listen there")
        with _binding(host, rest_port, "--rest-port"):
            listening = _listen(host, rest_port)
        self._connections = await self._rest.connections()
        self._listening = await asyncio.get_running_loop().create_server(
            self._connections, sock=listening, backlog=_BACKLOG
        )
        await self._grpc.start()
        await self.models.start()
        self._watch = asyncio.create_task(self._watch_health())
        return {
            "rest": _join(host, listening.getsockname()[1]),
            "grpc": _join(host, grpc_port),
            "models": self.models.listing(),
            "problem": self.models.problem,
        }

    async def stop(self) -> int:
        """Takes no new requests, finishes the others, and unloads the models.

        Returns:
          Number of REST requests that were cut short after the grace period.
        """
        if self._watch is not None:
            self._watch.cancel()
        await self._health.enter_graceful_shutdown()
        grace = self._config.grace_seconds
        calls_end = asyncio.create_task(self._grpc.stop(grace))
        cut_short = 0
        if self._listening is not None and self._connections is not None:
            self._listening.close()
            cut_short = await self._connections.drain(grace)
        await calls_end
        await self._rest.stop()
        await self.models.stop()
        if self._sampler is not None:
            await asyncio.to_thread(self._sampler.close)
        return cut_short

    def _add_gauges(self, in_flight: InFlight) -> None:
        add, sampler = self.metrics.add_gauge, self._sampler
        name = "slimline_in_flight_bytes"
        add(name, "Bytes of all unfinished requests.", lambda: in_flight.taken_bytes)
        name = "slimline_rest_connections"
        add(name, "Open REST connections.", self._rest.count_connections)
        name = "slimline_ready"
        add(name, "1 if every model has a version that answers.", self.models.is_ready)
        if sampler is not None:
            name = "slimline_samples_stored"
            add(name, "Sampled images that were written.", lambda: sampler.stored_count)
            name = "slimline_samples_dropped"
            add(name, "Sampled images that were lost.", lambda: sampler.dropped_count)

    async def _watch_health(self) -> None:
        while True:
            await self._set_health(is_ready=self.models.is_ready())
            await asyncio.sleep(_HEALTH_SECONDS)

    async def _set_health(self, *, is_ready: bool) -> None:
        states = health_pb2.HealthCheckResponse
        state = states.SERVING if is_ready else states.NOT_SERVING
        for name in HEALTH_NAMES:
            await self._health.set(name, state)


def _listen(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return socket.create_server(address[:2], family=family, backlog=_BACKLOG)


@contextlib.contextmanager
def _binding(host: str, port: int, option: str) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, socket.gaierror):
            raise ConfigError(f"no such host: {host}") from error
        raise ConfigError(
            f"cannot listen on {_join(host, port)}",
            found="another program has the port, or this user may not take it",
            tip=f"{option} 0 takes a free port",
        ) from error


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _first_signal() -> asyncio.Event:
    """An event that the first signal sets; the second one has its usual effect."""
    event, loop = asyncio.Event(), asyncio.get_running_loop()

    def set_event() -> None:
        event.set()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    for number in _SIGNALS:
        loop.add_signal_handler(number, set_event)
    return event


def _raise_file_limit() -> None:
    """A connection is a file: one client would use up the usual limit of 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
