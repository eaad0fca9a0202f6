"""Kafka stops, dies and comes back: what ingest answers meanwhile is true, and it continues by itself."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas.identity import version_of
from schemas.limits import MIB
from schemas.topics import Topology
from services.ingest.app import IngestApp, build, key_file
from services.runtime.settings import KafkaSettings
from tests.integration.ingest.conftest import Running, ready, settings_for
from tests.support.eventually import eventually
from tests.support.http.server import serving
from tests.support.ingest.app import code_of
from tests.support.kafka.topics import create_topics
from tests.support.stack.local_servers import OwnKafka


class Outage:
    """An ingest without keys, and the Kafka behind it, which the test may stop."""

    def __init__(self, kafka: OwnKafka, settings: KafkaSettings, home: Path, stack: AsyncExitStack) -> None:
        self.kafka, self.settings, self._home, self._stack = kafka, settings, home, stack

    async def ingest(self, *, within: float = 60, **changes: Any) -> Running:
        """Return a server with these settings, ready within so many seconds; 0 does not wait."""
        chosen = settings_for(self.settings, self._home, **changes)
        service = build(chosen, key_file(chosen.keys_file))
        url = await self._stack.enter_async_context(serving(IngestApp(service)))
        if within:
            await ready(url, within=within)
        return Running(url, chosen, service, {})

    def pause(self) -> None:
        """Stop Kafka in the middle of whatever it does; connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let Kafka continue."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self.kafka.child is not None
        with suppress(ProcessLookupError):
            os.killpg(self.kafka.child.pid, number)


@pytest.fixture(scope="module")
async def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OwnKafka]:
    """A Kafka for the tests here, which each leaves running."""
    server = OwnKafka(tmp_path_factory.mktemp("kafka"))
    await server.start()
    yield server
    await server.kill()


@pytest.fixture
async def outage(own_kafka: OwnKafka, generations: Iterator[int], tmp_path: Path) -> AsyncIterator[Outage]:
    """That Kafka, with topics of the test's own."""
    topology = Topology(next(generations))
    await create_topics(own_kafka.settings, topology, partitions=2)
    settings = own_kafka.settings.replace(kafka_topic_generation=topology.generation)
    async with AsyncExitStack() as stack:
        made = Outage(own_kafka, settings, tmp_path, stack)
        try:
            yield made
        finally:
            made.resume()


async def taken(client: httpx.AsyncClient, request_id: str) -> None:
    """Send until it is accepted: a Kafka that has just come back may miss a short deadline once more."""

    async def accepted() -> bool:
        return (await client.post(f"/feedback/{request_id}", json={"data": {}})).status_code == 202

    await eventually(accepted, within=60)


def ids(partitions: list[list[dict[str, Any]]]) -> list[str]:
    """Return the ids of all requests in a log."""
    return [event["request_id"] for partition in partitions for event in partition]


async def test_a_kafka_that_hangs_is_503_for_as_long_as_it_hangs(
    outage: Outage,
) -> None:
    """The first to wait learns that the outcome is unknown; those after it do not have to wait at all."""
    ingest = await outage.ingest(ingest_deadline_seconds=0.5)
    outage.pause()
    async with ingest.client() as client:
        first = await client.post("/feedback/first", json={"data": {}})
        second = await client.post("/feedback/second", json={"data": {}})
        batch = await client.post("/v1/events", json=[{"request_id": "third", "data": {}}])
        probes = [(await client.get(path)).status_code for path in ("/readyz", "/livez")]
        held = ingest.service.publisher.inflight_bytes
        outage.resume()
        await taken(client, "after")

    assert [code_of(answer) for answer in (first, second, batch)] == ["log_unavailable"] * 3
    assert "may still be written" in first.json()["detail"]
    assert "was not written" in second.json()["detail"]
    assert probes == [503, 200]
    assert held > 0
    await eventually(lambda: ingest.service.publisher.inflight_bytes == 0, within=30)
    assert {"after"} <= set(ids(await ingest.log())) <= {"after", "first"}


async def test_bytes_stay_counted_until_kafka_answers_even_if_the_client_leaves(outage: Outage) -> None:
    """A client that goes away frees nothing; beyond the bound others are told at once.

    Three events fit into what one tenant may hold, four fifths of all, and a fourth does not.
    """
    ingest = await outage.ingest(
        ingest_deadline_seconds=120, ingest_stalled_seconds=120, ingest_max_inflight_bytes=MIB
    )
    outage.pause()
    large = {"data": {"x": "a" * 250_000}}
    async with ingest.client() as client:
        waiting = [asyncio.create_task(client.post(f"/feedback/w{n}", json=large)) for n in range(3)]
        await eventually(lambda: ingest.service.publisher.inflight_bytes > 750_000, within=30)
        held = ingest.service.publisher.inflight_bytes
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        over = [
            await client.post("/feedback/over", json=large),
            await client.post("/v1/events", json=[{"request_id": "over", **large}]),
        ]
        still_held = ingest.service.publisher.inflight_bytes
        outage.resume()
        answers = await asyncio.gather(*waiting[1:])

    assert [code_of(answer) for answer in over] == ["overloaded"] * 2
    assert all("not queued" in answer.json()["detail"] for answer in over)
    assert still_held == held
    assert [answer.status_code for answer in answers] == [202, 202]
    await eventually(lambda: ingest.service.publisher.inflight_bytes == 0, within=30)
    assert sorted(ids(await ingest.log())) == ["w0", "w1", "w2"]


