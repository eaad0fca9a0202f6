"""Changes how large a batch the topic of events takes."""

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.topics import Topology
from services.runtime.settings import KafkaSettings
from services.runtime.survey import admin


async def limit(kafka: KafkaSettings, size: int | None = None) -> None:
    """Let the topic take batches of so many bytes at most; None is its own limit again."""
    topic = Topology().events
    settings = topic.config() | {"max.message.bytes": str(size or topic.max_message_bytes)}
    async with admin(kafka, "chaos") as client:
        # All of them: what is left out goes back to Kafka's default.
        await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name, settings)])
