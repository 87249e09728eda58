"""REST over real sockets: what is held open, for how long, and how many."""

import asyncio
import contextlib
import gzip
import time

import pytest

from serving.local_server.answering import Answerer
from serving.local_server.limits import Limits
from serving.local_server.metrics import Metrics
from serving.local_server.rest import Rest

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: localhost\r\n"
SLOW = HEAD + b"Content-Length: 2\r\n\r\n{"
LARGE_BYTES = 32 << 20


class NoModels:
    """Enough for requests that are refused before a model is asked."""

    problem = ""

    def names(self):
        return []

    def listing(self):
        return ["a" * LARGE_BYTES]


@contextlib.asynccontextmanager
async def listening(limits):
    answerer = Answerer(NoModels(), limits, Metrics())
    rest = Rest(answerer, hosts=())
    connections = await rest.connections()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(connections, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    opened = []

    async def connect(first=b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        opened.append(writer)
        writer.write(first)
        return reader, writer

    try:
        yield connections, connect, answerer.in_flight
    finally:
        for writer in opened:
            writer.close()
        server.close()
        await rest.stop()


def open_count(connections):
    return len(connections.server.connections)


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
def test_headers_have_their_time(sent):
    async def run():
        async with listening(Limits(idle_seconds=1)) as (_, connect, _):
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


def test_a_connection_is_kept_between_two_requests():
    async def run():
        async with listening(Limits(idle_seconds=2)) as (connections, connect, _):
            reader, writer = await connect(GET)
            assert await status_of(reader) == 200
            await asyncio.sleep(1.5)
            writer.write(GET)
            assert await status_of(reader) == 200
            assert 1 < await seconds_to_end(reader) < 8
            assert open_count(connections) == 0

    asyncio.run(run())


def test_headers_have_their_size():
    async def run():
        async with listening(Limits(header_bytes=1 << 10)) as (_, connect, _):
            lines = [b"X-%04d: %s\r\n" % (n, b"v" * 900) for n in range(200)]
            reader, _ = await connect(GET[:-2] + b"".join(lines[:50]) + b"\r\n")
            assert await status_of(reader) == 200
            for sent in (b"".join(lines), b"X-A: " + b"v" * 2_000 + b"\r\n"):
                reader, _ = await connect(GET[:-2] + sent + b"\r\n")
                assert await status_of(reader) == 400

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
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_and_the_connection_closed(sent):
    async def run():
        async with listening(Limits()) as (_, connect, _):
            reader, _ = await connect(sent)
            answer = await asyncio.wait_for(reader.read(), 20)
            assert answer.split()[1] == b"400"
            assert b"Traceback" not in answer
            assert b".py" not in answer

    asyncio.run(run())


def test_a_client_that_does_not_read_is_cut_off():
    async def run():
        limits = Limits(request_seconds=1)
        async with listening(limits) as (connections, connect, _):
            await connect(GET.replace(b"/ ", b"/api/models ", 1))
            started = time.monotonic()
            await asyncio.sleep(0.2)
            while open_count(connections) and time.monotonic() < started + 10:
                await asyncio.sleep(0.05)
            assert 0.5 < time.monotonic() - started < 5

    asyncio.run(run())


def test_the_longest_idle_connection_makes_room():
    async def run():
        async with listening(Limits(connections=4)) as (connections, connect, _):
            idle = [await connect() for _ in range(4)]
            await asyncio.sleep(0.1)
            idle[0][1].write(GET)
            assert await status_of(idle[0][0]) == 200
            newest, last = await connect(GET)
            assert await status_of(newest) == 200
            # Not the first one, which has just been answered.
            assert await seconds_to_end(idle[1][0]) < 2
            assert open_count(connections) == 4
            # Those that work are not disturbed; a connection too many is told so.
            working = [idle[0], *idle[2:], (newest, last)]
            for _, writer in working:
                writer.write(SLOW)
            await asyncio.sleep(0.1)
            refused, _ = await connect(GET)
            assert await status_of(refused) == 503
            for reader, writer in working:
                writer.write(b"}")
                assert await status_of(reader) == 400

    asyncio.run(run())


def test_pipelined_requests_are_all_answered():
    async def run():
        async with listening(Limits()) as (_, connect, _):
            reader, _ = await connect(GET * 5)
            assert [await status_of(reader) for _ in range(5)] == [200] * 5

    asyncio.run(run())


def test_drain_finishes_what_is_under_way():
    async def run():
        async with listening(Limits()) as (connections, connect, _):
            reader, writer = await connect(SLOW)
            idle, late = await connect(GET)
            assert await status_of(idle) == 200
            draining = asyncio.create_task(connections.drain(20))
            await asyncio.sleep(0.1)
            late.write(GET)
            assert await status_of(idle) == 200
            assert await idle.read() == b""
            assert not draining.done()
            writer.write(b"}")
            assert await status_of(reader) == 400
            assert await draining == 0
            reader, _ = await connect(SLOW)
            await asyncio.sleep(0.1)
            assert await connections.drain(0.2) == 1

    asyncio.run(run())


def test_a_body_has_its_time():
    async def run():
        async with listening(Limits(request_seconds=1)) as (_, connect, in_flight):
            reader, _ = await connect(HEAD + b"Content-Length: 1000\r\n\r\n{")
            await asyncio.sleep(0.2)
            assert in_flight.taken_bytes == 1_000
            assert await status_of(reader) == 408
            assert in_flight.taken_bytes == 0

    asyncio.run(run())


def test_bytes_under_way_are_bounded():
    async def run():
        limits = Limits(in_flight_bytes=1_000, request_bytes=900)
        async with listening(limits) as (_, connect, in_flight):
            first, writer = await connect(HEAD + b"Content-Length: 800\r\n\r\n")
            await asyncio.sleep(0.1)
            second, _ = await connect(HEAD + b"Content-Length: 300\r\n\r\n")
            assert await status_of(second) == 503
            chunk = b"Transfer-Encoding: chunked\r\n\r\n12c\r\n" + b" " * 300 + b"\r\n"
            third, _ = await connect(HEAD + chunk)
            assert await status_of(third) == 503
            writer.write(b" " * 800)
            assert await status_of(first) == 400
            for size in (901, 1 << 40):  # the second is more than all requests may have
                large, _ = await connect(HEAD + b"Content-Length: %d\r\n\r\n" % size)
                assert await status_of(large) == 413
            last, _ = await connect(HEAD + b"Content-Length: 300\r\n\r\n" + b" " * 300)
            assert await status_of(last) == 400
            assert in_flight.taken_bytes == 0

    asyncio.run(run())


def test_a_packed_body_is_bounded_by_what_it_becomes():
    async def run():
        limits = Limits(request_bytes=1 << 20)
        async with listening(limits) as (_, connect, in_flight):
            head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
            for size, status in ((1 << 20, 400), (100 << 20, 413)):
                packed = gzip.compress(b" " * size, 9)
                reader, _ = await connect(head % len(packed) + packed)
                assert await status_of(reader) == status
            reader, _ = await connect(head % 9 + b"x" * 9)
            assert await status_of(reader) == 400
            assert in_flight.taken_bytes == 0

    asyncio.run(run())


def test_a_body_that_is_announced_is_asked_for():
    async def run():
        async with listening(Limits()) as (_, connect, _):
            expect = HEAD + b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n"
            reader, writer = await connect(expect)
            assert (await reader.readline()).startswith(b"HTTP/1.1 100")
            await reader.readline()
            writer.write(b" " * 100)
            assert await status_of(reader) == 400

    asyncio.run(run())
