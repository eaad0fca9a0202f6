"""Limits of connections: what one client, and all clients together, may take of a process."""

import resource
from dataclasses import dataclass, replace
from typing import Any

import orjson
from prometheus_client import Counter, Gauge

from services.runtime.http.core.problems import PROBLEM_TYPE, ProblemMeaning, problem_body

OWN_FILES = 128
"""Files that a process has open beside its clients' connections: logs, brokers, key file, store."""


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of connections, in bytes, numbers and seconds."""

    head_bytes: int = 64 << 10
    """Request line and headers; chunk extensions and trailers of one body, too."""
    head_fields: int = 200
    head_seconds: float = 30.0
    """From a connection's, or a request's, first byte to its head's end; also for a trailer, an extension."""
    rest_bytes: int = 32 << 20
    """The rest of a body whose request was already answered."""
    rest_seconds: float = 30.0
    idle_seconds: int = 75
    """Between an answer and the next request: longer than the 60 s of proxies, which must end it first."""
    connections: int = 2000
    pipelined: int = 32
    """Requests that wait behind one that is not answered yet."""
    send_seconds: float = 60.0
    """How long a client may take nothing of an answer."""
    unread_bytes: int = 256 << 20
    """What all clients together have not taken of their answers."""

    @property
    def spare(self) -> int:
        """Connections beyond the limit, which get 503 or the answer to a probe."""
        return max(16, self.connections // 8)


@dataclass(frozen=True)
class ConnectionMetrics:
    """What is counted of connections.  `cut` has the label `reason`, from `REASONS`."""

    open: Gauge
    cut: Counter


REASONS = (
    "crowded",
    "malformed",
    "head_too_large",
    "head_too_slow",
    "rest",
    "pipelined",
    "unread",
    "slow_reader",
)
"""Why connections end early."""


def fitting(bounds: ConnectionLimits) -> ConnectionLimits:
    """Let the process open as many files as its connections need; return what it has room for."""
    wanted = bounds.connections + bounds.spare + OWN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return bounds
    return replace(bounds, connections=max(1, (soft - OWN_FILES) * 8 // 9 - 16))


def crowded(url: bytes) -> bool:
    """Return whether a request is refused when there are too many connections: probes are answered."""
    return url.partition(b"?")[0].removesuffix(b"/") not in (b"/livez", b"/readyz", b"/metrics")


CROWDED = ProblemMeaning(503, "Too many connections", 1)
PROBLEM = orjson.dumps(
    problem_body("overloaded", CROWDED, "as many connections are open as may be; nothing of this was done")
)


async def too_many(_scope: Any, _receive: Any, send: Any) -> None:
    """Answer, as an ASGI application, that there are too many connections."""
    headers = [
        (b"content-type", PROBLEM_TYPE.encode()),
        (b"content-length", b"%d" % len(PROBLEM)),
        (b"retry-after", b"1"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": PROBLEM})
