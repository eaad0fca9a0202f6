"""Gathers the facts for `continuity`: what Kafka has, and what ClickHouse recorded.

It never joins a group, commits or creates anything.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from clickhouse_connect.driver.asyncclient import AsyncClient

from schemas.tables import DEPLOYMENTS, ERASED_REQUESTS, FEEDBACK_EVENTS, FEEDBACK_STATE
from services.pipeline.core.continuity import ContinuityFacts, HeldPosition, LogRange, Recorded, to_look_at
from services.runtime.kafka.clients import admin_client, connect, consumer
from services.runtime.kafka.core.log_mark import LogMark, mark_of, parse
from services.runtime.kafka.core.topic_copies import INTERNAL, MIN_IN_SYNC, Brokers, TopicCopies
from services.runtime.kafka.lenient_decoding import tolerate
from services.runtime.settings import KafkaSettings

_LOOK_SECONDS = 20.0
_LOOK_BYTES = 64 << 10
"""Of each partition; Kafka sends one record batch at least."""

Spot = tuple[str, int, int]
"""Topic, partition and offset."""


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
    """Return how many partitions each topic has; a topic that does not exist is omitted."""
    # All topics are asked for: asking for one by name could create it.
    counts = {topic["topic"]: len(topic["partitions"]) for topic in await client.describe_topics()}
    return {name: counts[name] for name in topics if name in counts}


async def brokers_and_copies(client: AIOKafkaAdminClient, names: Iterable[str]) -> Brokers:
    """Return the brokers, and the replicas of those of our topics, and of Kafka's own, that exist.

    A broker that is away is known of if any partition of any topic has a copy there.
    """
    live = frozenset(broker["node_id"] for broker in (await client.describe_cluster())["brokers"])
    described = {topic["topic"]: topic["partitions"] for topic in await client.describe_topics()}
    known = live.union(*(one["replicas"] for several in described.values() for one in several))
    asked = [name for name in (*names, *INTERNAL) if described.get(name)]
    least = await topic_numbers(client, asked, MIN_IN_SYNC)
    return Brokers(live, known, tuple(_copies(name, described[name], least.get(name, 1)) for name in asked))


async def topic_numbers(client: AIOKafkaAdminClient, names: Iterable[str], setting: str) -> dict[str, int]:
    """Return a numeric setting of each topic; a topic that the broker does not know is omitted.

    It may not know one that was created or deleted just now.
    """
    asked = [ConfigResource(ConfigResourceType.TOPIC, name, {setting: ""}) for name in names]
    if not asked:
        return {}
    return {
        name: int(entries[0][1])
        for response in await client.describe_configs(asked)
        for error, _, _, name, entries in response.resources
        if not error and entries
    }


async def kept_since(settings: KafkaSettings, client_id: str, topic: str, now_ms: float) -> float:
    """Return the append time in milliseconds before which records may have expired, 0 if none ever do.

    A table made from the topic still has every record from then on.
    """
    async with admin(settings, client_id) as client:
        kept = (await topic_numbers(client, [topic], "retention.ms")).get(topic, -1)
    return 0 if kept < 0 else now_ms - kept


def _copies(name: str, partitions: Sequence[Mapping[str, list[int]]], least: int) -> TopicCopies:
    in_sync = [len(partition["isr"]) for partition in partitions]
    return TopicCopies(
        name,
        min(len(partition["replicas"]) for partition in partitions),
        min(in_sync),
        least,
        sum(len(partition["isr"]) < len(partition["replicas"]) for partition in partitions),
        sum(count < least for count in in_sync),
    )


async def log_ranges(
    settings: KafkaSettings, client_id: str, counts: dict[str, int]
) -> dict[tuple[str, int], LogRange]:
    """Return what each partition holds now, records of open transactions included."""
    return await ranges_of(
        settings, client_id, [(name, number) for name, count in counts.items() for number in range(count)]
    )


async def ranges_of(
    settings: KafkaSettings, client_id: str, places: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], LogRange]:
    """Return what each of these partitions holds now, records of open transactions included."""
    partitions = [TopicPartition(*place) for place in places]
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
    return {
        (partition.topic, partition.partition): LogRange(starts[partition], ends[partition])
        for partition in partitions
    }


async def committed(
    settings: KafkaSettings, client_id: str, group: str, topic: str, count: int
) -> list[HeldPosition]:
    """Return the positions that a group has committed on a topic of `count` partitions."""
    partitions = [TopicPartition(topic, number) for number in range(count)]
    asking = consumer(settings, client_id, group_id=group)
    asking.assign(partitions)
    try:
        await connect(asking)
        return await group_positions(asking, group, partitions)
    finally:
        await asking.stop()


async def group_positions(
    asked: AIOKafkaConsumer, group: str, partitions: Iterable[TopicPartition]
) -> list[HeldPosition]:
    """Return the positions that a group has committed, with their marks; `asked` is of that group."""
    # aiokafka's public method keeps the metadata to itself.
    found = await asked._coordinator.fetch_committed_offsets([*partitions])  # noqa: SLF001
    return [
        HeldPosition(f"committed by {group}", one.topic, one.partition, entry.offset, parse(entry.metadata))
        for one, entry in sorted(found.items())
        if entry.offset >= 0
    ]


async def compared(
    settings: KafkaSettings, client_id: str, facts: ContinuityFacts, positions: Sequence[HeldPosition]
) -> ContinuityFacts:
    """Return the facts with these positions, and with what the log has for them now; TimeoutError."""
    places = {(position.topic, position.partition) for position in positions}
    log = await ranges_of(settings, client_id, sorted(places))
    return await with_marks(settings, client_id, replace(facts, log=log, positions=positions, found={}))


async def as_deployed(settings: KafkaSettings, client_id: str, facts: ContinuityFacts) -> ContinuityFacts:
    """Return the facts with the cluster and the partitions that are there now, and without any position."""
    async with admin(settings, client_id) as client:
        counts = await partition_counts(client, facts.paired)
        cluster = await cluster_id(client)
    log = {(name, number): LogRange(0, 0) for name, count in counts.items() for number in range(count)}
    return replace(facts, cluster_id=cluster, log=log, positions=(), found={}, refused=())


async def with_marks(settings: KafkaSettings, client_id: str, facts: ContinuityFacts) -> ContinuityFacts:
    """Return the facts with what the log has where the positions' marks are; TimeoutError."""
    refused = [one.position for one in facts.refused if one.position is not None]
    wanted = to_look_at([*facts.positions, *refused], facts.log) - facts.found.keys()
    if not wanted:
        return facts
    return replace(facts, found={**facts.found, **await records_at(settings, client_id, wanted)})


