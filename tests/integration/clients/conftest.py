"""Ingest behind a real socket, over a log in memory: clients are held against what it takes and answers."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.http.browser import browser
from tests.support.http.server import serving
from tests.support.ingest.app import decoded, ingest_over, new_key
from tests.support.ingest.fake_log import FakeLog

__all__ = ["browser"]

MANY = 20
"""Requests that each client sends, on connections that it keeps."""


@dataclass(frozen=True)
class Door:
    """Where it is, a key that may write, and what it wrote."""

    url: str
    key: str
    log: FakeLog

    def ratings(self) -> dict[str, int]:
        """Return the rating of each request, after checking that each was written once."""
        events = decoded(self.log.events)
        found = {event["request_id"]: event["data"]["rating"] for event in events}
        assert len(found) == len(events)
        return found


def expected(name: str, count: int = MANY) -> dict[str, int]:
    """Return the ratings that a client sends: ids with a slash in them."""
    return {f"{name}/{number}": number for number in range(count)}


HEAD = (
    "HTTP/1.1 200 OK\r\nContent-Type: {type}\r\nContent-Length: {length}\r\nConnection: close\r\n"
    "Content-Security-Policy: default-src 'none'; script-src 'self'; connect-src http://127.0.0.1:*\r\n\r\n"
)
"""A strict policy: what works under it works on every page that may call ingest."""


@asynccontextmanager
async def shop(files: Mapping[str, bytes] | None = None) -> AsyncIterator[str]:
    """Serve files at an origin of its own, and an empty page at all other paths."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        body = (files or {}).get(path, b"<p>hi")
        kind = "text/javascript" if path.endswith(".js") else "text/html; charset=utf-8"
        writer.write(HEAD.format(type=kind, length=len(body)).encode() + body)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """Ingest with a key."""
    log, key = FakeLog(), new_key(tmp_path)
    async with serving(ingest_over(log, tmp_path)) as url:
        yield Door(url, key, log)
