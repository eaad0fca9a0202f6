"""Brokers are lost, of three: no part asks for a restart, and all continue when the brokers are back."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from schemas.topics import Topology
from services.ingest.app import IngestApp, build, key_file
from services.merger.watchdog import MergerWatchdog, Stalled
from services.pipeline.survey import committed
from services.runtime.kafka.clients import producer
from services.runtime.kafka.core.outages import Needs
from services.runtime.kafka.outage_probe import kafka_outage
from services.runtime.settings import ClickHouseSettings, KafkaSettings
from services.sink.settings import SinkSettings
from tests.integration.ingest.conftest import ready, settings_for
from tests.support.eventually import eventually
from tests.support.http.server import serving
from tests.support.kafka.brokers import Cluster
from tests.support.kafka.topics import create_topics
from tests.support.merger.partitions import configure
from tests.support.merger.process import MergerProcess
from tests.support.sink.runs import SinkProgram, count, is_ready, migrated, probe

WITHIN = 90.0
LOOKS = 8
"""So often everything is looked at while brokers are away."""


@pytest.fixture(scope="module")
async def brokers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Three brokers for the tests here, each of which leaves them all running."""
    async with Cluster(tmp_path_factory.mktemp("brokers")) as cluster:
        yield cluster


class Pipeline:
    """Ingest, merger and sink.  Ingest calls it a stall when nothing moves for a second."""

    def __init__(self, url: str, merger: MergerProcess, sink: SinkProgram) -> None:
        self.client = httpx.AsyncClient(base_url=url, timeout=60)
        self.merger, self.sink = merger, sink
        self.acknowledged = 0

    @property
    def settings(self) -> SinkSettings:
        """Settings that lead to everything."""
        return self.sink.settings

    async def post(self) -> bool:
        """Send an event, and tell whether it was acknowledged."""
        answer = await self.client.post(f"/feedback/r{self.acknowledged}", json={"data": {}})
        self.acknowledged += answer.status_code == 202
        return answer.status_code == 202

    async def stored(self) -> bool:
        """Return whether everything that was acknowledged has a row."""
        return await count(self.settings) == self.acknowledged

    async def check_alive(self) -> None:
        """Fail unless every part says that no restart would help it."""
        ingest, sink = await asyncio.gather(self.client.get("/livez"), probe(self.settings, "livez"))
        merger = await self.merger.get("/livez")
        assert (ingest.status_code, sink.status_code) == (200, 200), (ingest.text, sink.text)
        assert merger[0] == 200, (merger, self.merger.said())

    async def outlast(self, words: str) -> None:
        """Look at all parts until ingest and merger have said these words for a while, and been not ready.

        Somebody continues sending meanwhile.
        """
        looks = 0

        async def is_enough() -> bool:
            nonlocal looks
            sending = asyncio.create_task(self.client.post("/feedback/r0", json={"data": {}}))
            await self.check_alive()
            ingest, merger = await self.client.get("/readyz"), await self.merger.get("/readyz")
            is_away = ingest.status_code == merger[0] == 503
            looks += is_away and words in ingest.text and words in merger[1]
            await sending
            return looks >= LOOKS

        await eventually(is_enough, within=WITHIN, every=0.5)

    async def back(self) -> None:
        """Wait until everything is ready, and everything stored."""
        await eventually(self.post, within=WITHIN)
        await eventually(self.stored, within=WITHIN)
        await ready(str(self.client.base_url), within=WITHIN)
        await eventually(self.merger._is_ready, within=WITHIN)
        await eventually(lambda: is_ready(self.settings), within=WITHIN)
        await self.check_alive()


