"""Services as processes of their own that reach neither Kafka nor ClickHouse: what their rim does alone."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil

from services.local.ports import free_port
from tests.support.eventually import eventually

NOBODY = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9", "CLICKHOUSE_URL": "http://127.0.0.1:9"}
"""Neither server is needed to tell who calls."""


@asynccontextmanager
async def running(service: str, home: Path, **variables: str) -> AsyncIterator[str]:
    """Run a service as a process of its own; its URL."""
    async with process(service, home, **variables) as (url, _):
        yield url


@asynccontextmanager
async def process(service: str, home: Path, **variables: str) -> AsyncIterator[tuple[str, psutil.Process]]:
    """Run a service as a process of its own; its URL, and itself."""
    port = free_port()
    own = {"AFTERWORD_HOME": str(home), f"{service.upper()}_PORT": str(port), "LOG_LEVEL": "error"}
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"services.{service}", env={**os.environ, **NOBODY, **own, **variables}
    )
    url = f"http://127.0.0.1:{port}"
    try:
        await eventually(lambda: answers(f"{url}/livez", "", 200), within=90)
        yield url, psutil.Process(started.pid)
    finally:
        started.kill()
        await started.wait()


async def answers(url: str, key: str, *statuses: int, method: str = "GET") -> bool:
    """Return whether a call with a key is answered with one of these statuses."""
    async with httpx.AsyncClient(headers={"x-api-key": key}, timeout=120) as client:
        try:
            answer = await client.request(method, url, json={"data": {}} if method == "POST" else None)
        except httpx.TransportError:
            return False
    return answer.status_code in statuses
