"""Changes settings of the topic of events: how large a batch it takes, and how many copies a write needs."""

from collections.abc import Mapping

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.topics import Topology
from services.pipeline.survey import admin
from services.runtime.settings import KafkaSettings


async def limit(kafka: KafkaSettings, size: int | None = None) -> None:
    """Limit the topic's batches to a number of bytes; None restores its own limit."""
    topic = Topology().events
    await _set(kafka, topic.config() | {"max.message.bytes": str(size or topic.max_message_bytes)})


async def in_sync(kafka: KafkaSettings, copies: int) -> None:
    """Let the topic of a cluster take writes only while that number of copies is in sync."""
    await _set(kafka, Topology().events.config(3) | {"min.insync.replicas": str(copies)})


async def _set(kafka: KafkaSettings, settings: Mapping[str, str]) -> None:
    name = Topology().events.name
    async with admin(kafka, "chaos") as client:
        # All of them: what is omitted returns to Kafka's default.
        await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, dict(settings))])