@pytest.fixture
async def pipeline(
    brokers: Cluster, generations: Iterator[int], clickhouse_settings: ClickHouseSettings, tmp_path: Path
) -> AsyncIterator[Pipeline]:
    """A pipeline that has stored one event."""
    kafka = brokers.settings.replace(kafka_topic_generation=next(generations))
    settings = await migrated(kafka, clickhouse_settings)
    ingest = settings_for(kafka, tmp_path, ingest_deadline_seconds=0.5, ingest_stalled_seconds=1)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(IngestApp(build(ingest, key_file(ingest.keys_file)))))
        merger = MergerProcess(kafka, tmp_path / "merger")
        made = Pipeline(url, merger, SinkProgram(settings, tmp_path))
        stack.push_async_callback(made.client.aclose)
        for program in (made.merger, made.sink):
            stack.push_async_callback(program.kill)
            await program.start()
        await ready(url)
        await eventually(made.post, within=WITHIN)
        await eventually(made.stored, within=WITHIN)
        yield made


async def test_too_few_replicas_in_sync_are_an_outage(brokers: Cluster, pipeline: Pipeline) -> None:
    """Kafka answers, and takes nothing: alive, not ready, with the partition and the numbers in words."""
    topology = Topology(pipeline.settings.kafka_topic_generation)
    for topic in (topology.events, topology.state):
        await configure(brokers.settings, topic, min_insync_replicas="3")
    await brokers.nodes[0].kill()
    await pipeline.outlast("has 2 replicas in sync, and takes nothing below 3")
    await brokers.start()
    await pipeline.back()


async def test_a_merger_that_cannot_write_is_not_stalled_and_one_that_does_not_write_is(
    brokers: Cluster, generations: Iterator[int]
) -> None:
    """Events wait, and no merger is there at all: that counts once, and only if, Kafka would take rows."""
    topology = Topology(next(generations))
    await create_topics(brokers.settings, topology, partitions=2, replicas=3)
    await append(brokers.settings, topology.events.name, b"waits")
    # A cluster that has just begun makes its own topics with the first question about a group.
    await committed(brokers.settings, "tests", topology.merger_group, topology.events.name, 2)
    watch = MergerWatchdog(brokers.settings, topology, partitions=2, stall_seconds=1)
    await configure(brokers.settings, topology.state, min_insync_replicas="3")
    await brokers.nodes[1].kill()
    await brokers.knows(1, 3)
    watching = asyncio.create_task(watch.run(set))
    looks = 0

    def looked_often() -> bool:
        nonlocal looks
        assert watch.liveness() is None
        looks += "takes nothing below 3" in (watch.readiness() or "")
        return looks >= LOOKS

    try:
        await eventually(looked_often, within=WITHIN, every=0.5)
        await brokers.start()
        await eventually(lambda: watch.liveness() is not None or watching.done(), within=WITHIN)
        with pytest.raises(Stalled, match="though events wait"):
            await asyncio.wait_for(watching, WITHIN)
    finally:
        watching.cancel()
        await asyncio.wait({watching})


async def test_leaders_and_controllers_that_are_lost_are_an_outage(
    brokers: Cluster, pipeline: Pipeline
) -> None:
    """One broker of three is left, no majority of controllers: what it says of the others is out of date."""
    for node in brokers.nodes[1:]:
        await node.kill()
    await pipeline.outlast("does not answer")
    await brokers.start()
    await pipeline.back()


async def append(settings: KafkaSettings, topic: str, value: bytes) -> None:
    """Append a record to the first partition of a topic."""
    sending = producer(settings, "tests")
    await sending.start()
    try:
        await sending.send_and_wait(topic, value, b"default/r", partition=0)
    finally:
        await sending.stop()


async def test_what_kafka_can_do_is_asked_of_kafka(brokers: Cluster, generations: Iterator[int]) -> None:
    """A topic that does not exist, a Kafka that does not answer; and nothing where all is well."""
    missing = Topology(next(generations)).events.name
    nowhere = brokers.settings.replace(kafka_bootstrap_servers="127.0.0.1:1")
    needs = Needs(reads=frozenset({(missing, 0)}))

    assert await kafka_outage(brokers.settings, "tests", Needs()) is None
    assert await kafka_outage(brokers.settings, "tests", needs) == f"{missing}/0 does not exist"
    assert "Kafka does not answer" in (await kafka_outage(nowhere, "tests", needs) or "")
