"""How long a connection may be idle: between an answer and the next request, and at no other time."""

import asyncio
from urllib.parse import urlsplit

from fastapi import FastAPI

from services.runtime.http.bounded import bounded
from services.runtime.http.limits import ConnectionLimits
from tests.support.http.server import serving

IDLE_SECONDS = 1
REQUEST = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n"


def slow() -> FastAPI:
    """Return an application that answers after longer than a connection may be idle."""
    app = FastAPI()

    @app.post("/", status_code=204)
    async def late() -> None:
        await asyncio.sleep(IDLE_SECONDS * 1.5)

    return app


async def test_a_connection_is_idle_only_between_an_answer_and_the_next_request() -> None:
    """It outlives answers that take longer than that, and ends when nobody asks any more."""
    async with serving(slow(), bounded(ConnectionLimits(idle_seconds=IDLE_SECONDS))) as url:
        target = urlsplit(url)
        reader, writer = await asyncio.open_connection(target.hostname, target.port)
        for _ in range(2):
            writer.write(REQUEST)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 204 ")
        async with asyncio.timeout(60):
            assert await reader.read() == b""
        writer.close()
