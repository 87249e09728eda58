"""The whole server: sockets, both protocols on one event loop, health, and the end."""

import asyncio
import contextlib
import dataclasses
import ipaddress
import logging
import pathlib
import socket
from collections.abc import Iterator
from typing import Any

import grpc
from aiohttp import web
from grpc_health.v1 import health as health_service
from grpc_health.v1 import health_pb2, health_pb2_grpc

from schema.errors import ConfigError
from serving.local_server import connections, feedback, grpc_service, rest
from serving.local_server.answering import Answerer
from serving.local_server.limits import InFlight, Limits
from serving.local_server.metrics import Metrics
from serving.local_server.served_models import ServedModels, Settings

# Services whose health can be asked for.
HEALTH_NAMES = ("", grpc_service.PREDICTION_SERVICE)
_HEALTH_SECONDS = 0.2
_BACKLOG = 1_024
_LOGGER = logging.getLogger("slimline.serving")


@dataclasses.dataclass(frozen=True)
class Sampling:
    """What is kept of the requests.

    Attributes:
      folder: where to.
      share: of the requests.
      max_examples: between start and stop.
    """

    folder: pathlib.Path
    share: float
    max_examples: int


@dataclasses.dataclass(frozen=True)
class ServerConfig:
    """What a server is started with.

    Attributes:
      serving_folder: the models, `<root>/serving`.
      settings: of the engine.
      limits: budgets of the clients.
      host: name or address to listen on.
      rest_port: 0 for a free one. grpc_port: likewise.
      allowed_hosts: more names under which it may be asked.
      grace_seconds: that requests under way have at the end.
      sampling: None keeps nothing.
    """

    serving_folder: pathlib.Path
    settings: Settings
    limits: Limits = dataclasses.field(default_factory=Limits)
    host: str = "127.0.0.1"
    rest_port: int = 8501
    grpc_port: int = 8500
    allowed_hosts: tuple[str, ...] = ()
    grace_seconds: float = 30
    sampling: Sampling | None = None


class LocalServer:
    """REST and gRPC over the same models, on the running event loop."""

    def __init__(self, config: ServerConfig):
        """Does nothing yet."""
        self._config = config
        self.metrics = Metrics()
        self.models = ServedModels(config.serving_folder, config.settings)
        self.rest_address = self.grpc_address = ""
        self._sampler = self._open_sampler()
        in_flight = InFlight(config.limits.in_flight_bytes)
        answerer = Answerer(self.models, config.limits, self.metrics, self._sampler)
        handler = rest.Rest(
            answerer,
            config.limits,
            self.metrics,
            in_flight,
            hosts=(config.host, *config.allowed_hosts),
        )
        self._http = connections.Server(handler.handle, config.limits)
        self._runner = web.ServerRunner(self._http, shutdown_timeout=1)
        self._services = grpc_service.Services(
            answerer, config.limits, self.metrics, in_flight
        )
        self._grpc = grpc.aio.server(
            handlers=self._services.handlers(),
            options=grpc_service.options(config.limits),
            maximum_concurrent_rpcs=config.limits.calls,
        )
        self._health = health_service.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        self._watch: asyncio.Task[None] | None = None
        self._site: web.BaseSite | None = None
        self._add_gauges(in_flight)

    async def start(self) -> None:
        """Listens, then loads; returns when the first load of every model has ended.

        Requests that come before find a model that is not available yet.

        Raises:
          ConfigError: the host is unknown or a port is taken.
        """
        config = self._config
        await self._set_health(is_ready=False)
        with _binding(config.host, config.grpc_port, "--grpc-port"):
            port = self._grpc.add_insecure_port(_join(config.host, config.grpc_port))
            if not port:
                raise OSError("cannot listen there")
        self.grpc_address = _join(config.host, port)
        with _binding(config.host, config.rest_port, "--rest-port"):
            listening = _listen(config.host, config.rest_port)
        self.rest_address = _join(config.host, listening.getsockname()[1])
        await self._runner.setup()
        self._site = web.SockSite(self._runner, listening, backlog=_BACKLOG)
        await self._site.start()
        await self._grpc.start()
        await self.models.start()
        await self._set_health(is_ready=self.models.is_ready())
        self._watch = asyncio.create_task(self._watch_health())

    async def stop(self) -> int:
        """Says so, takes nothing new, finishes what is under way, and unloads.

        Returns:
          How many REST requests were cut short when the grace was over.
        """
        if self._watch is not None:
            self._watch.cancel()
        await self._health.enter_graceful_shutdown()
        if self._site is not None:
            await self._site.stop()
        grace = self._config.grace_seconds
        cut_short, _ = await asyncio.gather(
            self._http.drain(grace), self._grpc.stop(grace)
        )
        await self._runner.cleanup()
        await self.models.stop()
        if self._sampler is not None:
            await asyncio.to_thread(self._sampler.close)
        return cut_short

    def _open_sampler(self) -> feedback.RequestSampler | None:
        sampling = self._config.sampling
        if sampling is None:
            return None
        return feedback.RequestSampler(
            sampling.folder, sampling.share, sampling.max_examples
        )

    def _add_gauges(self, in_flight: InFlight) -> None:
        gauges: dict[str, tuple[str, Any]] = {
            "slimline_in_flight_bytes": (
                "Bytes of all requests under way.",
                lambda: in_flight.taken_bytes,
            ),
            "slimline_rest_connections": (
                "Open connections of REST.",
                lambda: self._http.open_count,
            ),
            "slimline_ready": (
                "1 where every model has a version that answers.",
                lambda: int(self.models.is_ready()),
            ),
        }
        if (sampler := self._sampler) is not None:
            gauges["slimline_samples_stored"] = (
                "Images of requests that were written.",
                lambda: sampler.stored_count,
            )
            gauges["slimline_samples_dropped"] = (
                "Images that were drawn, but could not be kept.",
                lambda: sampler.dropped_count,
            )
        for name, (help_text, value) in gauges.items():
            self.metrics.add_gauge(name, help_text, value)

    async def _watch_health(self) -> None:
        is_ready = self.models.is_ready()
        while True:
            await asyncio.sleep(_HEALTH_SECONDS)
            if self.models.is_ready() != is_ready:
                is_ready = not is_ready
                await self._set_health(is_ready=is_ready)

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
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).version == 6:
            return f"[{host}]:{port}"
    return f"{host}:{port}"
