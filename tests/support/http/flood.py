"""Far more load than a server can take, from a process of its own, with a line for each event that was sent.

`python -m tests.support.http.flood URL SECONDS CONNECTIONS PREFIX OUT BYTES KEY...`: each connection sends
events of BYTES bytes one after another, with the keys in turn, and does not wait when it is refused.
OUT gets the request id, the status (0: no response), the code of a problem, whether Retry-After was present,
and the milliseconds it took.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, TextIO
from urllib.parse import urlsplit

import uvloop

LATEST_SECONDS = 30.0


class Sent(NamedTuple):
    """What became of one event."""

    request_id: str
    status: int
    code: str
    again: bool
    milliseconds: float
    tenant: int
    """The place of its key."""


class Load(NamedTuple):
    """What one process sends."""

    url: str
    seconds: float
    connections: int
    prefix: str
    out: Path
    size: int
    keys: Sequence[str]


def start(load: Load) -> subprocess.Popen[bytes]:
    """Begin to send, in a process of its own."""
    *options, keys = load
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.http.flood", *map(str, options), *keys],
        cwd=Path(__file__).parents[3],
    )


def read(out: Path) -> Iterator[Sent]:
    """Yield what became of each event that was sent."""
    for line in out.read_text().splitlines():
        yield Sent(*json.loads(line))


async def flood(load: Load) -> None:
    """Send from every connection until the time is over."""
    ends = time.monotonic() + load.seconds
    with load.out.open("w") as out:
        work = (_connection(load, number, ends, out) for number in range(load.connections))
        await asyncio.gather(*work)


async def _connection(load: Load, number: int, ends: float, out: TextIO) -> None:
    place, count = number % len(load.keys), 0
    while time.monotonic() < ends:
        writer = None
        try:
            target = urlsplit(load.url)
            reader, writer = await asyncio.open_connection(target.hostname, target.port)
            while time.monotonic() < ends:
                count += 1
                request_id = f"{load.prefix}-{number}-{count}"
                if not await _post(load, request_id, place, reader, writer, out):
                    break
        except OSError:
            await asyncio.sleep(0.05)
        finally:
            if writer is not None:
                writer.close()


@cache
def _body(size: int) -> bytes:
    """Return the same body each time: to make it anew would cost as much as to send it."""
    return json.dumps({"data": {"comment": "x" * size}}).encode()


async def _post(
    load: Load,
    request_id: str,
    place: int,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    out: TextIO,
) -> bool:
    """Send one event; tell whether the connection continues."""
    body = _body(load.size)
    head = f"POST /feedback/{request_id} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {load.keys[place]}\r\n"
    began = time.monotonic()
    status, code, again, goes_on = 0, "", False, False
    try:
        async with asyncio.timeout(LATEST_SECONDS):
            writer.write(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(answer.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            said = await reader.readexactly(length)
        status = int(answer.split(b" ")[1])
        again, goes_on = b"\r\nretry-after: " in answer, b"connection: close" not in answer
        code = json.loads(said).get("code", "") if status >= 400 and said.startswith(b"{") else ""
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        pass
    took = round((time.monotonic() - began) * 1e3, 1)
    out.write(json.dumps(Sent(request_id, status, code, again, took, place)) + "\n")
    return goes_on


if __name__ == "__main__":
    _, url, seconds, connections, prefix, out, size, *keys = sys.argv
    uvloop.run(flood(Load(url, float(seconds), int(connections), prefix, Path(out), int(size), keys)))
