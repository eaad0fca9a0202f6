"""Creates topics in Kafka, and reads how they are set up."""

from collections.abc import Iterable

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from schemas.topics import Topic
from services.commands.migrate.plan import Existing
from services.runtime.survey import partition_counts


async def brokers(client: AIOKafkaAdminClient) -> list[int]:
    """Return the ids of the brokers that are up."""
    return [broker["node_id"] for broker in (await client.describe_cluster())["brokers"]]


async def create(
    client: AIOKafkaAdminClient, topics: Iterable[Topic], partitions: int, replicas: int
) -> None:
    """Create topics with their settings; one that another migrate has just created is as good."""
    wanted = [
        NewTopic(topic.name, topic.partitions(partitions), replicas, topic_configs=topic.config(replicas))
        for topic in topics
    ]
    response = await client.create_topics(wanted)
    for name, code, *message in response.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            raise for_code(code)(f"{name}: {message[0] if message else ''}")


async def describe(client: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, Existing]:
    """Return the topics that exist, as they are."""
    counts = await partition_counts(client, names)
    if not counts:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in counts]
    responses = await client.describe_configs(asked)
    configs = {
        name: {entry[0]: entry[1] for entry in entries}
        for response in responses
        for _, _, _, name, entries in response.resources
    }
    return {name: Existing(name, count, configs.get(name, {})) for name, count in counts.items()}


async def broker_config(client: AIOKafkaAdminClient, broker: int) -> dict[str, str]:
    """Return one broker's settings."""
    (response,) = await client.describe_configs([ConfigResource(ConfigResourceType.BROKER, str(broker))])
    return {entry[0]: entry[1] for *_, entries in response.resources for entry in entries}
