"""Loads an ingest from a process of its own.

`python -m bench.ingest.client '{"port": 8080, "key": "…"}'`; see `Load`.

Requests are made before the load begins, and an answer is only looked at for its status and its length, so
that a request costs this process a small part of what it costs the server.  It prints a `Seen`.
"""

import asyncio
import json
import sys
import time
from array import array
from dataclasses import asdict, dataclass, field
from typing import cast

import orjson
import uvloop

from bench.events import lines, partials

EVENTS = 500
"""In a body of lines."""
_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


@dataclass(frozen=True)
class Load:
    """What to send: each connection sends one request after another, without a pause."""

    port: int
    key: str
    connections: int = 256
    seconds: float = 4.0
    warm: float = 1.0
    """Seconds before anything is counted."""
    is_batch: bool = False
    """Bodies of many lines; else one event a request, in Requesty's dialect."""
    made: int = 12_000
    """Different events, sent again and again."""


@dataclass
class Seen:
    """What became of it.  Latencies in milliseconds."""

    events: int = 0
    """Acknowledged while it was counted."""
    seconds: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    failed: int = 0
    """Answers that were no success, at any time."""
    busy: float = 0.0
    """The share of one processor that the load itself took."""
    answers: list[str] = field(default_factory=list)
    """The beginning of some that were no success."""


def requests(load: Load) -> list[bytes]:
    """Return whole requests, ready to be sent."""
    if load.is_batch:
        bodies = lines(partials(load.made), EVENTS)
        return [_request(load, "/v1/events", "application/x-ndjson", body) for body in bodies]
    return [
        _request(
            load, f"/feedback/{item['request_id']}", "application/json", orjson.dumps({"data": item["data"]})
        )
        for item in partials(load.made)
    ]


def _request(load: Load, path: str, kind: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\nAuthorization: Bearer {load.key}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Crowd:
    """All connections, and what they saw."""

    def __init__(self, load: Load) -> None:
        self._requests = requests(load)
        self._next = 0
        self.took = array("d")
        self.seen = Seen()
        self.counts = False

    def request(self) -> bytes:
        """Return what to send next."""
        self._next = (self._next + 1) % len(self._requests)
        return self._requests[self._next]

    def answered(self, head: bytes, seconds: float) -> None:
        """Note an answer."""
        if not head.startswith(b"HTTP/1.1 20"):
            self.seen.failed += 1
            self.seen.answers = [*self.seen.answers[:3], head[:300].decode("latin-1")]
        elif self.counts:
            self.took.append(seconds)


class Sender(asyncio.Protocol):
    """A connection: it sends its next request as soon as the one before is answered."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._began = 0.0
        self._head = b""
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's, which is no subclass
        self._send()

    def _send(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(self._crowd.request())

    def data_received(self, data: bytes) -> None:
        """Wait for the end of the answer, then continue."""
        if self._left:
            self._left -= len(data)
        else:
            self._head += data
            end = self._head.find(_END)
            if end < 0:
                return
            at = self._head.index(_LENGTH) + len(_LENGTH)
            length = int(self._head[at : self._head.index(b"\r", at)])
            self._left = end + len(_END) + length - len(self._head)
        if not self._left:
            self._crowd.answered(self._head, time.perf_counter() - self._began)
            self._head = b""
            self._send()

    def connection_lost(self, _error: Exception | None) -> None:
        """Count a connection that the server ended."""
        if not self._transport.is_closing():
            self._crowd.seen.failed += 1


async def run(load: Load) -> Seen:
    """Send for as long as it was asked for."""
    crowd, loop = Crowd(load), asyncio.get_running_loop()
    transports = [
        (await loop.create_connection(lambda: Sender(crowd), "127.0.0.1", load.port))[0]
        for _ in range(load.connections)
    ]
    await asyncio.sleep(load.warm)
    crowd.counts, began, busy = True, time.monotonic(), time.process_time()
    await asyncio.sleep(load.seconds)
    crowd.counts, seen = False, crowd.seen
    seen.seconds = time.monotonic() - began
    seen.busy = (time.process_time() - busy) / seen.seconds
    for transport in transports:
        transport.close()
    took = sorted(crowd.took)
    seen.events = len(took) * (EVENTS if load.is_batch else 1)
    if took:
        seen.p50, seen.p99 = (took[int(len(took) * share)] * 1e3 for share in (0.5, 0.99))
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(uvloop.run(run(Load(**json.loads(sys.argv[1])))))) + "\n")
