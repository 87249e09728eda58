"""TensorFlow Serving's REST interface, the page, and the metrics for Prometheus.

Reference: tensorflow/serving, g3doc/api_rest.md, model_servers/http_rest_api_{handler,util}.cc.
"""

import asyncio
import functools
import ipaddress
import json
import logging
import pathlib
import time
import urllib.parse
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import grpc
from aiohttp import web

from serving import wire_messages
from serving.local_server import errors, grpc_service, json_tensors
from serving.local_server.answering import Answerer
from serving.local_server.connections import Connections
from serving.local_server.metrics import CONTENT_TYPE
from serving.model_spec import MAX_VERSION, ModelSpec
from serving.server_answers import LIST_PATH, VERSION_HEADER

METRICS_PATH = "/monitoring/prometheus/metrics"
PAGE_FOLDER = pathlib.Path(__file__).with_name("page")

_MODEL = "/v1/models/{name:[^/:]+}"
_MODELS = (
    _MODEL,
    _MODEL + "/versions/{version:[0-9]+}",
    _MODEL + "/labels/{label:[^/:]+}",
)
_MOST_HEADERS = 64
# Includes the type that `curl -d` sends, as in TensorFlow Serving's examples.
_MEDIA_TYPES = (
    "application/json",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
    "text/plain",
)
_HEADERS = {
    "Server": "slimline",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}
_PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        " img-src 'self' blob:; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_PAGE_FILES = {
    "/": ("index.html", "text/html"),
    "/page/style.css": ("style.css", "text/css"),
    "/page/script.js": ("script.js", "text/javascript"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}
