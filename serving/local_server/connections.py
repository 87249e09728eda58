"""Limits the number of HTTP connections and counts the unfinished requests.

aiohttp limits the headers and the time to wait for them, but neither of these.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import cast

from aiohttp import web

_DRAIN_POLL_SECONDS = 0.02
_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)


class Connections:
    """The protocol factory of a listening socket.

    Attributes:
      server: of aiohttp.
      is_draining: whether connections take no further requests.
    """

    def __init__(self, server: web.Server, most: int):
        """Allows `most` simultaneous connections."""
        self.server = server
        self.is_draining = False
        self._most = most
        self._under_way: list[asyncio.BaseProtocol] = []
        # When the last request of a connection ended.
        self._ended: dict[asyncio.BaseProtocol, float] = {}

    def __call__(self) -> asyncio.BaseProtocol:
        """The protocol of a new connection; the longest idle one makes room for it."""
        opened = self.server.connections
        self._ended = {one: self._ended.get(one, 0.0) for one in opened}
        if len(opened) >= self._most:
            idle = [one for one in opened if one not in self._under_way]
            if not idle:
                return _Refusal()
            min(idle, key=self._ended.__getitem__).force_close()
        return self.server()

    @contextlib.contextmanager
    def working(self, connection: asyncio.BaseProtocol) -> Iterator[None]:
        """Protects a connection from being closed as idle until the end of the block."""
        self._under_way.append(connection)
        try:
            yield
        finally:
            self._under_way.remove(connection)
            self._ended[connection] = asyncio.get_running_loop().time()

    async def drain(self, seconds: float) -> int:
        """Waits, at most `seconds`, for unfinished requests; returns how many are left."""
        self.is_draining = True
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while self._under_way and loop.time() < end:
            await asyncio.sleep(_DRAIN_POLL_SECONDS)
        return len(self._under_way)


class _Refusal(asyncio.Protocol):
    """The protocol of a connection above the limit."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answers 503 and closes."""
        writer = cast(asyncio.WriteTransport, transport)
        writer.write(_REFUSAL)
        writer.close()
