"""Fills a topic with keyed records from any source: each in the partition of its key, byte for byte.

Everything goes in transactions, with the positions of the source where it has any.  So what is read of the
topic was committed whole, an interrupted call resumes where it ended, and of two that fill the same topic
Kafka lets only the younger one write.
"""

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaProducer, TopicPartition

from schemas.identity import partition_of
from schemas.limits import MIB
from services.pipeline.offsets import Offsets
from services.runtime.kafka.clients import RECORD_OVERHEAD_BYTES, connect, producer
from services.runtime.kafka.core.records import Partition
from services.runtime.kafka.log_reader import OffsetRange
from services.runtime.settings import KafkaSettings

AT_ONCE_RECORDS, AT_ONCE_BYTES = 10_000, 8 * MIB
"""The largest transaction of `fill`: the memory that it needs."""
_BATCH_BYTES = 512 << 10
_TRANSACTION_MS = 60_000


class TransferRecord(NamedTuple):
    """A record: a value of None is a tombstone, the timestamp is in milliseconds."""

    key: bytes
    value: bytes | None
    timestamp: int
    headers: Sequence[tuple[str, bytes | None]] = ()


class Transfer:
    """The only producer that may write under its transactional id: opening it fenced the others.

    After any error it cannot be used; its open transaction is never visible.
    """

    def __init__(self, producer: AIOKafkaProducer, topic: str, partitions: int, group: str | None) -> None:
        self._producer, self._topic, self._partitions, self._group = producer, topic, partitions, group

    @classmethod
    async def open(cls, settings: KafkaSettings, topic: str, partitions: int, group: str | None) -> Self:
        """Start the producer.  `group` is its transactional id, and the group of the source's offsets.

        None writes without transactions, whose markers would be offsets without a record: then an interrupted
        call may have appended a part, and no other producer is fenced.

        On return, a transaction of an earlier producer has ended.  KafkaError if Kafka does not answer.
        """
        kind: dict[str, Any] = {"transactional_id": group, "transaction_timeout_ms": _TRANSACTION_MS}
        if group is None:
            kind = {"enable_idempotence": True}
        sending = producer(
            settings,
            "afterword-transfer",
            **kind,
            max_batch_size=_BATCH_BYTES,
            max_request_size=AT_ONCE_BYTES + RECORD_OVERHEAD_BYTES,
            compression_type="lz4",
        )
        try:
            await connect(sending)
        except BaseException:
            await sending.stop()
            raise
        return cls(sending, topic, partitions, group)

    async def put(
        self, entries: Iterable[TransferRecord], positions: Mapping[Partition, int] | None = None
    ) -> None:
        """Append records, and commit the positions of the source with them, all or nothing.

        Records of a key keep their order.  ProducerFenced once a younger producer was opened.
        """
        if self._group is not None:
            await self._producer.begin_transaction()
        sent = [
            await self._producer.send_batch(batch, self._topic, partition=partition)
            for partition, batch in self._packed(entries)
        ]
        # Awaited here: aiokafka would commit a transaction although one of its sends failed.
        await asyncio.gather(*sent)
        if self._group is None:
            return
        if positions:
            offsets = {TopicPartition(*place): position for place, position in positions.items()}
            await self._producer.send_offsets_to_transaction(offsets, self._group)
        await self._producer.commit_transaction()

    async def close(self) -> None:
        """Stop the producer; an open transaction stays open until the next producer is opened."""
        await self._producer.stop()

    def _packed(self, entries: Iterable[TransferRecord]) -> Iterable[tuple[int, Any]]:
        """Return record batches, each with its partition; those of a partition in their order."""
        full: list[tuple[int, Any]] = []
        being_filled: dict[int, Any] = {}
        for key, value, timestamp, headers in entries:
            partition = partition_of(key, self._partitions)
            batch = being_filled.get(partition) or self._producer.create_batch()
            if batch.append(key=key, value=value, timestamp=timestamp, headers=[*headers]) is None:
                full.append((partition, batch))
                batch = self._producer.create_batch()
                batch.append(key=key, value=value, timestamp=timestamp, headers=[*headers])
            being_filled[partition] = batch
        packed = [*full, *being_filled.items()]
        for _, batch in packed:
            batch.close()
        return packed


async def unread(
    known: Offsets, topic: str, done: Mapping[Partition, int] = MappingProxyType({})
) -> list[OffsetRange]:
    """Return what a topic has from the positions in `done` on, or from its start; KafkaError."""
    places = await known.partitions([topic])
    starts, ends = await known.starts(places), await known.ends(places)
    first = {place: max(done.get(place, 0), starts[place]) for place in places}
    return [OffsetRange(*place, first[place], ends[place]) for place in places if first[place] < ends[place]]


async def fill(
    transfer: Transfer,
    source: AsyncIterable[TransferRecord],
    moved: Callable[[int], None] = lambda _count: None,
) -> int:
    """Append all records of a source without offsets, in bounded memory, and return their number.

    `moved` is called with the number of records of each transaction.
    """
    waiting: list[TransferRecord] = []
    size = total = 0
    async for entry in source:
        waiting.append(entry)
        size += len(entry.key) + len(entry.value or b"")
        if len(waiting) >= AT_ONCE_RECORDS or size >= AT_ONCE_BYTES:
            await transfer.put(waiting)
            moved(len(waiting))
            total += len(waiting)
            waiting, size = [], 0
    if waiting:
        await transfer.put(waiting)
        moved(len(waiting))
    return total + len(waiting)
