"""A real ingest under far more load than it takes: it sheds, keeps every promise, and recovers."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from schemas.topics import Topology
from services.local.ports import free_port
from services.runtime.settings import KafkaSettings
from tests.support.eventually import eventually
from tests.support.http import flood
from tests.support.ingest.app import new_key
from tests.support.kafka.topic_reader import read_topic

PROCESSES, CONNECTIONS, SECONDS, SIZE = 2, 60, 2.0, 20_000
ROOM = {"INGEST_MAX_INFLIGHT_BYTES": str(1 << 20), "INGEST_MAX_CONNECTIONS": "110"}
"""Less than all connections want: 120 events of 20 kB are 2.4 MB."""
GROWTH = 200 << 20


@asynccontextmanager
async def running(
    kafka: KafkaSettings, home: Path, **variables: str
) -> AsyncIterator[tuple[str, psutil.Process]]:
    """Run ingest as a process of its own; its URL, and itself."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.ingest",
        env={
            **os.environ,
            "AFTERWORD_HOME": str(home),
            "INGEST_PORT": str(port),
            "INGEST_LOOKUP": "false",
            "LOG_LEVEL": "error",
            "KAFKA_BOOTSTRAP_SERVERS": kafka.kafka_bootstrap_servers,
            "KAFKA_TOPIC_GENERATION": str(kafka.kafka_topic_generation),
            **variables,
        },
    )
    url = f"http://127.0.0.1:{port}"
    try:
        await eventually(lambda: _answers(url, "/readyz"), within=90)
        yield url, psutil.Process(process.pid)
    finally:
        process.kill()
        await process.wait()


async def _answers(url: str, path: str) -> bool:
    async with httpx.AsyncClient(timeout=30) as client:
        try:
            return (await client.get(url + path)).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def keys(tmp_path: Path) -> list[str]:
    """Keys of two tenants: of every six connections the first has five."""
    greedy, small = new_key(tmp_path, tenant="greedy"), new_key(tmp_path, tenant="small")
    return [greedy] * 5 + [small]


async def test_ten_times_too_much_is_shed_and_every_promise_is_kept(
    kafka_settings: KafkaSettings, topology: Topology, tmp_path: Path, keys: list[str]
) -> None:
    """Probes answer, 503 has Retry-After, what was acknowledged is there, and what was refused is not."""
    async with running(kafka_settings, tmp_path, **ROOM) as (url, process):
        assert await _answers(url, "/livez")
        before = process.memory_info().rss
        outs = [tmp_path / f"sent-{number}" for number in range(PROCESSES)]
        loads = [
            flood.start(flood.Load(url, SECONDS, CONNECTIONS, f"p{number}", out, SIZE, keys))
            for number, out in enumerate(outs)
        ]
        probes = Counter[bool]()
        most = before
        while any(load.poll() is None for load in loads):
            probes[await _answers(url, "/livez") and await _answers(url, "/metrics")] += 1
            most = max(most, process.memory_info().rss)
            await asyncio.sleep(0.05)
        async with httpx.AsyncClient(headers={"x-api-key": keys[0]}, timeout=30) as client:
            after = await client.post(f"{url}/feedback/after", json={"data": {}})
    sent = [one for out in outs for one in flood.read(out)]
    partitions = await read_topic(kafka_settings, topology.events.name)
    log = Counter(record.key.decode().partition("/")[2] for part in partitions for record in part)
    statuses = Counter((one.status, one.code) for one in sent)

    assert after.status_code == 202
    assert probes[True]
    assert not probes[False]
    assert most - before < GROWTH
    assert statuses[202, ""] > 0
    assert statuses[503, "overloaded"] > 0
    assert set(statuses) <= {(202, ""), (503, "overloaded"), (503, "log_unavailable"), (503, ""), (0, "")}
    assert all(one.again for one in sent if one.status == 503)
    assert all(log[one.request_id] == 1 for one in sent if one.status == 202)
    assert not [one for one in sent if one.code == "overloaded" and log[one.request_id]]
    assert max(log.values()) == 1
    taken = Counter(one.tenant == 5 for one in sent if one.status == 202)
    assert taken[True] / sum(taken.values()) > 0.9 / 6
