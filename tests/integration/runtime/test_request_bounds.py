"""Limits for clients that send too much, or too slowly: over real connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.runtime.http.bounded import bounded
from services.runtime.http.limits import ConnectionLimits
from tests.support.http.server import serving

FEW_BYTES = ConnectionLimits(head_bytes=4096, head_seconds=600, rest_bytes=100_000, rest_seconds=600)
LITTLE_TIME = ConnectionLimits(head_seconds=0.3, rest_seconds=0.3)
HEAD = b"POST /%b HTTP/1.1\r\nhost: localhost\r\n"
WHOLE = HEAD % b"x" + b"content-length: 0\r\n\r\n"


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Refuse every request by its head alone."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"no"})


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(scope="module")
async def stingy() -> AsyncIterator[str]:
    """A server that takes few bytes, and any time."""
    async with serving(application, bounded(FEW_BYTES)) as url:
        yield url


@pytest.fixture(scope="module")
async def hasty() -> AsyncIterator[str]:
    """A server that gives little time."""
    async with serving(application, bounded(LITTLE_TIME)) as url:
        yield url


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Streams]:
    """Connect to a server."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


async def status(reader: asyncio.StreamReader) -> int:
    """Read one answer, and return its status."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    (length,) = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    await reader.readexactly(int(length.partition(b":")[2]))
    return int(head.split(b" ")[1])


async def ended(reader: asyncio.StreamReader) -> bool:
    """Wait until the server has ended the connection."""
    try:
        return await asyncio.wait_for(reader.read(), 30) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    "head",
    [
        HEAD % b"x" + b"x-large: " + b"v" * 5000,
        HEAD % (b"x" * 5000),
        HEAD % b"x" + b"x-many: v\r\n" * 1000,
    ],
    ids=["header", "path", "headers"],
)
async def test_a_head_that_is_too_large_is_refused(stingy: str, head: bytes) -> None:
    """In one piece; the application never hears of it."""
    async with connected(stingy) as (reader, writer):
        writer.write(head.rstrip() + b"\r\n\r\n")

        assert await status(reader) == 431
        assert await ended(reader)


async def test_a_head_without_end_is_refused_before_it_fills_the_memory(stingy: str) -> None:
    """One endless header, in pieces: whether the answer can still be read is another matter."""
    async with connected(stingy) as (_, writer):
        writer.write(HEAD % b"x" + b"x-endless: ")

        await asyncio.wait_for(_forever(writer, b"v" * 1000), 60)


async def _forever(writer: asyncio.StreamWriter, piece: bytes) -> None:
    """Send until the server has had enough."""
    try:
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
    except ConnectionError:
        return


@pytest.mark.parametrize("sent", [b"", b"POST /x HT", WHOLE[:-2]], ids=["nothing", "line", "headers"])
async def test_a_head_that_does_not_arrive_ends_the_connection(hasty: str, sent: bytes) -> None:
    """With an answer if there is something to answer."""
    async with connected(hasty) as (reader, writer):
        writer.write(sent)

        if sent:
            assert await status(reader) == 408
        assert await ended(reader)


async def test_so_does_one_that_comes_after_a_whole_request(hasty: str) -> None:
    """What the connection was good for before is no merit."""
    async with connected(hasty) as (reader, writer):
        writer.write(WHOLE)
        assert await status(reader) == 403
        writer.write(WHOLE[:20])

        assert await status(reader) == 408
        assert await ended(reader)


async def test_a_small_unread_body_leaves_the_connection_as_it_was(stingy: str) -> None:
    """Most refused requests: the next one is answered, whole heads and all."""
    async with connected(stingy) as (reader, writer):
        for _ in range(3):
            writer.write(HEAD % b"x" + b"content-length: 50000\r\n\r\n" + b"b" * 10_000)
            assert await status(reader) == 403
            writer.write(b"b" * 40_000)


async def test_a_large_unread_body_ends_the_connection(stingy: str) -> None:
    """However willing the client is to continue."""
    async with connected(stingy) as (reader, writer):
        writer.write(HEAD % b"x" + b"transfer-encoding: chunked\r\n\r\n")
        assert await status(reader) == 403
        sending = asyncio.create_task(_forever(writer, b"2710\r\n" + b"b" * 10_000 + b"\r\n"))

        assert await ended(reader)
        await asyncio.wait({sending})


async def test_so_does_a_slow_one(hasty: str) -> None:
    """A byte now and then would keep it open for as long as the client likes."""
    async with connected(hasty) as (reader, writer):
        writer.write(HEAD % b"x" + b"content-length: 50000\r\n\r\n")
        assert await status(reader) == 403
        sending = asyncio.create_task(_forever(writer, b"b"))

        assert await ended(reader)
        await asyncio.wait({sending})


async def test_what_is_no_request_is_still_400(stingy: str) -> None:
    """As uvicorn has it."""
    async with connected(stingy) as (reader, writer):
        writer.write(b"NONSENSE\r\n\r\n")

        assert await status(reader) == 400
        assert await ended(reader)


async def test_the_request_at_work_hears_that_its_client_left_with_others_behind_it() -> None:
    """The last one is not the only one: what works for nobody ends, and its answer goes nowhere."""
    began, heard = asyncio.Event(), asyncio.Event()

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await application(scope, receive, send)
            return
        began.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        await application(scope, receive, send)
        heard.set()

    async with serving(waiting, bounded(FEW_BYTES)) as url:
        async with connected(url) as (_, writer):
            writer.write(WHOLE + WHOLE)
            await asyncio.wait_for(began.wait(), 30)
        await asyncio.wait_for(heard.wait(), 30)
