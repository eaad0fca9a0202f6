"""Kafka as erasing needs it: positions of all stages, erase events, how long topics retain records."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

from aiokafka import AIOKafkaProducer
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.events import FeedbackEvent, Op
from schemas.identity import event_key, partition_of
from schemas.topics import Topic, Topology
from services.erasure.core import statements
from services.erasure.core.erasures import SOURCE, event_id
from services.erasure.tables import ErasureTables
from services.pipeline.core.continuity import Recorded
from services.pipeline.core.snapshot import PipelineSnapshot
from services.pipeline.offsets import Offsets, by_number, offsets, read_snapshot
from services.pipeline.survey import admin, cluster_id
from services.runtime.kafka.clients import RECORD_OVERHEAD_BYTES, connect, producer
from services.runtime.settings import KafkaSettings

CLIENT = "afterword-erasure"


class WrongKafkaError(Exception):
    """Kafka is not the one that the tables belong to, or its topics are another generation's."""


class ErasureLog:
    """Every method raises KafkaError when Kafka does not answer."""

    def __init__(self, settings: KafkaSettings, kafka: Offsets) -> None:
        self._settings, self._kafka = settings, kafka
        self.topology = Topology(settings.kafka_topic_generation)

    async def ends(self) -> dict[int, int]:
        """Return where each partition of the events ends."""
        events = self.topology.events.name
        return by_number(await self._kafka.ends(await self._kafka.partitions([events])), events)

    async def snapshot(self, tables: ErasureTables) -> PipelineSnapshot:
        """Read the positions of all stages."""
        return await read_snapshot(self._kafka, self.topology, tables.rows)

    async def publish(self, tenant: str, erasure: UUID, request_ids: Iterable[str], now: datetime) -> None:
        """Append an erase event for each request; return once Kafka has them all."""
        topic = self.topology.events
        count = len(await self._kafka.partitions([topic.name]))
        async with _producer(self._settings, topic) as producer:
            sent = []
            for one in request_ids:
                key = event_key(tenant, one)
                value = _erase(tenant, erasure, one, now)
                sent.append(await producer.send(topic.name, value, key, partition=partition_of(key, count)))
            await asyncio.gather(*sent)

    async def check(self, tables: ErasureTables) -> Sequence[Recorded]:
        """Return the generations of topics that there are; WrongKafkaError when this is another Kafka."""
        recorded = [Recorded(**row) for row in await tables.rows(statements.deployments())]
        count = len(await self._kafka.partitions([self.topology.events.name]))
        async with admin(self._settings, CLIENT) as client:
            cluster = await cluster_id(client)
        if Recorded(self.topology.generation, cluster, count) not in recorded:
            raise WrongKafkaError(
                f"Kafka at {self._settings.kafka_bootstrap_servers} is not the one that these tables belong"
                f" to (cluster {cluster}, generation {self.topology.generation}): is KAFKA_BOOTSTRAP_SERVERS"
                " right, and KAFKA_TOPIC_GENERATION?  `afterword migrate` shows more."
            )
        return recorded

    async def kept(self, generations: Iterable[int]) -> dict[str, dict[str, str]]:
        """Return the settings of every topic of these generations that exists, by its name."""
        names = {topic.name for number in generations for topic in Topology(number).topics}
        there = sorted({name for name, _ in await self._kafka.partitions(names)})
        if not there:
            return {}
        async with admin(self._settings, CLIENT) as client:
            answers = await client.describe_configs(
                [ConfigResource(ConfigResourceType.TOPIC, name) for name in there]
            )
        return {
            name: {entry[0]: entry[1] for entry in entries}
            for answer in answers
            for _, _, _, name, entries in answer.resources
        }


def _erase(tenant: str, erasure: UUID, request_id: str, now: datetime) -> bytes:
    event = FeedbackEvent(
        event_id=event_id(erasure, request_id),
        tenant=tenant,
        request_id=request_id,
        received_at=now,
        source=SOURCE,
        op=Op.ERASE,
    )
    return event.model_dump_json(exclude_none=True).encode()


@asynccontextmanager
async def _producer(settings: KafkaSettings, topic: Topic) -> AsyncIterator[AIOKafkaProducer]:
    """Connect for the block: idempotent, not transactional, so that the log has no gaps in its offsets."""
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
        yield sending
    finally:
        await sending.stop()


@asynccontextmanager
async def log(settings: KafkaSettings) -> AsyncIterator[ErasureLog]:
    """Connect for the block; KafkaConnectionError when no broker answers."""
    async with offsets(settings, CLIENT) as kafka:
        yield ErasureLog(settings, kafka)
