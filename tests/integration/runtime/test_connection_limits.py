"""Many connections, requests behind each other, requests of two meanings, and unread answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from services.runtime.http.bounded import BoundedProtocol, bounded
from services.runtime.http.limits import ConnectionLimits, ConnectionMetrics
from tests.support.eventually import eventually
from tests.support.http.server import serving

LARGE, HUGE = 400_000, 30_000_000
SIZES = {"/large": LARGE, "/huge": HUGE}
BOUNDS = ConnectionLimits(connections=4, pipelined=3, idle_seconds=600, unread_bytes=HUGE, send_seconds=600)


class Application:
    """Answers with the path, once the gate is open; `/large`, `/huge` with much, `/stream` without end."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun: list[str] = []
        self.sent = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer."""
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{message['type']}.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        path = scope["path"]
        self.begun.append(path)
        while (message := await receive()).get("more_body"):
            pass
        if message["type"] == "http.disconnect":
            return
        await self.gate.wait()
        body = b"x" * SIZES.get(path, 0) or path.encode()
        if path == "/stream":
            await self._stream(send)
            return
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1000):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
            self.sent += 100_000


class Server:
    """A server, its application and its meter."""

    def __init__(self, url: str, application: Application, meter: ConnectionMetrics) -> None:
        self.port = int(url.rpartition(":")[2])
        self.application, self._meter = application, meter

    def cut(self, reason: str) -> float:
        """Return how many connections were ended for a reason."""
        return float(self._meter.cut.labels(reason)._value.get())

    @property
    def open(self) -> float:
        """How many connections are open."""
        return float(self._meter.open._value.get())

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator["Client"]:
        """Connect."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, **options)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()


class Client:
    """A connection that sends what a test says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *parts: bytes) -> None:
        """Send bytes."""
        self.writer.write(b"".join(parts))

    async def answer(self) -> tuple[int, bytes]:
        """Read one answer: its status and body."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 30)
        (length,) = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await self.reader.readexactly(int(length.partition(b":")[2]))
        return int(head.split(b" ")[1]), body

    async def rest(self) -> bytes:
        """Read everything until the connection ends."""
        try:
            return await asyncio.wait_for(self.reader.read(), 30)
        except ConnectionResetError:
            return b""


def get(path: bytes, *headers: bytes) -> bytes:
    """Return a request."""
    return b"\r\n".join([b"GET %b HTTP/1.1" % path, b"host: localhost", *headers, b"", b""])


