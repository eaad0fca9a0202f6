"""Two ingests are restarted by turns, as deployments are: no client that looks where to go is refused."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path

import httpx

from schemas.topics import Topology
from services.local.ports import free_port
from services.runtime.settings import KafkaSettings
from tests.integration.ingest.test_process import _answers, process
from tests.support.eventually import eventually
from tests.support.kafka.topic_reader import read_topic

LOOK_SECONDS = 1.0
"""How often clients look which ingests are ready."""


class Endpoints:
    """Where clients find ingest: what a load balancer or a cluster's DNS knows."""

    def __init__(self, *urls: str) -> None:
        self._urls = urls
        self.ready: list[str] = []

    async def look(self) -> None:
        """Ask each whether it is ready."""
        async with httpx.AsyncClient() as client:
            self.ready = [url for url in self._urls if await _is_ready(client, url)]

    @asynccontextmanager
    async def kept_up_to_date(self) -> AsyncIterator[None]:
        """Look again and again, in the block."""
        await self.look()
        stop = asyncio.Event()

        async def looking() -> None:
            while not stop.is_set():
                try:
                    await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
                except TimeoutError:
                    await self.look()

        task = asyncio.create_task(looking())
        try:
            yield
        finally:
            stop.set()
            await task


async def _is_ready(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(f"{url}/readyz")).status_code == 200
    except httpx.TransportError:
        return False


class Senders:
    """Clients with a connection for each request, and clients that keep theirs."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints, self._stop = endpoints, asyncio.Event()
        self.sent: set[str] = set()
        self.troubles: list[str] = []

    async def run(self, name: str, *, keeps: bool) -> None:
        """Send to the ready ones by turns, until the end."""
        kept = httpx.AsyncClient(timeout=30)
        for number in count():
            if self._stop.is_set():
                break
            await eventually(lambda: self._endpoints.ready, within=60)
            url = self._endpoints.ready[number % len(self._endpoints.ready)]
            client = kept if keeps else httpx.AsyncClient(timeout=30)
            await self._send(client, url, f"{name}-{number}")
            if not keeps:
                await client.aclose()
        await kept.aclose()

    async def _send(self, client: httpx.AsyncClient, url: str, request_id: str) -> None:
        try:
            answer = await client.post(f"{url}/feedback/{request_id}", json={"data": {}})
        except httpx.TransportError as error:
            self.troubles.append(f"{url} {request_id}: {error!r}")
            return
        if answer.status_code == 202:
            self.sent.add(request_id)
        else:
            self.troubles.append(f"{url} {request_id}: {answer.status_code} {answer.text}")

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Send in the block."""
        tasks = [
            asyncio.create_task(self.run(f"{kind}{number}", keeps=kind == "kept"))
            for kind in ("new", "kept")
            for number in range(2)
        ]
        try:
            yield
        finally:
            self._stop.set()
            await asyncio.gather(*tasks)


async def test_a_rolling_restart_refuses_no_request(
    kafka_settings: KafkaSettings, topology: Topology, tmp_path: Path
) -> None:
    """Neither a connection nor a request, new or kept; and every answer is true."""
    ports = [free_port(), free_port()]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    endpoints = Endpoints(*urls)
    senders = Senders(endpoints)

    async with AsyncExitStack() as stack:

        async def start(port: int) -> asyncio.subprocess.Process:
            return await stack.enter_async_context(
                process(
                    tmp_path,
                    INGEST_PORT=str(port),
                    INGEST_DRAIN_SECONDS="3",
                    KAFKA_BOOTSTRAP_SERVERS=kafka_settings.kafka_bootstrap_servers,
                    KAFKA_TOPIC_GENERATION=str(topology.generation),
                )
            )

        processes = [await start(port) for port in ports]
        for url in urls:
            await _answers(url)
        async with endpoints.kept_up_to_date(), senders.at_work():
            await eventually(lambda: len(senders.sent) > 50, within=60)
            for number, port in enumerate(ports):
                processes[number].send_signal(signal.SIGTERM)
                assert await asyncio.wait_for(processes[number].wait(), 60) == 0
                processes[number] = await start(port)
                await eventually(lambda: len(endpoints.ready) == 2, within=60)
            before = len(senders.sent)
            await eventually(lambda: len(senders.sent) > before + 50, within=60)

    assert senders.troubles == []
    partitions = await read_topic(kafka_settings, topology.events.name)
    written = {record.key.decode().partition("/")[2] for partition in partitions for record in partition}
    assert senders.sent <= written
