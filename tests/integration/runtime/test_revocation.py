"""Keys that are made and revoked while ingest and query run as processes: known within seconds, by both."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from services.commands.keys import read_keys, revoke_keys
from services.local.ports import free_port
from services.runtime.keys import Scope
from tests.support.eventually import eventually
from tests.support.ingest import new_key

NOBODY = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9", "CLICKHOUSE_URL": "http://127.0.0.1:9"}
"""Neither server is needed to tell who calls."""


@asynccontextmanager
async def running(service: str, home: Path) -> AsyncIterator[str]:
    """Run a service as a process of its own; its URL."""
    port = free_port()
    own = {"AFTERWORD_HOME": str(home), f"{service.upper()}_PORT": str(port), "LOG_LEVEL": "error"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"services.{service}", env={**os.environ, **NOBODY, **own}
    )
    url = f"http://127.0.0.1:{port}"
    try:
        await eventually(lambda: answers(f"{url}/livez", "", 200), within=90)
        yield url
    finally:
        process.kill()
        await process.wait()


async def answers(url: str, key: str, *statuses: int, method: str = "GET") -> bool:
    """Tell whether a call with a key is answered with one of these statuses."""
    async with httpx.AsyncClient(headers={"x-api-key": key}, timeout=30) as client:
        try:
            answer = await client.request(method, url, json={"data": {}} if method == "POST" else None)
        except httpx.TransportError:
            return False
    return answer.status_code in statuses


async def test_keys_are_rotated_and_revoked_without_a_restart(tmp_path: Path) -> None:
    """The new key gets in, the old one does not any more, and a live page that began with it ends."""
    old = new_key(tmp_path, Scope.WRITE, Scope.READ)
    [record] = read_keys(tmp_path / "keys.toml")
    async with running("ingest", tmp_path) as ingest, running("query", tmp_path) as query:
        calls = (f"{ingest}/feedback/x", "POST"), (f"{query}/v1/feedback", "GET")
        for url, method in calls:
            await eventually(lambda url=url, method=method: answers(url, old, 503, method=method))
        async with (
            httpx.AsyncClient(headers={"x-api-key": old}, timeout=60) as client,
            client.stream("GET", f"{query}/live") as page,
        ):
            assert page.status_code == 200
            new = new_key(tmp_path, Scope.WRITE, Scope.READ)
            revoke_keys(tmp_path / "keys.toml", [record.id])
            for url, method in calls:
                await eventually(lambda url=url, method=method: answers(url, old, 401, method=method))
                assert await answers(url, new, 503, method=method)
            assert "event: signed-out" in "".join([text async for text in page.aiter_text()])
