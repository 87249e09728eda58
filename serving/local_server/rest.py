"""REST as TensorFlow Serving has it, the page, and what Prometheus reads.

Reference: tensorflow/serving, g3doc/api_rest.md, model_servers/http_rest_api_{handler,util}.cc.
"""

import asyncio
import dataclasses
import ipaddress
import json
import logging
import pathlib
import re
import time
import urllib.parse
from collections.abc import Collection
from typing import Any, cast

import grpc
from aiohttp import web
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2

from serving.local_server import errors, json_tensors, status, strict_json
from serving.local_server.answering import Answerer, Target, aside
from serving.local_server.connections import HEADERS, Connection
from serving.local_server.limits import InFlight, Limits, Share
from serving.local_server.metrics import CONTENT_TYPE, Metrics

VERSION_HEADER = "Slimline-Model-Version"
METRICS_PATH = "/monitoring/prometheus/metrics"
# Not TensorFlow Serving's: it names no models without being told their names.
MODELS_PATH = "/api/models"
# The rest of a large body comes in with pauses, 256 KB at a time, so that other requests are
# not behind it on the event loop; 32 MB take a third of a second more.
_PACED_BYTES = 1 << 20
_PACE_SECONDS = 0.002
PAGE_FOLDER = pathlib.Path(__file__).with_name("page")

_VERSION = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_MODEL = r"/v1/models/(?P<name>[^/:]+)"
_PREDICTION = re.compile(
    _MODEL + _VERSION + ":(?P<method>classify|regress|predict)", re.IGNORECASE
)
_STATUS = re.compile(_MODEL + _VERSION + "(?P<metadata>/metadata)?", re.IGNORECASE)
_MAX_VERSION = (1 << 63) - 1
# What `curl -d` says is taken as well: TensorFlow Serving's own examples are typed so.
_MEDIA_TYPES = ("application/json", "application/x-www-form-urlencoded", "text/plain")
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


@dataclasses.dataclass
class _Call:
    """What is counted of a request."""

    api: str = ""
    model: str = ""


