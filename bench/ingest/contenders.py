"""Who takes the events: each an HTTP server in a process of its own, loaded by another process."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

import psutil

from bench.ingest.client import Load, Seen
from services.local.ports import free_port
from tests.support.eventually import eventually

UVICORN = ("--no-access-log", "--loop", "uvloop", "--http", "httptools", "--log-level", "warning")
READY_SECONDS = 90.0


class BrokenRunError(Exception):
    """Raised when a contender did not answer every request with success: what it did is no measure."""


@dataclass(frozen=True)
class Contender:
    """A server that is ready."""

    name: str
    port: int
    process: psutil.Process


class Turn(NamedTuple):
    """What a contender did under one load."""

    rate: float
    """Events acknowledged, a second."""
    p50: float
    p99: float
    """Milliseconds from a request to its answer."""
    cost: float
    """Microseconds of processor time of the server for an event."""
    busy: float
    """The share of one processor that the load itself took."""


def uvicorn(module: str, port: int) -> tuple[str, ...]:
    """Return how an application is served as tutorials have it, with the quickest parts there are."""
    return ("uvicorn", f"bench.ingest.{module}:app", "--port", str(port), *UVICORN)


@asynccontextmanager
async def contender(name: str, environment: dict[str, str]) -> AsyncIterator[Contender]:
    """Start `ingest`, or the application of a module beside this one, and end it with the block."""
    port = free_port()
    is_ours = name == "ingest"
    module = ("services.ingest",) if is_ours else uvicorn(name, port)
    own = {**os.environ, **environment, "INGEST_PORT": str(port), "LOG_LEVEL": "warning"}
    process = psutil.Popen([sys.executable, "-m", *module], env=own)
    try:
        url = f"http://127.0.0.1:{port}{'/readyz' if is_ours else '/openapi.json'}"
        await eventually(lambda: asyncio.to_thread(_answers, url), within=READY_SECONDS)
        yield Contender(name, port, process)
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (URLError, ConnectionError, TimeoutError):
        return False


async def loaded(server: Contender, load: Load) -> Turn:
    """Load a server, and look how much processor time that took it; raise BrokenRunError."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.ingest.client",
        json.dumps(asdict(load)),
        stdout=asyncio.subprocess.PIPE,
    )
    await asyncio.sleep(load.warm)
    before, began = server.process.cpu_times(), asyncio.get_running_loop().time()
    await asyncio.sleep(load.seconds)
    after, ended = server.process.cpu_times(), asyncio.get_running_loop().time()
    said, _ = await child.communicate()
    seen = Seen(**json.loads(said))
    if seen.failed or not seen.events:
        raise BrokenRunError(f"{server.name}: {seen.failed} requests failed: {seen.answers}")
    rate = seen.events / seen.seconds
    busy = after.user + after.system - before.user - before.system
    return Turn(rate, seen.p50, seen.p99, busy / (ended - began) / rate * 1e6, seen.busy)
