"""Topics for tests, as `afterword migrate` makes them for everyone else."""

from collections.abc import Sequence

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from schemas.topics import Topology
from services.runtime.kafka.clients import client_options
from services.runtime.settings import KafkaSettings


async def create_topics(
    settings: KafkaSettings, topology: Topology, *, partitions: int = 4, replicas: int = 1
) -> None:
    """Create the four topics of a generation with their settings; an error when one exists."""
    admin = AIOKafkaAdminClient(**client_options(settings, "tests"))
    await admin.start()
    try:
        response = await admin.create_topics(
            [
                NewTopic(
                    topic.name, topic.partitions(partitions), replicas, topic_configs=topic.config(replicas)
                )
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


async def live_brokers(settings: KafkaSettings) -> set[int]:
    """Return the brokers that Kafka holds for alive; none where the one that was asked does not answer."""
    admin = AIOKafkaAdminClient(**client_options(settings, "tests"))
    try:
        await admin.start()
        return {broker["node_id"] for broker in (await admin.describe_cluster())["brokers"]}
    except KafkaError:
        return set()
    finally:
        await admin.close()
