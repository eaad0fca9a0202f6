"""Checks with a new client whether Kafka is available for what a process needs.

The new client shares nothing with those that the process works with: what they may hang in, it does not.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from typing import Any, Generic, TypeVar

from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import DescribeConfigsRequest

from services.runtime.kafka.clients import plain_client, uncut
from services.runtime.kafka.core.outages import Cluster, Needs, Place, Replicas, brokers, outage
from services.runtime.settings import KafkaSettings

T = TypeVar("T")
R = TypeVar("R")

AWAY = (KafkaError, OSError, TimeoutError)
"""Errors that mean that Kafka does not answer."""
ANSWER_SECONDS = 10.0
"""Timeout of the check, after which Kafka counts as unreachable."""
PATIENCE_SECONDS = 20.0
"""The same for a question of `KeptClients`."""
_REQUEST_MS = 5_000
_MIN_IN_SYNC = "min.insync.replicas"


async def kafka_outage(settings: KafkaSettings, client_id: str, needs: Needs) -> str | None:
    """Return why Kafka cannot serve these needs at the moment, for any client; None if it can."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await uncut(_outage(settings, client_id, needs))
    except TimeoutError:
        return f"Kafka does not answer within {ANSWER_SECONDS:.0f} s"


async def _outage(settings: KafkaSettings, client_id: str, needs: Needs) -> str | None:
    client = plain_client(settings, client_id, request_timeout_ms=_REQUEST_MS)
    try:
        await client.bootstrap()
        return outage(needs, await _cluster(client, needs))
    except AWAY as error:
        return f"Kafka does not answer: {error!r}"
    finally:
        await client.close()


async def _cluster(client: AIOKafkaClient, needs: Needs) -> Cluster:
    found = await client.fetch_all_metadata()
    partitions: dict[Place, Replicas] = {
        (topic, number): Replicas(one.leader, tuple(one.isr), tuple(one.replicas))
        for topic, numbers in found._partitions.items()  # noqa: SLF001 (it has no other way to the replicas)
        if topic in needs.topics
        for number, one in numbers.items()
    }
    wanted = brokers(needs, partitions)
    answering = {number for number in sorted(wanted) if await client.ready(number)}
    topics = sorted({topic for topic, _ in partitions})
    least = await _min_in_sync(client, min(answering), topics) if answering and topics else {}
    return Cluster(partitions, least, frozenset(answering))


async def _min_in_sync(client: AIOKafkaClient, broker: int, topics: Iterable[str]) -> dict[str, int]:
    asked: list[Any] = [(ConfigResourceType.TOPIC, topic, [_MIN_IN_SYNC]) for topic in topics]
    answer = await client.send(broker, DescribeConfigsRequest(asked))
    return {
        name: int(entries[0][1]) for error, _, _, name, entries in answer.resources if not error and entries
    }


class KeptClients(Generic[T]):
    """Clients that are kept between questions.  A question that fails is retried once, with new clients."""

    def __init__(self, connect: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self._connect, self._stack = connect, AsyncExitStack()
        self._clients: T | None = None

    async def ask(self, question: Callable[[T], Awaitable[R]]) -> R:
        """Return the answer; what the new clients raise, if Kafka does not answer them either."""
        if self._clients is not None:
            with suppress(*AWAY):
                return await self._asked(question)
            await self.close()
        try:
            return await self._asked(question)
        except BaseException:
            await self.close()
            raise

    async def _asked(self, question: Callable[[T], Awaitable[R]]) -> R:
        async with asyncio.timeout(PATIENCE_SECONDS):
            if self._clients is None:
                self._clients = await self._stack.enter_async_context(self._connect())
            return await question(self._clients)

    async def close(self) -> None:
        """Disconnect."""
        self._clients = None
        await self._stack.aclose()
