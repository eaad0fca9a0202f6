"""Creates topics in Kafka, and reads how they are set up."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from schemas.topics import Topic
from services.operations.exits import CommandError
from services.operations.migrate.core.plan import Existing
from services.pipeline.survey import brokers_and_copies
from services.runtime.kafka.core import topic_copies

_SET_FOR_THE_TOPIC = 1
"""Where a setting comes from: the topic itself, and not the broker's configuration or its defaults."""


async def create(
    client: AIOKafkaAdminClient,
    topics: Iterable[Topic],
    partitions: int,
    replicas: int,
    wished: Mapping[str, Mapping[str, str]],
) -> None:
    """Create topics with their settings, and with those that are wished for them instead, by name.

    One that another migrate has just created is as good.
    """
    wanted = [
        NewTopic(
            topic.name,
            topic.partitions(partitions),
            replicas,
            topic_configs={**topic.config(replicas), **wished.get(topic.name, {})},
        )
        for topic in topics
    ]
    response = await client.create_topics(wanted)
    for name, code, *message in response.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            raise for_code(code)(f"{name}: {message[0] if message else ''}")


async def replicas(client: AIOKafkaAdminClient, wished: int | None) -> int:
    """Return with how many copies a new generation is made; CommandError while brokers for them are away."""
    found = await brokers_and_copies(client, ())
    count = topic_copies.wanted(wished, found)
    if why := topic_copies.shortage(count, found):
        raise CommandError(
            f"{why}. Topics keep the copies that they are made with: start every broker first."
        )
    return count


async def describe(client: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, Existing]:
    """Return the topics that exist, as they are."""
    # All topics are asked for: asking for one by name could create it.
    described = {topic["topic"]: topic["partitions"] for topic in await client.describe_topics()}
    there = {name: described[name] for name in names if described.get(name)}
    if not there:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in there]
    responses = await client.describe_configs(asked)
    told = {name: entries for response in responses for _, _, _, name, entries in response.resources}
    return {name: _existing(name, several, told.get(name, ())) for name, several in there.items()}


def _existing(name: str, partitions: Sequence[Any], entries: Iterable[Sequence[Any]]) -> Existing:
    config = {entry[0]: entry[1] for entry in entries}
    own = {entry[0]: entry[1] for entry in entries if entry[3] == _SET_FOR_THE_TOPIC}
    return Existing(name, len(partitions), config, own, min(len(one["replicas"]) for one in partitions))


async def alter(client: AIOKafkaAdminClient, found: Existing, changes: Mapping[str, str]) -> None:
    """Change settings of a topic; all others stay as they are."""
    # The whole set: what is not sent would fall back to the broker's default.
    wanted = ConfigResource(ConfigResourceType.TOPIC, found.name, {**found.overrides, **changes})
    for response in await client.alter_configs([wanted]):
        for code, message, *_ in response.resources:
            if code:
                raise for_code(code)(f"{found.name}: {message}")


async def broker_config(client: AIOKafkaAdminClient, broker: int) -> dict[str, str]:
    """Return one broker's settings."""
    (response,) = await client.describe_configs([ConfigResource(ConfigResourceType.BROKER, str(broker))])
    return {entry[0]: entry[1] for *_, entries in response.resources for entry in entries}
