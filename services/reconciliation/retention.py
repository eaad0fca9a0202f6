"""From when on a topic, and so the table made from it, still has every record."""

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from services.pipeline.survey import admin
from services.runtime.settings import KafkaSettings


async def kept_since(settings: KafkaSettings, client_id: str, topic: str, now_ms: float) -> float:
    """Return the append time in milliseconds before which records may have expired, 0 if none ever do."""
    asked = ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": ""})
    async with admin(settings, client_id) as client:
        answers = await client.describe_configs([asked])
    kept = [int(entry[1]) for answer in answers for *_, entries in answer.resources for entry in entries]
    return 0 if min(kept, default=-1) < 0 else now_ms - min(kept)
