"""Where one request ends and the next begins, over real connections: upgrades, trailers, half-closes."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from services.runtime.http.bounded import bounded
from services.runtime.http.limits import ConnectionLimits, ConnectionMetrics
from tests.support.eventually import eventually
from tests.support.http.server import serving

BOUNDS = ConnectionLimits(
    head_bytes=4096, head_seconds=600, rest_bytes=100_000, rest_seconds=600, idle_seconds=75
)
HASTY = ConnectionLimits(head_bytes=1 << 40, head_seconds=0.3, rest_seconds=0.3)
NEXT = b"GET /next HTTP/1.1\r\nhost: localhost\r\n\r\n"
CHUNKED = b"POST /first HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n"


class Application:
    """Answers a request with its body, once the gate is open; remembers what it was given."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = self.left = 0
        self.given: list[tuple[str, bytes]] = []
        self.headers: list[list[tuple[bytes, bytes]]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer; `/refused` without a look at the body, `/left` not before the client has left."""
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{message['type']}.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.begun += 1
        body, more = b"", scope["path"] != "/refused"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left += 1
                return
            body += message["body"]
            more = message["more_body"] or scope["path"] == "/left"
        await self.gate.wait()
        self.given.append((scope["path"], body))
        self.headers.append(scope["headers"])
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})


class Client:
    """A connection that sends what a test says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.head = b""

    async def send(self, *pieces: bytes) -> None:
        """Send pieces, each read by itself by the server, which runs in this loop."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            for _ in range(3):
                await asyncio.sleep(0)

    async def answer(self) -> tuple[int, bytes]:
        """Read one answer: its status and body."""
        self.head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 60)
        (length,) = [one for one in self.head.lower().split(b"\r\n") if one.startswith(b"content-length:")]
        body = await self.reader.readexactly(int(length.partition(b":")[2]))
        return int(self.head.split(b" ")[1]), body

    async def rest(self) -> bytes:
        """Read everything until the connection ends."""
        try:
            return await asyncio.wait_for(self.reader.read(), 60)
        except ConnectionResetError:
            return b""

    async def send_for_ever(self, piece: bytes) -> None:
        """Send the same piece until the server has had enough."""
        try:
            while not self.writer.is_closing():
                await self.send(piece)
        except ConnectionError:
            return


@pytest.fixture
def application() -> Application:
    """An application that remembers."""
    return Application()


@pytest.fixture
async def url(application: Application) -> AsyncIterator[str]:
    """A server that takes few bytes beside bodies, and any time."""
    async with serving(application, bounded(BOUNDS)) as url:
        yield url


@pytest.fixture
def cut() -> Counter:
    """Count the connections that were ended, by reason."""
    return Counter("cut", "Cut.", ["reason"], registry=CollectorRegistry())


@pytest.fixture
async def hasty(application: Application, cut: Counter) -> AsyncIterator[str]:
    """A server that gives little time."""
    meter = ConnectionMetrics(Gauge("open", "Open.", registry=CollectorRegistry()), cut)
    async with serving(application, bounded(HASTY, meter)) as url:
        yield url


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    """Connect to a server."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


def upgrade(to: bytes, *headers: bytes, method: bytes = b"POST") -> bytes:
    """Return the head of a request that asks for another protocol, as Java's HttpClient sends it."""
    first = (b"%b /first HTTP/1.1" % method, b"Connection: Upgrade, HTTP2-Settings", b"Host: localhost")
    return b"\r\n".join([*first, b"HTTP2-Settings: AAEAAEAAAAIAAAAB", b"Upgrade: " + to, *headers, b"", b""])


UPGRADES = {
    "length": (upgrade(b"h2c", b"content-length: 5") + b"hello", b"hello"),
    "chunked": (
        upgrade(b"h2c", b"transfer-encoding: chunked") + b"3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\n\r\n",
        b"hello",
    ),
    "nothing": (upgrade(b"websocket", method=b"GET"), b""),
    "no-body": (upgrade(b"TLS/1.0", b"content-length: 0"), b""),
    "like-a-request": (upgrade(b"h2c", b"content-length: %d" % len(NEXT)) + NEXT, NEXT),
}


@pytest.mark.parametrize(("request_", "body"), UPGRADES.values(), ids=UPGRADES)
@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_an_upgrade_is_ignored_and_the_request_answered(
    url: str, application: Application, request_: bytes, body: bytes, size: int
) -> None:
    """With its body, however it is cut; then the next request of the connection, and an upgrade again."""
    sent = request_ + NEXT + request_ + NEXT
    async with connected(url) as client:
        sending = asyncio.create_task(
            client.send(*(sent[at : at + size] for at in range(0, len(sent), size)))
        )
        answers = [await client.answer() for _ in range(4)]
        await sending
    assert answers == [(200, body), (200, b""), (200, body), (200, b"")]
    assert application.given == [("/first", body), ("/next", b"")] * 2


async def test_a_client_that_asks_before_it_sends_may_ask_for_an_upgrade_too(url: str) -> None:
    """Java's HttpClient does both where `expectContinue` is set."""
    async with connected(url) as client:
        await client.send(upgrade(b"h2c", b"content-length: 5", b"expect: 100-continue"))
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await client.send(b"hello", NEXT)
        assert [await client.answer(), await client.answer()] == [(200, b"hello"), (200, b"")]


async def test_fields_of_a_trailer_are_no_headers(url: str, application: Application) -> None:
    """Neither of this request nor of the next one."""
    trailer = b"Authorization: Bearer other\r\nExpect: 100-continue\r\nHost: elsewhere\r\nUpgrade: h2c\r\n"
    async with connected(url) as client:
        await client.send(CHUNKED + b"trailer: x\r\n\r\n2\r\nhi\r\n0\r\n", trailer + b"\r\n" + NEXT)
        assert [await client.answer(), await client.answer()] == [(200, b"hi"), (200, b"")]
    host = (b"host", b"localhost")
    assert application.headers == [[host, (b"transfer-encoding", b"chunked"), (b"trailer", b"x")], [host]]


BESIDE = {
    "one-value": (b"0\r\nx-trailer: ", b"v" * 1000),
    "fields": (b"0\r\n", b"x-trailer: v\r\n" * 50),
    "extension": (b"1;", b"x" * 1000),
    "extensions": (b"", b"1;extension=%b\r\na\r\n" % (b"x" * 500)),
}


@pytest.mark.parametrize(("begin", "piece"), BESIDE.values(), ids=BESIDE)
@pytest.mark.parametrize("path", [b"/first", b"/refused"])
async def test_what_is_neither_head_nor_body_is_bounded(
    url: str, path: bytes, begin: bytes, piece: bytes
) -> None:
    """Trailers and chunk extensions, whether the request was answered before or not."""
    async with connected(url) as client:
        await client.send(CHUNKED.replace(b"/first", path) + b"\r\n" + begin)
        sending = asyncio.create_task(client.send_for_ever(piece))
        await client.rest()
        await asyncio.wait_for(sending, 60)


async def test_many_small_chunks_are_a_body_like_any_other(url: str) -> None:
    """What their sizes take is more than a head may have."""
    async with connected(url) as client:
        await client.send(CHUNKED + b"\r\n", *[b"1\r\na\r\n" * 500] * 10, b"0\r\n\r\n")
        assert await client.answer() == (200, b"a" * 5000)


@pytest.mark.parametrize("path", [b"/first", b"/refused", b"/left"])
@pytest.mark.parametrize("begin", [b"0\r\nx-trailer: ", b"0\r\n", b"5;x=", b""], ids=repr)
async def test_a_byte_now_and_then_beside_a_body_ends_the_connection(
    hasty: str, cut: Counter, path: bytes, begin: bytes
) -> None:
    """A trailer, an extension, a size that never come to an end."""
    async with connected(hasty) as client:
        await client.send(CHUNKED.replace(b"/first", path) + b"\r\n" + begin)
        sending = asyncio.create_task(client.send_for_ever(b"0"))
        await client.rest()
        await asyncio.wait_for(sending, 60)
    assert cut.labels("rest" if path == b"/refused" else "head_too_slow")._value.get() == 1


async def test_empty_lines_are_skipped_and_keep_no_connection_open(application: Application) -> None:
    """Some old clients send one behind a body; they count as little as silence."""
    protocol = bounded(ConnectionLimits(idle_seconds=1, head_seconds=600, head_bytes=1 << 40))
    async with serving(application, protocol) as url, connected(url) as client:
        await client.send(b"\r\n\r\n", NEXT, b"\r\n", NEXT)
        assert [await client.answer(), await client.answer()] == [(200, b"")] * 2
        sending = asyncio.create_task(client.send_for_ever(b"\r\n"))
        assert await client.rest() == b""
        await asyncio.wait_for(sending, 60)


REFUSED = {
    "empty-lines": b"\r\n" * 100_000,
    "no-request": b"hello " * 30_000,
    "a-large-head": b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 30_000,
    "a-large-extension": CHUNKED + b"\r\n2;" + b"x" * 200_000,
    "two-hosts": NEXT[:-2] + b"host: other\r\n\r\n" + NEXT * 3_000,
}


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("requests", [0, 1, 4])
async def test_what_follows_a_refusal_is_discarded_until_all_answers_are_read(
    application: Application, requests: int, refused: bytes
) -> None:
    """Closing at once would reset the connection: the client's system could drop answers not yet read."""
    bounds = replace(BOUNDS, rest_bytes=1 << 20)
    async with serving(application, bounded(bounds)) as url:
        host, port = url.removeprefix("http://").split(":")

        def talk() -> bytes:
            """Send all before anything is read, as a client with one thread does."""
            with socket.create_connection((host, int(port)), timeout=60) as client:
                client.sendall(NEXT * requests + refused)
                received = b""
                while piece := client.recv(1 << 16):
                    received += piece
                return received

        received = await asyncio.to_thread(talk)
    assert received.count(b"HTTP/1.1 200") == requests
    assert received.count(b"HTTP/1.1 4") <= 1
    assert requests or received


async def test_a_client_that_never_stops_after_a_refusal_is_cut_off(application: Application) -> None:
    """Within the bytes of the rest of a body, and within its time."""
    for bounds in (replace(BOUNDS, rest_bytes=10_000), HASTY):
        async with serving(application, bounded(bounds)) as url, connected(url) as client:
            await client.send(b"hello\r\n\r\n")
            sending = asyncio.create_task(client.send_for_ever(b"x" * 100))
            await client.rest()
            await asyncio.wait_for(sending, 60)


async def test_a_client_that_sends_no_more_gets_all_its_answers(url: str) -> None:
    """Then the connection ends."""
    async with connected(url) as client:
        await client.send(NEXT, CHUNKED + b"\r\n2\r\nhi\r\n0\r\n\r\n")
        client.writer.write_eof()
        assert [await client.answer(), await client.answer()] == [(200, b""), (200, b"hi")]
        assert await client.rest() == b""


async def test_so_does_one_whose_answer_takes_long(url: str, application: Application) -> None:
    """In between it is told to wait, which shows the server whether it is still there."""
    application.gate.clear()
    async with connected(url) as client:
        await client.send(NEXT)
        client.writer.write_eof()
        assert (await client.reader.readuntil(b"\r\n\r\n")) == b"HTTP/1.1 100 Continue\r\n\r\n"
        application.gate.set()
        assert await client.answer() == (200, b"")
        assert await client.rest() == b""


@pytest.mark.parametrize(
    "begun",
    [b"GET /half HTTP/1.1\r\nhost:", CHUNKED + b"\r\n5\r\nhel", CHUNKED + b"\r\n3\r\nhel\r\n0\r\nx: "],
)
async def test_what_was_not_sent_whole_is_dropped(url: str, application: Application, begun: bytes) -> None:
    """The requests before it are answered; it is not, and its application hears that the client left."""
    async with connected(url) as client:
        await client.send(NEXT, begun)
        client.writer.write_eof()
        assert await client.answer() == (200, b"")
        assert await client.rest() == b""
    assert application.given == [("/next", b"")]
    await eventually(lambda: application.begun == 1 + application.left)


async def test_a_client_that_is_gone_for_good_is_noticed(url: str, application: Application) -> None:
    """By its system's answer to a line that a client which still reads skips."""
    async with connected(url) as client:
        await client.send(NEXT.replace(b"/next", b"/left"))
        await eventually(lambda: application.begun == 1)
    await eventually(lambda: application.left == 1)


async def test_answers_name_how_long_the_connection_stays_open(url: str) -> None:
    """So that a pool of connections leaves alone those that are about to end."""
    async with connected(url) as client:
        await client.send(NEXT)
        await client.answer()
        assert b"\r\nconnection: keep-alive\r\nkeep-alive: timeout=75\r\n" in client.head
        await client.send(NEXT.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        await client.answer()
        assert b"keep-alive" not in client.head
        assert await client.rest() == b""