@asynccontextmanager
async def served(bounds: ConnectionLimits = BOUNDS) -> AsyncIterator[Server]:
    """Serve the application."""
    registry, application = CollectorRegistry(), Application()
    meter = ConnectionMetrics(
        Gauge("open", "Open.", registry=registry), Counter("cut", "Cut.", ["reason"], registry=registry)
    )
    async with serving(application, bounded(bounds, meter)) as url:
        yield Server(url, application, meter)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server with little room."""
    async with served() as found:
        yield found


async def test_one_connection_too_many_gets_503_and_probes_are_answered(server: Server) -> None:
    """503 with Retry-After; a place that becomes free is taken."""
    async with AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(server.client()) for _ in range(BOUNDS.connections)]
        await eventually(lambda: server.open == BOUNDS.connections)
        async with server.client() as late, server.client() as probe:
            late.send(get(b"/feedback"))
            head = await asyncio.wait_for(late.reader.readuntil(b"\r\n\r\n"), 30)
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nretry-after: 1\r\n" in head
            assert b'"code":"overloaded"' in await late.rest()
            probe.send(get(b"/livez"))
            assert await probe.answer() == (200, b"/livez")
            assert await probe.rest() == b""
        crowd[0].send(get(b"/feedback"))
        assert await crowd[0].answer() == (200, b"/feedback")
        crowd[0].writer.close()
        await eventually(lambda: server.open < BOUNDS.connections)
        async with server.client() as next_one:
            next_one.send(get(b"/next"))
            assert await next_one.answer() == (200, b"/next")
    assert server.cut("crowded") == 1
    assert server.application.begun == ["/livez", "/feedback", "/next"]


async def test_far_too_many_connections_end_at_once(server: Server) -> None:
    """Whatever they want, and those that have a place are served."""
    async with AsyncExitStack() as stack:
        served_one = await stack.enter_async_context(server.client())
        for _ in range(BOUNDS.connections - 1 + BOUNDS.spare):
            await stack.enter_async_context(server.client())
        await eventually(lambda: server.open == BOUNDS.connections + BOUNDS.spare)
        for _ in range(50):
            async with server.client() as late:
                assert (await late.rest())[:13] in (b"", b"HTTP/1.1 503 ")
        served_one.send(get(b"/x"))
        assert await served_one.answer() == (200, b"/x")
    await eventually(lambda: server.open == 0)


async def test_requests_behind_each_other_are_answered_in_order(server: Server) -> None:
    """However they are cut."""
    sent = b"".join(get(b"/%d" % number) for number in range(3))
    for size in (len(sent), 7, 50):
        async with server.client() as client:
            for start in range(0, len(sent), size):
                client.send(sent[start : start + size])
                await asyncio.sleep(0)
            assert [await client.answer() for _ in range(3)] == [(200, b"/%d" % n) for n in range(3)]


async def test_more_requests_than_may_wait_are_not_read(server: Server) -> None:
    """Those that were are answered, and then the connection ends."""
    server.application.gate.clear()
    async with server.client() as client:
        client.send(*(get(b"/%d" % number) for number in range(1000)))
        await eventually(lambda: server.cut("pipelined") == 1)
        server.application.gate.set()
        answers = (await client.rest()).count(b"HTTP/1.1 200")
    assert answers == len(server.application.begun) == BOUNDS.pipelined + 1


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n"
POST = b"POST /first HTTP/1.1\r\nhost: localhost\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"

TWO_MEANINGS = {
    "length-and-chunked": POST + b"content-length: 6\r\n" + CHUNKED + b"\r\n0\r\n\r\nG",
    "chunked-and-length": POST + CHUNKED + b"content-length: 6\r\n\r\n0\r\n\r\nG",
    "two-lengths": POST + b"content-length: 0\r\ncontent-length: 44\r\n\r\n",
    "same-length-twice": POST + b"content-length: 0\r\ncontent-length: 0\r\n\r\n",
    "list-of-lengths": POST + b"content-length: 0, 44\r\n\r\n",
    "signed-length": POST + b"content-length: +0\r\n\r\n",
    "hexadecimal-length": POST + b"content-length: 0x0\r\n\r\n",
    "space-before-colon": POST + b"content-length : 44\r\n\r\n",
    "folded-header": POST + b"x-a: b\r\n content-length: 44\r\n\r\n",
    "folded-coding": POST + b"transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "bare-line-feeds": b"POST /first HTTP/1.1\nhost: localhost\ncontent-length: 0\n\n",
    "bare-line-feed-in-header": POST + b"x-a: b\ncontent-length: 44\r\n\r\n",
    "bare-carriage-return": POST + b"x-a: b\rcontent-length: 44\r\n\r\n",
    "zero-byte": POST + b"x-a: b\0c\r\n\r\n",
    "other-coding": POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "unknown-coding": POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two-codings": POST + CHUNKED + b"transfer-encoding: identity\r\n\r\n0\r\n\r\n",
    "chunked-1.0": b"POST /first HTTP/1.0\r\nhost: localhost\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "bad-chunk-size": POST + CHUNKED + b"\r\n0x3\r\nabc\r\n0\r\n\r\n",
    "endless-chunk-size": POST + CHUNKED + b"\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "chunk-without-end": POST + CHUNKED + b"\r\n3\r\nabcX0\r\n\r\n",
    "chunk-line-feed": POST + CHUNKED + b"\r\n3\nabc\r\n0\r\n\r\n",
    "two-hosts": POST + b"host: elsewhere.example\r\ncontent-length: 0\r\n\r\n",
    "other-version": b"POST /first HTTP/2.0\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n",
    "no-version": b"POST /first\r\nhost: localhost\r\n\r\n",
    "coding-before-chunked": POST + b"transfer-encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    "coding-in-a-header-before": POST + b"transfer-encoding: identity\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "compressed-coding": POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "empty-coding": POST + b"transfer-encoding:\r\ncontent-length: 0\r\n\r\n",
    "length-in-trailer": POST + CHUNKED + b"\r\n0\r\ncontent-length: 44\r\n\r\n",
    "coding-in-trailer": POST + CHUNKED + b"\r\n0\r\n" + CHUNKED + b"\r\n",
    "connection-in-trailer": POST + CHUNKED + b"\r\n0\r\nconnection: close\r\n\r\n",
    "two-keys": POST + b"authorization: Bearer a\r\nAuthorization: Bearer b\r\ncontent-length: 0\r\n\r\n",
    "two-x-api-keys": POST + b"x-api-key: a\r\nX-API-Key: a\r\ncontent-length: 0\r\n\r\n",
    "two-idempotency-keys": POST + b"idempotency-key: a\r\nidempotency-key: b\r\ncontent-length: 0\r\n\r\n",
    "two-types": POST + b"content-type: a/b\r\ncontent-type: c/d\r\ncontent-length: 0\r\n\r\n",
    "two-encodings": POST + b"content-encoding: gzip\r\ncontent-encoding: zstd\r\ncontent-length: 0\r\n\r\n",
    "two-origins": POST + b"origin: null\r\norigin: http://a\r\ncontent-length: 0\r\n\r\n",
    "tunnel": b"CONNECT localhost:80 HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "tunnel-to-a-path": b"CONNECT /first HTTP/1.1\r\nhost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("request_", TWO_MEANINGS.values(), ids=TWO_MEANINGS)
async def test_a_request_of_two_meanings_is_refused_with_what_follows(
    server: Server, request_: bytes
) -> None:
    """One 400 and the end of the connection: nothing behind it is taken for a request."""
    async with server.client() as client:
        client.send(request_, SMUGGLED)
        said = await client.rest()
    assert said.startswith(b"HTTP/1.1 400 ")
    assert said.count(b"HTTP/1.1") == 1
    assert "/smuggled" not in server.application.begun
    assert server.cut("malformed") == 1


@pytest.mark.parametrize("request_", TWO_MEANINGS.values(), ids=TWO_MEANINGS)
async def test_requests_before_it_are_answered_and_by_nothing_else(server: Server, request_: bytes) -> None:
    """The refusal of a later request is never taken for the answer to an earlier one."""
    server.application.gate.clear()
    async with server.client() as client:
        client.send(get(b"/before"), request_, SMUGGLED)
        await eventually(lambda: server.cut("malformed") == 1)
        server.application.gate.set()
        assert await client.answer() == (200, b"/before")
        assert await client.rest() == b""
    assert server.application.begun == ["/before"]


async def test_an_answer_that_the_client_does_not_read_stops_growing(server: Server) -> None:
    """The application waits, and what it has sent is what the buffers of two machines hold."""
    async with server.client(limit=1000) as idle:
        idle.send(get(b"/stream"))
        before = 0

        def stands_still() -> bool:
            nonlocal before
            before, last = server.application.sent, before
            return 0 < before == last

        await eventually(stands_still, every=0.2)
        assert server.application.sent < 50_000_000


async def test_a_client_that_takes_nothing_is_cut_off() -> None:
    """After a while; who takes an answer slowly has it whole."""
    async with served(ConnectionLimits(send_seconds=0.4)) as server:
        async with server.client(limit=1000) as idle, server.client() as slow:
            idle.send(get(b"/stream"))
            slow.send(get(b"/large"))
            assert (await slow.answer())[1] == b"x" * LARGE
            await eventually(lambda: server.cut("slow_reader") == 1)
        await eventually(lambda: server.open == 0)


async def test_unread_answers_are_bounded_together(server: Server) -> None:
    """Who has most is cut off, and everybody else keeps what they have."""
    async with AsyncExitStack() as stack:
        greedy = [await stack.enter_async_context(server.client(limit=1000)) for _ in range(3)]
        for client in greedy:
            client.send(get(b"/huge"))
        await eventually(lambda: server.cut("unread") == 2)
        async with server.client() as other:
            other.send(get(b"/small"))
            assert await other.answer() == (200, b"/small")


def test_every_server_has_a_crowd_of_its_own() -> None:
    """Two in one process do not end each other's connections."""
    one, other = bounded(BOUNDS), bounded(BOUNDS)

    assert one.unread is not other.unread
    assert BoundedProtocol.unread is not one.unread
