"""Fills a topic for a benchmark: records by key, in record batches as large as Kafka takes them."""

from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaProducer

from schemas.identity import partition_of
from schemas.limits import MIB
from services.runtime.kafka.clients import client_options
from services.runtime.settings import KafkaSettings


async def fill(
    settings: KafkaSettings,
    topic: str,
    records: Iterable[tuple[bytes, bytes]],
    partitions: int,
    **options: Any,
) -> int:
    """Append keys and values; how many bytes they have.  `options` are the producer's."""
    producer = AIOKafkaProducer(
        **client_options(settings, "bench"), enable_idempotence=True, max_batch_size=MIB, **options
    )
    await producer.start()
    batches = {number: producer.create_batch() for number in range(partitions)}
    size = 0
    for key, value in records:
        size += len(key) + len(value)
        number = partition_of(key, partitions)
        if batches[number].append(key=key, value=value, timestamp=None) is None:
            await producer.send_batch(batches[number], topic, partition=number)
            batches[number] = producer.create_batch()
            batches[number].append(key=key, value=value, timestamp=None)
    for number, batch in batches.items():
        await producer.send_batch(batch, topic, partition=number)
    await producer.flush()
    await producer.stop()
    return size
