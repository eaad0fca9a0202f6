"""Reads from Kafka which topic generation is in use, so that every process finds the same one."""

import asyncio
from typing import TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from services.pipeline.core.generation_states import LIMIT, Generation, in_use, number_of, standing_of
from services.pipeline.survey import admin, topic_numbers
from services.runtime.settings import KafkaSettings

S = TypeVar("S", bound=KafkaSettings)

LOOK_SECONDS = 1.0
"""Between two looks of a process that works on a generation at whether it still is the one in use."""


async def generations(client: AIOKafkaAdminClient, only: int | None = None) -> list[Generation]:
    """Return every generation whose events topic exists, by number, or `only` that one."""
    # All topics are asked for: asking for one by name could create it.
    described = await client.describe_topics()
    counts = {
        topic["topic"]: len(topic["partitions"])
        for topic in described
        if (number := number_of(topic["topic"])) is not None and only in (None, number)
    }
    limits = await topic_numbers(client, counts, LIMIT)
    found = [
        Generation(number, standing_of(limit), counts[name])
        for name, limit in limits.items()
        if (number := number_of(name)) is not None
    ]
    return sorted(found, key=lambda one: one.number)


async def resolved(settings: S, client_id: str) -> S:
    """Return settings whose generation is the one in use, or as they are where one was given.

    KafkaError when Kafka does not answer.
    """
    if settings.is_generation_given:
        return settings
    async with admin(settings, client_id) as client:
        return settings.replace(kafka_topic_generation=in_use(await generations(client)))


async def superseded(settings: KafkaSettings, client_id: str, number: int) -> int:
    """Return the generation in use once it is newer than `number`, however long that takes.

    It never is for settings that name one: those who set it move by setting another.
    """
    if settings.is_generation_given:
        await asyncio.Event().wait()
    while True:
        try:
            async with admin(settings, client_id) as client:
                while True:
                    found = in_use(await generations(client))
                    if found > number:
                        return found
                    await asyncio.sleep(LOOK_SECONDS)
        except (KafkaError, OSError, TimeoutError):
            await asyncio.sleep(LOOK_SECONDS)  # the clients that do the work log that Kafka is unreachable
