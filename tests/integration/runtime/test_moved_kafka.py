"""A Kafka that moves: no broker that clients know is left, and others serve under the same setting."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from schemas.topics import Topology
from services.ingest.app import IngestApp, build, key_file
from services.local.ports import free_port
from services.pipeline.offsets import offsets
from services.runtime.kafka.clients import admin_client, consumer, producer, reader
from services.runtime.settings import ClickHouseSettings, KafkaSettings
from tests.integration.ingest.conftest import Running, ready, settings_for
from tests.support.eventually import eventually
from tests.support.http.server import serving
from tests.support.kafka.topics import create_topics
from tests.support.merger.process import MergerProcess
from tests.support.sink.runs import SinkProgram, count, is_ready, migrated
from tests.support.stack.local_servers import OwnKafka

WITHIN = 40.0


class MovingKafka(OwnKafka):
    """A Kafka whose settings name the places where it may be; it is at one of them."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._places = [self.port, free_port(but_not=self.port)]
        servers = ",".join(f"127.0.0.1:{port}" for port in self._places)
        self.settings = KafkaSettings(kafka_bootstrap_servers=servers)

    async def move(self) -> None:
        """End it, and start it at the other place, with its data."""
        await self.kill()
        self._places.reverse()
        self.port = self._places[0]
        await self.start()


@pytest.fixture(scope="module")
async def moving(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MovingKafka]:
    """A Kafka for the tests here."""
    kafka = MovingKafka(tmp_path_factory.mktemp("moving"))
    await kafka.start()
    yield kafka
    await kafka.kill()


@pytest.fixture
async def topology(moving: MovingKafka, generations: Iterator[int]) -> Topology:
    """Topics of the test's own."""
    made = Topology(next(generations))
    await create_topics(moving.settings, made, partitions=2)
    return made


class Clients:
    """One of each kind of client, and what each does with a Kafka that it reaches."""

    def __init__(self, settings: KafkaSettings, topology: Topology) -> None:
        name, group = topology.events.name, f"tests-{topology.generation}"
        self._place = TopicPartition(name, 0)
        self._sending = producer(settings, "tests", enable_idempotence=True)
        self._committing = producer(settings, "tests", transactional_id=group)
        self._member = reader(settings, "tests", [topology.events], group_id=group)
        self._member.subscribe([name])
        self._asking = consumer(settings, "tests", group_id=f"{group}-asking")
        self._admin = admin_client(settings, "tests")
        self._settings = settings

    async def start(self, stack: AsyncExitStack) -> None:
        """Start them all, until the end of the stack."""
        started: tuple[AIOKafkaProducer | AIOKafkaConsumer, ...] = (
            self._sending,
            self._committing,
            self._member,
            self._asking,
        )
        for client in started:
            stack.push_async_callback(client.stop)
            await client.start()
        stack.push_async_callback(self._admin.close)
        await self._admin.start()
        self._offsets = await stack.enter_async_context(offsets(self._settings, "tests"))

    async def send(self, value: bytes) -> None:
        """Append a record."""
        await self._sending.send_and_wait(self._place.topic, value, b"key", partition=0)

    async def commit(self, value: bytes) -> None:
        """Append a record in a transaction."""
        async with self._committing.transaction():
            await self._committing.send_and_wait(self._place.topic, value, b"key", partition=0)

    async def read(self, value: bytes) -> None:
        """Read on until a record comes, as a member of a group, and commit."""
        while value not in {record.value for record in await self._fetched()}:
            pass
        await self._member.commit()

    async def _fetched(self) -> list[Any]:
        found = await self._member.getmany(timeout_ms=500)
        return [record for records in found.values() for record in records]

    async def ask(self) -> None:
        """Ask for positions and topics."""
        await self._asking.end_offsets([self._place])
        await self._asking.committed(self._place)

        async def described() -> bool:
            return bool(await self._admin.describe_topics())

        await eventually(described, within=WITHIN)

    async def all(self, turn: int) -> None:
        """Have each do what it does, at once."""
        one, other = b"%d" % turn, b"%d in a transaction" % turn
        async with asyncio.timeout(WITHIN):
            await asyncio.gather(self.send(one), self.commit(other), self.ask())
            await asyncio.gather(self.read(other))


async def test_every_kind_of_client_finds_a_kafka_that_moved(moving: MovingKafka, topology: Topology) -> None:
    """There and back again: what counts is the setting, and not what a client has learned of the cluster."""
    async with AsyncExitStack() as stack:
        clients = Clients(moving.settings, topology)
        await clients.start(stack)
        await clients.all(0)
        for turn in (1, 2):
            await moving.move()
            await clients.all(turn)


async def test_a_client_that_knows_brokers_keeps_to_them_when_the_setting_is_out_of_date(
    moving: MovingKafka, topology: Topology
) -> None:
    """The setting leads nowhere any more: what the client has learned is enough, as before."""
    sending = producer(moving.settings, "tests")
    await sending.start()
    try:
        sending.client._bootstrap_servers = "127.0.0.1:1"
        await moving.kill()
        await moving.start()
        async with asyncio.timeout(WITHIN):
            await sending.send_and_wait(topology.events.name, b"{}", b"key", partition=0)
    finally:
        await sending.stop()


async def test_the_pipeline_continues_after_a_move(
    moving: MovingKafka,
    generations: Iterator[int],
    clickhouse_settings: ClickHouseSettings,
    tmp_path: Path,
) -> None:
    """Ingest, merger and sink: not ready, never restarted, and ready again; what comes after is stored."""
    kafka = moving.settings.replace(kafka_topic_generation=next(generations))
    settings = await migrated(kafka, clickhouse_settings)
    merger = MergerProcess(kafka, tmp_path / "merger")
    sink = SinkProgram(settings, tmp_path)
    ingest = settings_for(kafka, tmp_path)
    service = build(ingest, key_file(ingest.keys_file))
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(IngestApp(service)))
        for program in (merger, sink):
            stack.push_async_callback(program.kill)
            await program.start()
        await ready(url)
        async with Running(url, ingest, service, {}).client() as client:
            await client.post("/feedback/before", json={"data": {}})
            await eventually(lambda: _has(settings, 1), within=WITHIN)
            await moving.move()
            await ready(url, within=WITHIN)
            answer = await client.post("/feedback/after", json={"data": {}})
            assert answer.status_code == 202
        await eventually(lambda: _has(settings, 2), within=WITHIN)
        await eventually(merger._is_ready, within=WITHIN)
        await eventually(lambda: is_ready(settings), within=WITHIN)
        assert merger.said().count("merger started") == 1
        assert await merger.stop() == 0
        assert await sink.stop() == 0


async def _has(settings: Any, requests: int) -> bool:
    return await count(settings) == requests
