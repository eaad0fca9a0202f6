"""Options of Kafka clients that must agree with the topics' sizes and with each other."""

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol

from aiokafka.client import AIOKafkaClient

from schemas.topics import Topic
from services.runtime.settings import KafkaSettings

REQUEST_TIMEOUT_MS = 20_000
RETRY_BACKOFF_MS = 100
METADATA_PAUSE_SECONDS = 0.1
LAST_MOMENT_SECONDS = 1.0
"""How long whoever cancels a client's start waits for its end."""

FETCH_MIN_BYTES = 128 << 10
FETCH_WAIT_MS = 200
"""Kafka answers a fetch of merger and sink when it has so much, or after so long.  Answering each batch of
ingest, and each transaction of the merger, by itself is most of what reading costs on both sides; and the
merger would spend itself on small transactions, whose cost hardly depends on what is in them."""

RECORD_OVERHEAD_BYTES = 64 << 10
"""Room for a batch's header, a record's key and its headers beside the largest value."""


class Startable(Protocol):
    """A client of Kafka."""

    async def start(self) -> None:
        """Connect."""


async def connect(client: Startable) -> None:
    """Start a client, which has to be stopped even if this fails.

    Who cancels this waits a moment: aiokafka forgets the connection that it learns the brokers over, and
    nobody could close it.
    """
    starting = asyncio.create_task(client.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        try:
            await asyncio.wait({starting}, timeout=LAST_MOMENT_SECONDS)
        finally:
            starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        raise


def client_options(settings: KafkaSettings, client_id: str) -> dict[str, Any]:
    """Return what every aiokafka client of ours is made with."""
    return {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "client_id": client_id,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "retry_backoff_ms": RETRY_BACKOFF_MS,
    }


def consumer_options(settings: KafkaSettings, client_id: str, topics: Iterable[Topic]) -> dict[str, Any]:
    """Return the options of a consumer that can fetch the largest record of these topics.

    It sees only committed records, and its offsets are committed by whoever has stored the result.
    """
    return {
        **client_options(settings, client_id),
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "isolation_level": "read_committed",
        "max_partition_fetch_bytes": max(topic.max_message_bytes for topic in topics) + RECORD_OVERHEAD_BYTES,
    }


def calm(client: AIOKafkaClient) -> None:
    """Pause between forced metadata updates, and let none of them outlive the client.

    While a partition has no leader, aiokafka's sender asks for metadata in a loop without a pause:
    a whole core, and thousands of log lines a second.
    """
    update, close = client.force_metadata_update, client.close
    waiting: set[asyncio.Task[Any]] = set()

    async def later() -> Any:
        await asyncio.sleep(METADATA_PAUSE_SECONDS)
        return await update()

    def begin() -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(later())
        waiting.add(task)
        task.add_done_callback(waiting.discard)
        return task

    async def close_all() -> None:
        for task in [*waiting]:
            task.cancel()
        await close()

    client.force_metadata_update, client.close = begin, close_all