async def records_at(
    settings: KafkaSettings, client_id: str, spots: Iterable[Spot]
) -> dict[Spot, LogMark | None]:
    """Return the first record at each offset or behind it, None when the log ends without one.

    What is deleted meanwhile is omitted.  TimeoutError when Kafka does not answer in time.
    """
    tolerate()
    waiting: dict[TopicPartition, list[int]] = {}
    for topic, partition, offset in sorted(spots):
        waiting.setdefault(TopicPartition(topic, partition), []).append(offset)
    looking = consumer(
        settings, client_id, auto_offset_reset="earliest", max_partition_fetch_bytes=_LOOK_BYTES
    )
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            await connect(looking)
            marks: dict[Spot, LogMark | None] = {}
            while waiting:  # one offset of each partition at a time
                marks |= await _first_records(looking, {one: left.pop() for one, left in waiting.items()})
                waiting = {one: left for one, left in waiting.items() if left}
            return await _without_deleted(looking, marks)
    finally:
        await looking.stop()


async def _first_records(
    looking: AIOKafkaConsumer, offsets: Mapping[TopicPartition, int]
) -> dict[Spot, LogMark | None]:
    looking.assign([*offsets])
    ends = await looking.end_offsets([*offsets])
    for one, offset in offsets.items():
        looking.seek(one, offset)
    marks: dict[Spot, LogMark | None] = {}
    left = {one for one, offset in offsets.items() if offset < ends[one]}
    while left:
        for one, records in (await looking.getmany(*left, timeout_ms=500)).items():
            if records:
                marks[*one, offsets[one]] = mark_of(records[0])
        left = {one for one in left if (*one, offsets[one]) not in marks}
        left = {one for one in left if await looking.position(one) < ends[one]}
    return {(*one, offset): marks.get((*one, offset)) for one, offset in offsets.items()}


async def _without_deleted(
    looking: AIOKafkaConsumer, marks: Mapping[Spot, LogMark | None]
) -> dict[Spot, LogMark | None]:
    gone = {spot for spot, mark in marks.items() if mark is None or mark.offset != spot[2]}
    if not gone:
        return dict(marks)
    starts = await looking.beginning_offsets([TopicPartition(*spot[:2]) for spot in gone])
    return {
        spot: mark
        for spot, mark in marks.items()
        if spot not in gone or spot[2] >= starts[TopicPartition(*spot[:2])]
    }


async def recorded(client: AsyncClient, database: str) -> Sequence[Recorded]:
    """Return what `afterword migrate` recorded of each generation; nothing before its first run."""
    if not await _exists(client, database, DEPLOYMENTS):
        return []
    result = await client.query(
        f"SELECT generation, cluster_id, partitions FROM {database}.{DEPLOYMENTS} FINAL ORDER BY generation"  # noqa: S608
    )
    return [Recorded(*row) for row in result.result_rows]


EVERY_TABLE = (f"{FEEDBACK_STATE} WHERE is_deleted = 0", FEEDBACK_EVENTS, ERASED_REQUESTS)


async def has_rows(client: AsyncClient, database: str, tables: Sequence[str] = EVERY_TABLE) -> bool:
    """Return whether any of the tables has rows: states, events and erasures, or some of these."""
    asked = " UNION ALL ".join(
        f"SELECT 1 FROM (SELECT 1 FROM {database}.{table} LIMIT 1)"  # noqa: S608 (names of ours)
        for table in tables
    )
    return bool((await client.query(asked)).result_rows)


async def _exists(client: AsyncClient, database: str, table: str) -> bool:
    result = await client.query(
        "SELECT count() FROM system.tables WHERE database = {database:String} AND name = {table:String}",
        {"database": database, "table": table},
    )
    return bool(result.result_rows[0][0])
