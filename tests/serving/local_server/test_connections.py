"""HTTP connections over real sockets: what is held open, for how long, and how many."""

import asyncio
import contextlib
import json
import time

import pytest
from aiohttp import web

from serving.local_server import connections
from serving.local_server.answering import Answerer
from serving.local_server.limits import InFlight, Limits
from serving.local_server.metrics import Metrics
from serving.local_server.rest import Rest

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE_BYTES = 32 << 20


async def answer(request):
    await request.read()
    if request.path == "/slow":
        await asyncio.sleep(0.5)
    body = bytes(LARGE_BYTES) if request.path == "/large" else b"fine"
    return web.Response(body=body)


@contextlib.asynccontextmanager
async def listening(limits, handler=answer):
    server = connections.Server(handler, limits)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    opened = []

    async def connect(first=b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        opened.append(writer)
        writer.write(first)
        return reader, writer

    try:
        yield server, connect
    finally:
        for writer in opened:
            writer.close()
        await site.stop()
        await runner.cleanup()


async def status_of(reader):
    """Status of the next response, its body left out; 0 where the connection ends."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return 0
    length = next(
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    )
    await reader.readexactly(length)
    return int(head.split()[1])


async def seconds_to_end(reader):
    started = time.monotonic()
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), 20)
    return time.monotonic() - started


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: 1"]
)
def test_a_header_has_its_time(sent):
    async def run():
        async with listening(Limits(header_seconds=1)) as (_, connect):
            reader, writer = await connect(sent)
            assert 0.5 < await seconds_to_end(reader) < 5
            # Also where something comes all the time.
            reader, writer = await connect(GET[:-2] + b"X-A: ")
            started = time.monotonic()
            with contextlib.suppress(ConnectionError):
                while not reader.at_eof() and time.monotonic() < started + 10:
                    writer.write(b"x")
                    await asyncio.sleep(0.1)
            assert time.monotonic() - started < 5

    asyncio.run(run())


def test_a_connection_is_kept_longer_than_a_header_may_take():
    async def run():
        limits = Limits(header_seconds=1, idle_seconds=3)
        async with listening(limits) as (server, connect):
            reader, writer = await connect(GET)
            assert await status_of(reader) == 200
            await asyncio.sleep(1.5)
            writer.write(GET)
            assert await status_of(reader) == 200
            assert 2 < await seconds_to_end(reader) < 8
            assert server.open_count == 0

    asyncio.run(run())


def test_a_header_has_its_size():
    async def run():
        async with listening(Limits(header_bytes=16 << 10)) as (_, connect):
            lines = b"".join(b"X-%04d: %s\r\n" % (n, b"v" * 100) for n in range(100))
            reader, writer = await connect(GET[:-2] + lines + b"\r\n")
            assert await status_of(reader) == 200
            reader, writer = await connect(GET[:-2])
            refused = asyncio.create_task(status_of(reader))
            with contextlib.suppress(ConnectionError):
                while not refused.done():
                    writer.write(lines)
                    await asyncio.sleep(0.01)
            assert await refused in (400, 431)

    asyncio.run(run())


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
        + b"/etc/passwd" * 20
        + b"\r\n\r\n",
        b"GET /etc/passwd HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : /etc/passwd\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_http_gets_a_fixed_text(sent):
    async def run():
        async with listening(Limits()) as (_, connect):
            reader, _ = await connect(sent)
            head, _, body = (await asyncio.wait_for(reader.read(), 20)).partition(
                b"\r\n\r\n"
            )
            assert head.split()[1] == b"400"
            assert json.loads(body) == {"error": "Malformed HTTP request."}

    asyncio.run(run())


def test_a_client_that_does_not_read_is_cut_off():
    async def run():
        async with listening(Limits(request_seconds=1)) as (server, connect):
            await connect(GET.replace(b"/ ", b"/large ", 1))
            started = time.monotonic()
            await asyncio.sleep(0.2)
            while server.open_count and time.monotonic() < started + 10:
                await asyncio.sleep(0.05)
            assert 0.5 < time.monotonic() - started < 5

    asyncio.run(run())


def test_the_longest_idle_connection_makes_room():
    async def run():
        async with listening(Limits(connections=4)) as (server, connect):
            idle = [await connect() for _ in range(4)]
            await asyncio.sleep(0.1)
            reader, _ = await connect(GET)
            assert await status_of(reader) == 200
            assert await seconds_to_end(idle[0][0]) < 2
            assert server.open_count == 4
            # Those that work are not disturbed; a connection too many is told so.
            for _, writer in idle[1:]:
                writer.write(GET.replace(b"/ ", b"/slow ", 1))
            busy, _ = await connect(GET.replace(b"/ ", b"/slow ", 1))
            await asyncio.sleep(0.1)
            refused, _ = await connect(GET)
            assert await status_of(refused) == 503
            assert await status_of(busy) == 200
            assert [await status_of(reader) for reader, _ in idle[1:]] == [200] * 3

    asyncio.run(run())


def test_pipelined_requests_are_all_answered():
    async def run():
        async with listening(Limits(header_seconds=1)) as (_, connect):
            slow = GET.replace(b"/ ", b"/slow ", 1)
            reader, _ = await connect(slow * 4 + GET)
            assert [await status_of(reader) for _ in range(5)] == [200] * 5

    asyncio.run(run())


def test_drain_finishes_what_is_under_way():
    async def run():
        async with listening(Limits()) as (server, connect):
            body = b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
            reader, writer = await connect(body)
            idle, late = await connect(GET)
            assert await status_of(idle) == 200
            draining = asyncio.create_task(server.drain(20))
            await asyncio.sleep(0.1)
            late.write(GET)
            assert await status_of(idle) == 200
            assert await idle.read() == b""
            assert not draining.done()
            writer.write(b"1234")
            assert await status_of(reader) == 200
            assert await draining == 0
            reader, _ = await connect(body)
            await asyncio.sleep(0.1)
            assert await server.drain(0.2) == 1

    asyncio.run(run())


class NoModels:
    """Enough for requests that are refused before a model is asked."""

    problem = ""

    def names(self):
        return []


def rest(limits):

    metrics = Metrics()
    in_flight = InFlight(limits.in_flight_bytes)
    answerer = Answerer(NoModels(), limits, metrics)
    return Rest(answerer, limits, metrics, in_flight, hosts=()), in_flight


HEAD = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: localhost\r\n"


def test_a_body_has_its_time():
    async def run():
        handler, in_flight = rest(Limits(request_seconds=1))
        async with listening(Limits(), handler.handle) as (_, connect):
            reader, _ = await connect(HEAD + b"Content-Length: 1000\r\n\r\n{")
            await asyncio.sleep(0.2)
            assert in_flight.taken_bytes == 1_000
            assert await status_of(reader) == 408
            assert in_flight.taken_bytes == 0

    asyncio.run(run())


def test_chunks_are_counted():
    async def run():
        handler, _ = rest(Limits(chunks=100))
        async with listening(Limits(), handler.handle) as (_, connect):
            head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
            reader, _ = await connect(head + b"1\r\n \r\n" * 99 + b"0\r\n\r\n")
            assert await status_of(reader) == 400
            reader, _ = await connect(head + b"1\r\n \r\n" * 3_000_000)
            assert await status_of(reader) == 413

    asyncio.run(run())


def test_bytes_under_way_are_bounded():
    async def run():
        limits = Limits(in_flight_bytes=1_000, request_bytes=900)
        handler, in_flight = rest(limits)
        async with listening(Limits(), handler.handle) as (_, connect):
            first, writer = await connect(HEAD + b"Content-Length: 800\r\n\r\n")
            await asyncio.sleep(0.1)
            second, _ = await connect(HEAD + b"Content-Length: 300\r\n\r\n")
            assert await status_of(second) == 503
            large, _ = await connect(HEAD + b"Content-Length: 901\r\n\r\n")
            assert await status_of(large) == 413
            writer.write(b" " * 800)
            assert await status_of(first) == 400
            third, _ = await connect(HEAD + b"Content-Length: 300\r\n\r\n" + b" " * 300)
            assert await status_of(third) == 400
            assert in_flight.taken_bytes == 0

    asyncio.run(run())


def test_a_body_that_is_announced_is_asked_for():
    async def run():
        handler, _ = rest(Limits(request_bytes=900))
        async with listening(Limits(), handler.handle) as (_, connect):
            expect = HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n"
            reader, writer = await connect(expect % 100)
            assert (await reader.readline()).startswith(b"HTTP/1.1 100")
            await reader.readline()
            writer.write(b" " * 100)
            assert await status_of(reader) == 400
            # One that would be refused is not.
            reader, writer = await connect(expect % 1_000)
            assert await status_of(reader) == 413

    asyncio.run(run())