_LOGGER = logging.getLogger("slimline.serving")

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Rest:
    """Handles the requests of one server."""

    def __init__(self, answerer: Answerer, hosts: Collection[str]):
        """`hosts` are the names that requests may have in their Host header."""
        self._answerer = answerer
        self._models = answerer.models
        self._limits = limits = answerer.limits
        self._hosts = {host.lower() for host in hosts}
        self._connections: Connections | None = None
        application = web.Application(middlewares=[self._answered])
        for path, (file, kind) in _PAGE_FILES.items():
            application.router.add_get(path, _page((PAGE_FOLDER / file), kind))
        application.router.add_get(METRICS_PATH, self._prometheus)
        application.router.add_get(LIST_PATH, self._listing)
        for path in _MODELS:
            application.router.add_get(path, self._status)
            application.router.add_get(f"{path}/metadata", self._metadata)
            application.router.add_post(
                f"{path}:{{method:predict|classify}}", self._predict
            )
        self._runner = web.AppRunner(
            application,
            access_log=None,
            shutdown_timeout=1,
            keepalive_timeout=limits.idle_seconds,
            max_field_size=limits.header_bytes,
            max_line_size=limits.header_bytes,
            max_headers=_MOST_HEADERS,
        )

    async def connections(self) -> Connections:
        """The protocol factory for the listening socket."""
        await self._runner.setup()
        assert self._runner.server is not None
        self._connections = Connections(self._runner.server, self._limits.connections)
        return self._connections

    def count_connections(self) -> int:
        """Number of open connections."""
        return len(self._runner.server.connections) if self._runner.server else 0

    async def stop(self) -> None:
        """Closes all connections."""
        await self._runner.cleanup()

    @web.middleware
    async def _answered(
        self, request: web.Request, handler: _Handler
    ) -> web.StreamResponse:
        """Writes the response, within its time."""
        assert self._connections is not None
        with self._connections.working(request.protocol):
            response = await self._response(request, handler)
            if self._connections.is_draining or not request.content.is_eof():
                # The rest of a refused body must not be read as the next request.
                response.force_close()
            response.headers.update(_HEADERS)
            try:
                async with asyncio.timeout(self._limits.request_seconds):
                    await response.prepare(request)
                    await response.write_eof()
            except TimeoutError:  # the client does not read
                if request.transport is not None:
                    request.transport.abort()
        return response

    async def _response(
        self, request: web.Request, handler: _Handler
    ) -> web.StreamResponse:
        """The response of a handler, or that of its error; counts requests to models."""
        started, code = time.perf_counter(), grpc.StatusCode.OK
        try:
            self._check_origin(request)
            response = await handler(request)
        except errors.ServerError as error:
            code = error.grpc_code
            response = _refusal(error.text, error.http_status)
            if code is grpc.StatusCode.UNAVAILABLE:
                response.headers["Retry-After"] = "1"
        except web.HTTPException as error:
            code = grpc.StatusCode.INVALID_ARGUMENT
            is_api = request.path.lower().startswith("/v1/")
            response = (
                _refusal("Malformed request", 400)
                if is_api and error.status in (404, 405)
                else _refusal(error.text or error.reason, error.status)
            )
        except ConnectionError:
            raise
        except Exception as error:
            _LOGGER.exception("internal error in REST: %s", error)
            code = grpc.StatusCode.INTERNAL
            response = _refusal("Internal error", 500)
        if "name" in request.match_info:
            name = request.match_info["name"]
            model = name if name in self._models.names() else ""
            is_metadata = request.path.endswith("/metadata")
            api = "GetModelMetadata" if is_metadata else "GetModelStatus"
            api = request.match_info.get("method", "").capitalize() or api
            self._answerer.metrics.request(model, api, "REST", code.name, started)
        return response

    def _check_origin(self, request: web.Request) -> None:
        """Refuses pages of other sites, also after DNS rebinding to this machine."""
        bound = (request.get_extra_info("sockname") or ("",))[0]
        hosts = [request.headers.get("Host", "")]
        if "Origin" in request.headers:
            hosts.append(request.headers["Origin"].partition("://")[2])
        if not all(_is_allowed(host, bound, self._hosts) for host in hosts):
            raise web.HTTPMisdirectedRequest(
                text="The server does not answer under this name; --allowed-host adds one."
            )

    async def _prometheus(self, request: web.Request) -> web.Response:
        return web.Response(
            body=self._answerer.metrics.page(), headers={"Content-Type": CONTENT_TYPE}
        )

    async def _listing(self, request: web.Request) -> web.Response:
        return _json(
            {"models": self._models.listing(), "problem": self._models.problem}
        )

    async def _status(self, request: web.Request) -> web.Response:
        response = grpc_service.status(self._models, _spec(request))
        return _json(wire_messages.document(response))

    async def _metadata(self, request: web.Request) -> web.Response:
        response = grpc_service.metadata(self._models, _spec(request))
        document = wire_messages.document(response)
        # TensorFlow Serving does not name the type of the Any message.
        del document["metadata"]["signature_def"]["@type"]
        return _json(document, version=response.model_spec.version.value)

    async def _predict(self, request: web.Request) -> web.Response:
        deadline = asyncio.get_running_loop().time() + self._limits.answer_seconds
        is_classify = request.match_info["method"] == "classify"
        self._check_size(announced := request.content_length or 0)
        with self._answerer.in_flight.holding(announced) as grow_to:
            document = await self._document(request, grow_to)
            form = "" if is_classify else json_tensors.form_of(document)
            answer = await self._answerer.ask(
                _spec(request),
                json_tensors.signature_name(document),
                functools.partial(json_tensors.inputs, document, form),
                deadline,
                is_classify=is_classify,
            )
        return _response(json_tensors.answer(form, answer.outputs), answer.version)

    async def _document(
        self, request: web.Request, grow_to: Callable[[int], None]
    ) -> dict[str, Any]:
        """The JSON object in a body, decompressed.

        Raises:
          ServerError, web.HTTPException: it is too large, too slow, or no JSON object.
        """
        if request.content_type not in _MEDIA_TYPES:
            raise web.HTTPUnsupportedMediaType(
                text="The body must be application/json."
            )
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                async for data in request.content.iter_any():
                    body += data
                    self._check_size(len(body))
                    grow_to(len(body))
        except TimeoutError as error:
            text = "The request did not arrive in time."
            raise web.HTTPRequestTimeout(text=text) from error
        except web.RequestPayloadError as error:
            raise errors.BadRequest("The body is not as its header says.") from error
        return json_tensors.parse(bytes(body), self._limits)

    def _check_size(self, size_bytes: int) -> None:
        limit = self._limits.request_bytes
        if size_bytes > limit:
            raise errors.TooLarge(f"The body has more than {limit:,} bytes.")


def _page(file: pathlib.Path, kind: str) -> _Handler:
    # Read once, so that no path of a request reaches the file system.
    body = file.read_bytes()

    async def handle(request: web.Request) -> web.Response:
        return web.Response(
            body=body, content_type=kind, charset="utf-8", headers=_PAGE_HEADERS
        )

    return handle


def _spec(request: web.Request) -> ModelSpec:
    """The model in the path of a request."""
    version = request.match_info.get("version")
    if version is not None and int(version[:20]) > MAX_VERSION:
        raise errors.BadRequest("Failed to convert version to numeric.")
    return ModelSpec(
        name=request.match_info["name"],
        version=None if version is None else int(version),
        label=request.match_info.get("label"),
    )


def _is_allowed(host: str, bound: str, hosts: Collection[str]) -> bool:
    """Whether `host` of a header is one of `hosts` or an address of this server."""
    try:
        name = urllib.parse.urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in hosts or name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or name == bound


def _json(document: dict[str, Any], version: int | None = None) -> web.Response:
    return _response(json.dumps(document, indent=1).encode(), version)


def _refusal(text: str, http_status: int) -> web.Response:
    return _response(json_tensors.dump({"error": text}), http_status=http_status)


def _response(
    body: bytes, version: int | None = None, http_status: int = 200
) -> web.Response:
    headers = {} if version is None else {VERSION_HEADER: str(version)}
    return web.Response(
        body=body, status=http_status, content_type="application/json", headers=headers
    )
