"""Kafka as the command sees it: whether it is the right one, and a producer for replays."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, KafkaTimeoutError

from schemas.topics import Topology
from services.operations.dlq.core.decisions import Send
from services.operations.errors import kafka_unreachable
from services.operations.exits import CommandError
from services.pipeline.core.continuity import Recorded
from services.pipeline.generations import resolved
from services.pipeline.survey import admin, cluster_id, partition_counts
from services.runtime.kafka.clients import RECORD_OVERHEAD_BYTES, connect, producer
from services.runtime.settings import KafkaSettings

CLIENT = "afterword-dlq"
FAILURES = (KafkaError, OSError, TimeoutError)

S = TypeVar("S", bound=KafkaSettings)


async def in_use(settings: S) -> S:
    """Return settings whose generation of the topics is the one in use; UnreachableError."""
    try:
        return await resolved(settings, CLIENT)
    except FAILURES as error:
        raise kafka_unreachable(settings) from error


async def kept_since(settings: KafkaSettings, recorded: Sequence[Recorded], now: datetime) -> datetime | None:
    """Return since when the topics keep what is in them, None for ever.

    CommandError when this is not the Kafka that the tables belong to: a version would mean another place.
    """
    topology = Topology(settings.kafka_topic_generation)
    try:
        async with admin(settings, CLIENT) as client:
            cluster = await cluster_id(client)
            counts = await partition_counts(client, [topology.events.name])
            asked = [
                ConfigResource(ConfigResourceType.TOPIC, topic.name)
                for topic in (topology.events, topology.events_dlq)
            ]
            answers = await client.describe_configs(asked)
    except FAILURES as error:
        raise kafka_unreachable(settings) from error
    here = Recorded(topology.generation, cluster, counts.get(topology.events.name, 0))
    if here not in recorded:
        raise CommandError(
            f"Kafka at {settings.kafka_bootstrap_servers} is not the one that these tables belong to (cluster"
            f" {cluster}, generation {topology.generation}): is KAFKA_BOOTSTRAP_SERVERS right, and"
            " KAFKA_TOPIC_GENERATION?  `afterword migrate` says more."
        )
    kept = [
        int(entry[1])
        for answer in answers
        for *_, entries in answer.resources
        for entry in entries
        if entry[0] == "retention.ms"
    ]
    return None if min(kept, default=-1) < 0 else now - timedelta(milliseconds=max(kept))


class Sender:
    """Appends events to the partitions of their keys."""

    def __init__(self, producer: AIOKafkaProducer, settings: KafkaSettings) -> None:
        self._producer, self._settings = producer, settings
        self._topic = Topology(settings.kafka_topic_generation).events.name

    async def send(self, events: Sequence[Send]) -> None:
        """Return once Kafka has them all; UnreachableError when it may not."""
        try:
            sent = [
                await self._producer.send(
                    self._topic, one.value, one.key, partition=one.partition, headers=one.headers
                )
                for one in events
            ]
            await asyncio.gather(*sent)
        except FAILURES as error:
            if isinstance(error, KafkaError) and not (
                error.retriable or isinstance(error, KafkaTimeoutError)
            ):
                raise CommandError(f"Kafka refuses: {error!r}") from error
            raise kafka_unreachable(self._settings) from error


@asynccontextmanager
async def sender(settings: KafkaSettings) -> AsyncIterator[Sender]:
    """Connect for the block: idempotent, not transactional, so that no offsets are left out in the log."""
    topic = Topology(settings.kafka_topic_generation).events
    sending = producer(
        settings,
        CLIENT,
        acks="all",
        enable_idempotence=True,
        linger_ms=5,
        max_request_size=topic.max_message_bytes + RECORD_OVERHEAD_BYTES,
    )
    try:
        await connect(sending)
    except FAILURES as error:
        await sending.stop()
        raise kafka_unreachable(settings) from error
    try:
        yield Sender(sending, settings)
    finally:
        await sending.stop()
