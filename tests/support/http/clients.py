"""HTTP clients that are held against ingest: which are run, and which are replayed from what they write."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

RUN, REPLAYED = "run", "replayed"

CLIENTS = {
    "curl": RUN,
    "Java's HttpClient": RUN,
    "Node's fetch": RUN,
    "Python's requests": RUN,
    "Python's httpx": RUN,
    "Python's urllib": RUN,
    "Chromium's sendBeacon and fetch": RUN,
    "nginx as a proxy": RUN,
    ".NET's HttpClient": REPLAYED,
    "Windows PowerShell": REPLAYED,
}
"""The rows of the table in docs/http.md, and how each is tested in tests/integration/clients."""


def program(*names: str) -> str:
    """Return the path of a program that a test runs; without it the test is skipped, and fails in CI."""
    for name in names:
        found = shutil.which(name, path=None) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
        if found is not None:
            return found
    if os.environ.get("CI"):
        pytest.fail(f"there is no {names[0]} here")
    pytest.skip(f"there is no {names[0]} here")


async def output(*command: str | Path, stdin: bytes | None = None) -> str:
    """Run a program to its end; return what it printed, after checking that nothing went wrong."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin)
    assert process.returncode == 0, err.decode(errors="replace")
    return out.decode()


class Replayed(NamedTuple):
    """An answer on a connection."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Connection:
    """A connection on which a client's bytes are replayed."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, *pieces: bytes) -> None:
        """Write pieces of a request."""
        self.writer.write(b"".join(pieces))

    async def answer(self) -> Replayed:
        """Read one answer."""
        async with asyncio.timeout(30):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
            }
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Replayed(int(head[0].split()[1]), headers, body)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """Connect to a server."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()
