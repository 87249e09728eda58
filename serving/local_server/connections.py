"""HTTP connections that cannot be held open for nothing.

aiohttp bounds a header line; here the whole header has a size and a time, a client that
does not read its answer is cut off, and there are so many connections and no more.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import web

from serving.local_server.limits import Limits

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_DRAIN_POLL_SECONDS = 0.02
# Between two looks at the rest of a refused body: whoever sends it waits, and neither side
# is kept busy with what nobody reads. A read takes some 256 KB, so 100 MB take four seconds.
_IGNORED_PAUSE_SECONDS = 0.01
_FULL = json.dumps({"error": "The server has too many connections."}).encode()
_HEADER_TOO_LARGE = json.dumps({"error": "The request header is too large."}).encode()
_MALFORMED = {"error": "Malformed HTTP request."}
HEADERS = {
    "Server": "slimline",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}


class Server(web.Server):
    """aiohttp's low-level server, with connections of our own."""

    def __init__(self, handler: Handler, limits: Limits):
        """Serves `handler`, called once a request."""
        super().__init__(self._counted(handler))
        self._limits = limits
        # Connections that wait for a header, the longest waiting first.
        self.waiting: dict[Connection, None] = {}
        self.open_count = 0
        self.under_way_count = 0
        self.is_draining = False

    async def drain(self, seconds: float) -> int:
        """Waits until no request is under way; what comes meanwhile is the last of its
        connection.

        Args:
          seconds: to wait at most.

        Returns:
          How many are still under way.
        """
        self.is_draining = True
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while self.under_way_count and loop.time() < end:
            await asyncio.sleep(_DRAIN_POLL_SECONDS)
        return self.under_way_count

    def _counted(self, handler: Handler) -> Handler:
        async def counted(request: web.BaseRequest) -> web.StreamResponse:
            connection = cast(Connection, request.protocol)
            is_last = True
            self.under_way_count += 1
            try:
                response = await handler(request)
                if self.is_draining:
                    response.force_close()
                # None as long as aiohttp has the choice.
                is_last = response.keep_alive is False
                return response
            finally:
                self.under_way_count -= 1
                connection.end(is_last=is_last)

        return counted

    def __call__(self) -> Any:
        """The protocol of a new connection."""
        if self.open_count >= self._limits.connections:
            if not self.waiting:
                return _Refusal()
            longest = next(iter(self.waiting))
            del self.waiting[longest]
            longest.force_close()
        return Connection(self, self._limits)


class Connection(web.RequestHandler):
    """One connection; at any moment it waits for a header or works on a request."""

    def __init__(self, server: Server, limits: Limits):
        """A connection of `server`."""
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.idle_seconds,
            lingering_time=limits.header_seconds,
            # A bomb would unpack to more than was counted; rest.py refuses packed bodies.
            auto_decompress=False,
        )
        self._server = server
        self._limits = limits
        self._under_way = 0
        self._pending_bytes = 0
        self._is_last = False
        self._is_deaf = False
        self._header_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See base class."""
        super().connection_made(transport)
        self._server.open_count += 1
        self._wait_for_header()
        self._start_header_timer()

    def connection_lost(self, exc: BaseException | None) -> None:
        """See base class."""
        self._server.open_count -= 1
        self._server.waiting.pop(self, None)
        self._stop_header_timer()
        self._stop_write_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See base class; counts what belongs to a header."""
        if self._is_deaf:
            self._pause_ignored()
            return
        # aiohttp calls with nothing where it goes on parsing what it had set aside.
        is_header = bool(data) and not self._under_way and not self._is_last
        if is_header:
            self._start_header_timer()
        before = self._request_count
        super().data_received(data)
        arrived = self._request_count - before
        self._under_way += arrived
        if arrived:
            self._pending_bytes = 0
            self._server.waiting.pop(self, None)
            self._stop_header_timer()
        elif is_header:
            self._pending_bytes += len(data)
            if self._pending_bytes > self._limits.header_bytes and self.transport:
                self.transport.write(_refusal(431, _HEADER_TOO_LARGE))
                self.force_close()

    def ignore_the_rest(self) -> None:
        """What comes from now on is thrown away unparsed; the response still goes out."""
        self._is_deaf = True
        self._pause_ignored()

    def _pause_ignored(self) -> None:
        transport = cast(asyncio.ReadTransport | None, self.transport)
        if transport is None or transport.is_closing():
            return
        transport.pause_reading()
        asyncio.get_running_loop().call_later(
            _IGNORED_PAUSE_SECONDS, self._resume_ignored
        )

    def _resume_ignored(self) -> None:
        transport = cast(asyncio.ReadTransport | None, self.transport)
        if transport is not None and not transport.is_closing():
            transport.resume_reading()

    def end(self, *, is_last: bool) -> None:
        """Called when a request has its answer.

        Args:
          is_last: what comes now is the rest of a refused body, and no header.
        """
        self._under_way -= 1
        self._is_last = is_last
        if not self._under_way and not is_last:
            self._wait_for_header()

    def pause_writing(self) -> None:
        """See base class; a client has only so long to read."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = asyncio.get_running_loop().call_later(
                self._limits.request_seconds, self._abort
            )

    def resume_writing(self) -> None:
        """See base class."""
        self._stop_write_timer()
        super().resume_writing()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What cannot be parsed as HTTP gets a fixed text, not the parser's."""
        response = web.json_response(_MALFORMED, status=400, headers=HEADERS)
        response.force_close()
        return response

    def _wait_for_header(self) -> None:
        self._pending_bytes = 0
        self._server.waiting[self] = None

    def _start_header_timer(self) -> None:
        if self._header_timer is None:
            self._header_timer = asyncio.get_running_loop().call_later(
                self._limits.header_seconds, self.force_close
            )

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class _Refusal(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Says so and closes."""
        writer = cast(asyncio.WriteTransport, transport)
        writer.write(_refusal(503, _FULL))
        writer.close()


def _refusal(status: int, body: bytes) -> bytes:
    reason = {431: "Request Header Fields Too Large", 503: "Service Unavailable"}
    head = (
        f"HTTP/1.1 {status} {reason[status]}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
