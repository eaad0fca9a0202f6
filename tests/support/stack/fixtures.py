"""A real Kafka and a real ClickHouse engine for tests: started once a run, with fresh names for each test.

    async def test_it(kafka_settings: KafkaSettings, clickhouse_settings: ClickHouseSettings) -> None: ...

`AFTERWORD_TEST_STACK` chooses where they come from: `local` (no Docker), `docker` (containers), `env` (the
servers that KAFKA_BOOTSTRAP_SERVERS and CLICKHOUSE_URL name), `auto` (the default: containers if an engine
answers a ping, else local).  A test that stops or kills a server takes `own_kafka` or `own_warehouse`,
which are local and its own.
"""

import os
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from functools import cache
from itertools import count
from pathlib import Path

import pytest

from schemas.topics import Topology
from services.runtime.clickhouse.client import connect
from services.runtime.settings import ClickHouseSettings, KafkaSettings, load
from tests.support.kafka.brokers import Cluster
from tests.support.kafka.topics import create_topics
from tests.support.stack import containers
from tests.support.stack.local_servers import OwnKafka, OwnWarehouse
from tests.support.stack.whole_stack import ContainedStack, WholeStack

PARTITIONS = 4


@cache
def choice() -> str:
    """Return `local`, `docker` or `env`."""
    wanted = os.environ.get("AFTERWORD_TEST_STACK", "auto") or "auto"
    if wanted == "auto":
        return "docker" if containers.engine_answers() else "local"
    if wanted not in ("local", "docker", "env"):
        raise pytest.UsageError(f"AFTERWORD_TEST_STACK={wanted!r} is none of env, docker, local, auto")
    return wanted


@pytest.fixture(scope="session")
async def kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KafkaSettings]:
    """Kafka for the whole run, shared: never stop it, and use topics of your own (`topology`)."""
    match choice():
        case "env":
            yield load(KafkaSettings)
        case "docker":
            with containers.kafka() as settings:
                yield settings
        case _:
            server = OwnKafka(tmp_path_factory.mktemp("kafka"))
            await server.start()
            yield server.settings
            await server.stop()


@pytest.fixture(scope="session")
async def warehouse(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ClickHouseSettings]:
    """ClickHouse for the whole run, shared: never stop it, and use a database of your own (`database`)."""
    match choice():
        case "env":
            yield load(ClickHouseSettings)
        case "docker":
            with containers.clickhouse() as settings:
                yield settings
        case _:
            server = OwnWarehouse(tmp_path_factory.mktemp("warehouse"))
            await server.start()
            yield server.settings
            await server.stop()


@pytest.fixture
async def own_kafka(tmp_path: Path) -> AsyncIterator[OwnKafka]:
    """A Kafka for this test alone, running, which it may stop, kill and start again."""
    async with AsyncExitStack() as stack:
        server = OwnKafka(tmp_path / "kafka")
        stack.push_async_callback(server.kill)
        await server.start()
        yield server


@pytest.fixture
async def own_cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """Three brokers for this test alone, running, of which it may stop, kill and start any."""
    async with Cluster(tmp_path / "cluster") as cluster:
        yield cluster


@pytest.fixture
async def own_warehouse(tmp_path: Path) -> AsyncIterator[OwnWarehouse]:
    """A warehouse for this test alone, running, which it may stop, kill and start again."""
    async with AsyncExitStack() as stack:
        server = OwnWarehouse(tmp_path / "warehouse")
        stack.push_async_callback(server.kill)
        await server.start()
        yield server


@pytest.fixture(scope="session")
async def whole_stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WholeStack]:
    """The whole stack, running for the whole run: use request ids of your own, and stop nothing.

    It is `afterword up`; with `docker`, the same services on a Kafka and a ClickHouse in containers.
    """
    directory = tmp_path_factory.mktemp("whole")
    with ExitStack() as servers:
        if choice() == "docker":
            kafka = servers.enter_context(containers.kafka())
            clickhouse = servers.enter_context(containers.clickhouse())
            stack: WholeStack = ContainedStack(directory, kafka, clickhouse)
        else:
            stack = WholeStack(directory)
        try:
            await stack.start()
            yield stack
            await stack.stop()
        finally:
            await stack.kill()


@pytest.fixture(scope="session")
def generations() -> Iterator[int]:
    """Yield numbers of topic generations that no test has used: names of topics, groups and transactions."""
    first = random.SystemRandom().randrange(1000, 2**15) if choice() == "env" else 1
    return count(first)


@pytest.fixture
async def topology(kafka: KafkaSettings, generations: Iterator[int]) -> Topology:
    """Four topics of this test's own on the shared Kafka: 4 partitions, the DLQs 1."""
    topology = Topology(next(generations))
    await create_topics(kafka, topology, partitions=PARTITIONS)
    return topology


@pytest.fixture
def kafka_settings(kafka: KafkaSettings, topology: Topology) -> KafkaSettings:
    """Settings that lead to this test's own topics."""
    return kafka.replace(kafka_topic_generation=topology.generation)


@pytest.fixture
async def clickhouse_settings(
    warehouse: ClickHouseSettings, generations: Iterator[int]
) -> AsyncIterator[ClickHouseSettings]:
    """Settings that lead to this test's own database, which exists and is empty."""
    settings = warehouse.replace(clickhouse_database=f"test_{os.getpid()}_{next(generations)}")
    client = await connect(settings, database="default")
    try:
        await client.command(f"CREATE DATABASE {settings.clickhouse_database}")
        yield settings
        await client.command(f"DROP DATABASE {settings.clickhouse_database}")
    finally:
        await client.close()
