"""What only a real connection shows: slow and broken clients, pieces, refusals before the body."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.http.server import serving
from tests.support.ingest.app import decoded, ingest_over
from tests.support.ingest.fake_log import FakeLog

HEAD = b"POST /feedback/x HTTP/1.1\r\nhost: localhost\r\n"
BODY = b'{"data":{"rating":5}}'


@pytest.fixture
def log() -> FakeLog:
    """A log in memory."""
    return FakeLog()


@pytest.fixture
async def url(log: FakeLog, tmp_path: Path) -> AsyncIterator[str]:
    """A server over that log, which waits a quarter of a second for a body."""
    async with serving(ingest_over(log, tmp_path, ingest_body_seconds=0.25)) as url:
        yield url


class Connection:
    """A client that sends byte by byte what a test says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        """Send a segment, and give the server, which runs in this loop, turns to read it by itself."""
        self.writer.write(data)
        await self.writer.drain()
        for _ in range(3):
            await asyncio.sleep(0)

    async def status(self) -> int:
        """Read one answer to its end, and return its status."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 30)
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                await self.reader.readexactly(int(line.partition(b":")[2]))
        return int(head.split(b" ")[1])


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """Connect to a server."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


async def test_a_body_in_pieces_is_one_body(url: str, log: FakeLog) -> None:
    """With a length or chunked, and several requests on one connection."""
    async with connected(url) as client:
        await client.send(HEAD + b"content-length: %d\r\n\r\n" % len(BODY))
        await client.send(BODY[:5])
        await client.send(BODY[5:])
        assert await client.status() == 202
        await client.send(HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\n" + BODY[:5] + b"\r\n")
        await client.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY) - 5, BODY[5:]))
        assert await client.status() == 202

    assert [event["data"] for event in decoded(log.events)] == [{"rating": 5}] * 2


@pytest.mark.parametrize("sent", [b"", b'{"data"'])
async def test_a_body_that_does_not_arrive_is_408(url: str, log: FakeLog, sent: bytes) -> None:
    """Not a byte of it, or only its beginning."""
    async with connected(url) as client:
        await client.send(HEAD + b"content-length: 100\r\n\r\n" + sent)
        assert await client.status() == 408
    assert not log.events


async def test_a_chunked_body_is_cut_off_at_the_limit(url: str) -> None:
    """It has no length to judge by; the connection serves the next request."""
    async with connected(url) as client:
        await client.send(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        for _ in range(17):
            await client.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        assert await client.status() == 413
        await client.send(b"0\r\n\r\n" + HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY)
        assert await client.status() == 202


async def test_a_client_that_asks_first_is_refused_before_it_sends(url: str) -> None:
    """Expect: 100-continue, as curl sends for large bodies."""
    async with connected(url) as client:
        await client.send(HEAD + b"expect: 100-continue\r\ncontent-length: 9999999\r\n\r\n")
        assert await client.status() == 413
    async with connected(url) as client:
        await client.send(HEAD + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(BODY))
        assert await client.status() == 100
        await client.send(BODY)
        assert await client.status() == 202


async def test_a_client_that_leaves_in_the_middle_of_its_body_writes_nothing(url: str, log: FakeLog) -> None:
    """And the server continues."""
    async with connected(url) as client:
        await client.send(HEAD + b"content-length: 100\r\n\r\n" + b'{"data":{}}')
    async with connected(url) as client:
        await client.send(HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY)
        assert await client.status() == 202
    assert len(log.events) == 1


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"POST /feedback/\xff HTTP/1.1", 400),
        (b"POST /feedback/x\r\n HTTP/1.1", 400),
        (b"NONSENSE", 400),
        (b"POST http://evil.example/feedback/x HTTP/1.1", None),
        (b"OPTIONS * HTTP/1.1", None),
        (b"POST // HTTP/1.1", None),
        (b"POST /feedback/../livez HTTP/1.1", 404),
        (b"HEAD /livez HTTP/1.1", 200),
    ],
)
async def test_no_request_line_whatever_makes_a_server_error(
    url: str, request_line: bytes, status: int | None
) -> None:
    """What is no HTTP, or no path of ours, is refused."""
    async with connected(url) as client:
        await client.send(
            request_line + b"\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        )
        answer = await asyncio.wait_for(client.reader.read(), 30)
    found = int(answer.split(b" ")[1])

    assert found == status or (status is None and 400 <= found < 500)
