"""Changes settings of the topic of events: how large a batch it takes, and how many copies a write needs."""

from collections.abc import Mapping

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.topics import Topology
from services.pipeline.survey import admin
from services.runtime.settings import KafkaSettings


async def limit(kafka: KafkaSettings, size: int | None = None) -> None:
    """Let the topic take batches of so many bytes at most; None is its own limit again."""
    topic = Topology().events
    await _set(kafka, topic.config() | {"max.message.bytes": str(size or topic.max_message_bytes)})


async def in_sync(kafka: KafkaSettings, copies: int) -> None:
    """Let the topic of a cluster take writes only while so many copies are in sync."""
    await _set(kafka, Topology().events.config(3) | {"min.insync.replicas": str(copies)})


async def _set(kafka: KafkaSettings, settings: Mapping[str, str]) -> None:
    name = Topology().events.name
    async with admin(kafka, "chaos") as client:
        # All of them: what is left out goes back to Kafka's default.
        await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, dict(settings))])