class Rest:
    """Handles the requests of one server."""

    def __init__(
        self,
        answerer: Answerer,
        limits: Limits,
        metrics: Metrics,
        in_flight: InFlight,
        hosts: Collection[str],
    ):
        """Answers for `answerer`.

        Args:
          answerer: asks the models.
          limits: budgets of a request.
          metrics: where requests are counted.
          in_flight: bytes of all requests under way.
          hosts: names, besides addresses, under which the server may be asked.
        """
        self._answerer = answerer
        self._models = answerer.models
        self._limits = limits
        self._metrics = metrics
        self._in_flight = in_flight
        self._hosts = {host.lower() for host in hosts}
        # Read once: no path of a request ever reaches the file system.
        self._page = {
            path: ((PAGE_FOLDER / file).read_bytes(), kind)
            for path, (file, kind) in _PAGE_FILES.items()
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The response, whatever happens."""
        started = time.perf_counter()
        call = _Call()
        try:
            response, code = await self._dispatch(request, call), "OK"
        except errors.ServerError as error:
            response, code = _error_response(error), error.grpc_code.name
        except ConnectionError:
            raise
        except Exception as error:
            _LOGGER.exception("internal error in %s: %s", call.api or "REST", error)
            internal = errors.InternalError()
            response, code = _error_response(internal), internal.grpc_code.name
        if not request.content.is_eof():
            # The rest of a body that was refused is no next request.
            response.force_close()
        if call.api:
            self._metrics.request(call.model, call.api, "REST", code, started)
        return response

    async def _dispatch(self, request: web.BaseRequest, call: _Call) -> web.Response:
        self._check_origin(request)
        path = request.raw_path.partition("?")[0]
        is_read = request.method in ("GET", "HEAD")
        if path in self._page or path in (METRICS_PATH, MODELS_PATH):
            if not is_read:
                raise errors.MethodNotAllowed("Only GET is answered here.")
            return self._read(path)
        if is_read and (match := _STATUS.fullmatch(path)):
            call.api = "GetModelMetadata" if match["metadata"] else "GetModelStatus"
            target = self._target(match, call)
            if match["metadata"]:
                return self._metadata(target)
            return _json(status.document(self._models, target))
        if request.method == "POST" and (match := _PREDICTION.fullmatch(path)):
            call.api = match["method"].capitalize()
            target = self._target(match, call)
            if call.api == "Regress":
                raise errors.MethodNotImplemented("These models do not regress.")
            with self._in_flight.take() as share:
                return await self._predict(request, target, call.api, share)
        if path.lower().startswith("/v1/"):
            raise errors.BadRequest("Malformed request")
        raise errors.NotFound("Not found")

    def _check_origin(self, request: web.BaseRequest) -> None:
        """Refuses pages of other sites, also those whose name was turned to this machine."""
        bound = (request.get_extra_info("sockname") or ("",))[0]
        named = [request.headers.get("Host", "")]
        if "Origin" in request.headers:
            named.append(request.headers["Origin"].partition("://")[2])
        for host in named:
            if not _is_allowed(host, bound, self._hosts):
                raise errors.Misdirected(
                    "The server does not answer under this name; --allowed-host adds one."
                )

    def _target(self, match: re.Match[str], call: _Call) -> Target:
        """The model that a path means; parts of it are decoded once, and looked up."""
        version = match["version"]
        if version is not None and int(version[:20]) > _MAX_VERSION:
            raise errors.BadRequest("Failed to convert version to numeric.")
        name = _unquoted(match["name"])
        if name in self._models.names():
            call.model = name
        return Target(
            name=name,
            version=None if version is None else int(version),
            label=None if match["label"] is None else _unquoted(match["label"]),
        )

    def _read(self, path: str) -> web.Response:
        if path == METRICS_PATH:
            headers = {**HEADERS, "Content-Type": CONTENT_TYPE}
            return web.Response(body=self._metrics.page(), headers=headers)
        if path == MODELS_PATH:
            return _json(status.listing(self._models))
        body, kind = self._page[path]
        headers = {**HEADERS, **_PAGE_HEADERS}
        return web.Response(
            body=body, content_type=kind, charset="utf-8", headers=headers
        )

    def _metadata(self, target: Target) -> web.Response:
        with self._models.find(target.name, target.version, target.label) as model:
            spec = model_pb2.ModelSpec(name=model.name)
            spec.version.value = model.version
            signatures = get_model_metadata_pb2.SignatureDefMap(
                signature_def=model.signatures
            )
            document = {
                "model_spec": _as_document(spec),
                "metadata": {"signature_def": _as_document(signatures)},
            }
            return _json(document, version=model.version)

    async def _predict(
        self, request: web.BaseRequest, target: Target, api: str, share: Share
    ) -> web.Response:
        _check_media_type(request)
        deadline = asyncio.get_running_loop().time() + self._limits.answer_seconds
        body = await self._body(request, share)
        size = len(body)
        document = await aside(size, lambda: strict_json.parse(body, self._limits))
        name = json_tensors.signature_name(document)
        if api == "Classify":
            answer = await self._answerer.classify(
                target,
                name,
                lambda: json_tensors.examples(document),
                size_bytes=size,
                deadline=deadline,
            )
            form = ""
        else:
            asked = json_tensors.predict_body(document)
            form = asked.form
            answer = await self._answerer.predict(
                target,
                name,
                lambda input_name: json_tensors.strings(asked, input_name),
                size_bytes=size,
                deadline=deadline,
            )

        def dump() -> bytes:
            if not form:
                return json_tensors.dump(json_tensors.classify_answer(answer.outputs))
            return json_tensors.dump(json_tensors.predict_answer(form, answer.outputs))

        values = sum(tensor.size for tensor in answer.outputs.values())
        return _response(await aside(32 * values, dump), version=answer.version)

    async def _body(self, request: web.BaseRequest, share: Share) -> bytes:
        """The whole body.

        Raises:
          TooLarge: more bytes or chunks than allowed.
          Overloaded: no room beside the other requests.
          RequestTimeout: it took too long.
        """
        limit = self._limits.request_bytes
        too_large = errors.TooLarge(f"The body has more than {limit:,} bytes.")
        connection = cast(Connection, request.protocol)
        announced = request.content_length or 0
        if announced > limit:
            connection.ignore_the_rest()
            raise too_large
        share.grow_to(announced)
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        body = bytearray()
        chunks = 0
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                async for data, is_end_of_chunk in request.content.iter_chunks():
                    body += data
                    chunks += is_end_of_chunk
                    if len(body) > limit:
                        connection.ignore_the_rest()
                        raise too_large
                    if chunks > self._limits.chunks:
                        # Millions of tiny chunks would keep the parser busy.
                        connection.ignore_the_rest()
                        raise errors.TooLarge("The body has too many chunks.")
                    share.grow_to(len(body))
                    if len(body) > _PACED_BYTES:
                        await asyncio.sleep(_PACE_SECONDS)
        except TimeoutError as error:
            raise errors.RequestTimeout() from error
        except web.RequestPayloadError as error:
            raise errors.BadRequest("The body is not as its header says.") from error
        return bytes(body)


def _is_allowed(host: str, bound: str, hosts: Collection[str]) -> bool:
    """Whether `host`, as a header gives it, is one of `hosts` or an own address."""
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


def _unquoted(text: str) -> str:
    try:
        return urllib.parse.unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise errors.BadRequest("Malformed request") from error


def _check_media_type(request: web.BaseRequest) -> None:
    kind = request.headers.get("Content-Type", _MEDIA_TYPES[0])
    if kind.partition(";")[0].strip().lower() not in _MEDIA_TYPES:
        raise errors.UnsupportedMediaType("The body must be application/json.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise errors.UnsupportedMediaType("The body must not be compressed.")


def _as_document(message: Any) -> dict[str, Any]:
    """JSON of a protocol buffer as TensorFlow Serving prints it: all fields, own names."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, including_default_value_fields=True
    )


def _json(document: dict[str, Any], version: int | None = None) -> web.Response:
    return _response(json.dumps(document, indent=1).encode(), version=version)


def _response(
    body: bytes, *, version: int | None = None, http_status: int = 200
) -> web.Response:
    headers = dict(HEADERS)
    if version is not None:
        headers[VERSION_HEADER] = str(version)
    return web.Response(
        body=body, status=http_status, content_type="application/json", headers=headers
    )


def _error_response(error: errors.ServerError) -> web.Response:
    body = json_tensors.dump({"error": error.text})
    response = _response(body, http_status=error.http_status)
    if error.grpc_code is grpc.StatusCode.UNAVAILABLE:
        response.headers["Retry-After"] = "1"
    return response
