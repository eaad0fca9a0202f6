"""Which generation of the topics is in use: asked of Kafka, so that every process finds the same answer.

The truth is the largest record that each generation's events topic takes:

- `NEVER_OPENED`: the topics are being filled, and nobody may write events yet;
- `CLOSED`: the generation was in use, and Kafka itself refuses every event, whoever sends it;
- anything else: it is open.

`afterword resize` makes a generation, closes the one before it and opens the new one, so at most one is open.
A newer one is opened only when everything of the older ones is merged and stored.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.topics import Topology
from services.runtime.settings import KafkaSettings
from services.runtime.survey import admin

S = TypeVar("S", bound=KafkaSettings)

LIMIT = "max.message.bytes"
NEVER_OPENED, CLOSED = 0, 1
"""Values of the limit; the smallest batch of records has 61 bytes."""

_EVENTS = re.compile(re.escape(Topology().events.name) + r"(?:-v([0-9]+))?")


class Standing(Enum):
    """What may be done with a generation."""

    NEW = "new"
    """It was never opened."""
    OPEN = "open"
    CLOSED = "closed"
    """It was open, and takes nothing any more."""


@dataclass(frozen=True)
class Generation:
    """A generation that exists."""

    number: int
    standing: Standing
    partitions: int


def standing_of(limit: int) -> Standing:
    """Return how a generation stands whose events topic takes records of so many bytes at most."""
    if limit == NEVER_OPENED:
        return Standing.NEW
    return Standing.CLOSED if limit == CLOSED else Standing.OPEN


def in_use(found: Iterable[Generation]) -> int:
    """Return the generation to read: the newest that was ever opened; 0 before there are any topics."""
    return max((one.number for one in found if one.standing is not Standing.NEW), default=0)


def writable(found: Sequence[Generation]) -> int | None:
    """Return the generation that takes events, or None while the topics move to another one."""
    number = in_use(found)
    closed = any(one.number == number and one.standing is Standing.CLOSED for one in found)
    return None if closed else number


def number_of(topic: str) -> int | None:
    """Return the generation of an events topic, None for the name of another topic."""
    match = _EVENTS.fullmatch(topic)
    return None if match is None else int(match[1] or 0)


async def generations(client: AIOKafkaAdminClient) -> list[Generation]:
    """Return every generation whose events topic exists, by number."""
    # All topics are asked for: asking for one by name could create it.
    described = await client.describe_topics()
    counts = {
        topic["topic"]: len(topic["partitions"])
        for topic in described
        if number_of(topic["topic"]) is not None
    }
    limits = await _limits(client, counts)
    found = [
        Generation(number, standing_of(limit), counts[name])
        for name, limit in limits.items()
        if (number := number_of(name)) is not None
    ]
    return sorted(found, key=lambda one: one.number)


async def _limits(client: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, int]:
    asked = [ConfigResource(ConfigResourceType.TOPIC, name, {LIMIT: ""}) for name in names]
    if not asked:
        return {}
    return {
        name: int(entries[0][1])
        for response in await client.describe_configs(asked)
        for error, _, _, name, entries in response.resources
        if not error and entries  # a topic that was made or deleted just now may be unknown to this broker
    }


async def resolved(settings: S, client_id: str) -> S:
    """Return settings whose generation is the one in use, or as they are where one was given.

    KafkaError when Kafka does not answer.
    """
    if settings.is_generation_given:
        return settings
    async with admin(settings, client_id) as client:
        return settings.replace(kafka_topic_generation=in_use(await generations(client)))
