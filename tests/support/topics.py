"""Topics for tests, as `afterword migrate` makes them for everyone else."""

from collections.abc import Sequence

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from schemas.topics import Topology
from services.runtime.kafka import client_options
from services.runtime.settings import KafkaSettings


async def create_topics(settings: KafkaSettings, topology: Topology, *, partitions: int = 4) -> None:
    """Create the four topics of a generation with their settings; an error when one exists."""
    admin = AIOKafkaAdminClient(**client_options(settings, "tests"))
    await admin.start()
    try:
        response = await admin.create_topics(
            [
                NewTopic(topic.name, topic.partitions(partitions), 1, topic_configs=topic.config(replicas=1))
                for topic in topology.topics
            ]
        )
        faults = [error for error in response.topic_errors if error[1]]
        assert not faults, faults
    finally:
        await admin.close()


async def delete_topics(settings: KafkaSettings, names: Sequence[str]) -> None:
    """Delete topics, with all that they hold."""
    admin = AIOKafkaAdminClient(**client_options(settings, "tests"))
    await admin.start()
    try:
        await admin.delete_topics(list(names))
    finally:
        await admin.close()
