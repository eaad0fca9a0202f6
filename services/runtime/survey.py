"""Gathers what `continuity` decides on: what Kafka has, and what ClickHouse recorded.

It never joins a group, commits or creates anything.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from clickhouse_connect.driver.asyncclient import AsyncClient

from schemas.tables import DEPLOYMENTS
from services.runtime.continuity import LogRange, Position, Recorded
from services.runtime.kafka import admin_client, connect, consumer
from services.runtime.settings import KafkaSettings


@asynccontextmanager
async def admin(settings: KafkaSettings, client_id: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """Yield a started admin client; KafkaConnectionError when no broker answers."""
    client = admin_client(settings, client_id)
    try:
        await connect(client)
        yield client
    finally:
        await client.close()


async def cluster_id(client: AIOKafkaAdminClient) -> str:
    """Return the id of the cluster, which a broker makes up when its storage is formatted."""
    return str((await client.describe_cluster())["cluster_id"])


async def partition_counts(client: AIOKafkaAdminClient, topics: Iterable[str]) -> dict[str, int]:
    """Return how many partitions each topic has; a topic that does not exist is left out."""
    # All topics are asked for: asking for one by name could create it.
    found = {topic["topic"]: len(topic["partitions"]) for topic in await client.describe_topics()}
    return {name: found[name] for name in topics if name in found}


async def log_ranges(
    settings: KafkaSettings, client_id: str, counts: dict[str, int]
) -> dict[tuple[str, int], LogRange]:
    """Return what each partition holds now, records of open transactions included."""
    partitions = [TopicPartition(name, number) for name, count in counts.items() for number in range(count)]
    if not partitions:
        # aiokafka's consumer, stopped before it has waited for anything, raises CancelledError.
        return {}
    asking = consumer(settings, client_id)
    try:
        await connect(asking)
        starts = await asking.beginning_offsets(partitions)
        ends = await asking.end_offsets(partitions)
    finally:
        await asking.stop()
    return {(one.topic, one.partition): LogRange(starts[one], ends[one]) for one in partitions}


async def committed(
    settings: KafkaSettings, client_id: str, group: str, topic: str, count: int
) -> list[Position]:
    """Return the positions that a group has committed on a topic of `count` partitions."""
    partitions = [TopicPartition(topic, number) for number in range(count)]
    asking = consumer(settings, client_id, group_id=group)
    asking.assign(partitions)
    try:
        await connect(asking)
        offsets = [await asking.committed(one) for one in partitions]
    finally:
        await asking.stop()
    return [
        Position(f"committed by {group}", topic, number, offset)
        for number, offset in enumerate(offsets)
        if offset is not None
    ]


async def recorded(client: AsyncClient, database: str) -> Sequence[Recorded]:
    """Return what `afterword migrate` recorded of each generation; nothing before its first run."""
    if not await _exists(client, database, DEPLOYMENTS):
        return []
    result = await client.query(
        f"SELECT generation, cluster_id, partitions FROM {database}.{DEPLOYMENTS} FINAL ORDER BY generation"  # noqa: S608
    )
    return [Recorded(*row) for row in result.result_rows]


async def _exists(client: AsyncClient, database: str, table: str) -> bool:
    result = await client.query(
        "SELECT count() FROM system.tables WHERE database = {database:String} AND name = {table:String}",
        {"database": database, "table": table},
    )
    return bool(result.result_rows[0][0])