async def test_a_kafka_that_is_killed_loses_no_acknowledged_event(outage: Outage) -> None:
    """Clients continue through the kill and the restart; each 202 is true, and so is each 'not written'."""
    ingest = await outage.ingest(ingest_deadline_seconds=2)
    told: dict[str, tuple[int, dict[str, Any]]] = {}
    stop = asyncio.Event()

    async def keep_sending(client: httpx.AsyncClient, worker: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            answer = await client.post(f"/feedback/{worker}-{number}", json={"data": {}})
            told[f"{worker}-{number}"] = answer.status_code, answer.json()
            if answer.status_code != 202:
                await asyncio.sleep(0.02)

    def accepted() -> int:
        return sum(status == 202 for status, _ in told.values())

    async with ingest.client() as client:
        workers = [asyncio.create_task(keep_sending(client, worker)) for worker in range(8)]
        await eventually(lambda: accepted() > 100, within=30)
        await outage.kafka.kill()
        await eventually(lambda: any(status == 503 for status, _ in told.values()), within=30)
        await ready(ingest.url, status=503)
        await outage.kafka.start()
        await ready(ingest.url)
        before = accepted()
        await eventually(lambda: accepted() > before + 100, within=60)
        stop.set()
        await asyncio.gather(*workers)

    partitions = await ingest.log()
    written = ids(partitions)
    generation = ingest.settings.kafka_topic_generation
    places = {
        (event["request_id"], str(version_of(generation, offset)))
        for partition in partitions
        for offset, event in enumerate(partition)
    }
    assert {(name, said["version"]) for name, (status, said) in told.items() if status == 202} <= places
    assert {status for status, _ in told.values()} == {202, 503}
    assert not {name for name, (_, said) in told.items() if "not written" in said.get("detail", "")} & set(
        written
    )
    assert len(set(written)) == len(written)


async def test_a_kafka_that_hangs_for_long_is_no_reason_for_a_restart(outage: Outage) -> None:
    """Nobody could write, so nothing is stalled, however long it takes; ingest continues when Kafka does."""
    ingest = await outage.ingest(ingest_deadline_seconds=0.2, ingest_stalled_seconds=0.5)
    outage.pause()
    looks = 0
    async with ingest.client() as client:
        assert (await client.post("/feedback/x", json={"data": {}})).status_code == 503

        async def looked_often() -> bool:
            nonlocal looks
            assert (await client.get("/livez")).status_code == 200
            looks += "Kafka does not answer" in (await client.get("/readyz")).text
            return looks >= 5

        await eventually(looked_often, within=60, every=0.5)
        outage.resume()
        await taken(client, "after")
        await ready(ingest.url)
        await eventually(lambda: ingest.service.publisher.inflight_bytes == 0, within=30)


async def test_a_producer_that_hangs_though_kafka_does_not_is_replaced(outage: Outage) -> None:
    """Its sender has ended in silence, and a new client is answered: that is a stall."""
    ingest = await outage.ingest(ingest_deadline_seconds=0.2, ingest_stalled_seconds=0.5)
    publisher = ingest.service.publisher
    assert publisher._producer is not None
    stuck = publisher._producer.kafka_producer
    stuck._sender.sender_task.cancel()
    async with ingest.client() as client:
        assert (await client.post("/feedback/x", json={"data": {}})).status_code == 503
        await taken(client, "after")

    assert publisher._producer is not None
    assert publisher._producer.kafka_producer is not stuck
    assert publisher.liveness() is None


async def test_ingest_starts_without_kafka_and_notices_when_it_goes(outage: Outage) -> None:
    """Ready only while events can be written, also when nobody sends any."""
    await outage.kafka.stop()
    ingest = await outage.ingest(within=0)
    async with ingest.client() as client:
        refused = await client.post("/feedback/x", json={"data": {}})
        assert code_of(refused) == "log_unavailable"
        assert "was not written" in refused.json()["detail"]
        assert (await client.get("/livez")).status_code == 200
        await outage.kafka.start()
        await ready(ingest.url)
        await outage.kafka.stop()
        await ready(ingest.url, status=503)
        assert (await client.get("/livez")).status_code == 200
        await outage.kafka.start()
        await taken(client, "x")
