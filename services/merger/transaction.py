"""Kafka transactions of one partition: rows, dead letters and the input offset, all or nothing."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from schemas.limits import MIB
from schemas.topics import Topology
from services.merger.settings import MergerSettings
from services.runtime.kafka.clients import connect, producer
from services.runtime.kafka.core.log_mark import LogMark

_RECORD_BATCH_BYTES = 2 * MIB


_NO_HEADERS: list[tuple[str, bytes]] = []


_Record = tuple[bytes | None, bytes | None, int | None, list[tuple[str, bytes]]]


class Outgoing(NamedTuple):
    """A record to be sent.  The timestamp is in milliseconds; None is the time of sending."""

    key: bytes | None
    value: bytes | None
    timestamp: int | None = None
    headers: list[tuple[str, bytes]] = _NO_HEADERS


class TransactionWriter:
    """The transactional producer of a partition: starting it fenced every earlier one."""

    def __init__(self, producer: AIOKafkaProducer, topology: Topology, partition: int) -> None:
        self._producer = producer
        self._events = TopicPartition(topology.events.name, partition)
        self._state = TopicPartition(topology.state.name, partition)
        self._letters = TopicPartition(topology.events_dlq.name, 0)
        self._group = topology.merger_group

    @classmethod
    async def open(cls, settings: MergerSettings, topology: Topology, partition: int) -> Self:
        """Start the producer.

        When this returns, no transaction of an earlier owner is open, so that the committed offset and the
        state topic are final.
        """
        compression = settings.merger_compression
        sending = producer(
            settings,
            f"afterword-merger-{partition}",
            transactional_id=topology.transactional_id(topology.merger_group, partition),
            transaction_timeout_ms=int(settings.merger_transaction_seconds * 1000),
            max_batch_size=_RECORD_BATCH_BYTES,
            compression_type=None if compression == "none" else compression,
        )
        try:
            await connect(sending)
        except BaseException:
            await sending.stop()
            raise
        return cls(sending, topology, partition)

    async def commit(
        self,
        rows: Mapping[bytes, tuple[bytes | None, int]],
        letters: Iterable[Outgoing] = (),
        position: int | None = None,
        mark: LogMark | None = None,
    ) -> int | None:
        """Send rows and dead letters, and commit the input position with them, in one transaction.

        `mark` is of a record below the position; the group stores it as the metadata of the offset.

        Returns the offset after the last row, None without rows.  After any error do not use this writer
        again: the transaction stays open until Kafka or the next owner rolls it back.
        """
        await self._producer.begin_transaction()
        records = ((key, value, timestamp, _NO_HEADERS) for key, (value, timestamp) in rows.items())
        sent = [*await self._send(self._state, records), *await self._send(self._letters, letters)]
        # Two reasons to wait here.  aiokafka would commit a transaction although one of its sends failed.
        # And Kafka refuses, for a while, sends that overlap with adding the offsets.
        acknowledged = await asyncio.gather(*(future for future, _ in sent))
        if position is not None:
            entry = OffsetAndMetadata(position, str(mark or ""))
            await self._producer.send_offsets_to_transaction({self._events: entry}, self._group)
        await self._producer.commit_transaction()
        ends = [
            metadata.offset + count
            for metadata, (_, count) in zip(acknowledged, sent, strict=True)
            if metadata.topic == self._state.topic
        ]
        return max(ends, default=None)

    async def close(self) -> None:
        """Stop the producer; an open transaction is not ended."""
        await self._producer.stop()

    async def _send(self, place: TopicPartition, records: Iterable[_Record]) -> list[tuple[Any, int]]:
        """Send records in record batches built here, which costs a quarter of sending each."""
        sent = []
        for batch in self._packed(records):
            batch.close()
            future = await self._producer.send_batch(batch, place.topic, partition=place.partition)
            sent.append((future, batch.record_count()))
        return sent

    def _packed(self, records: Iterable[_Record]) -> Iterator[Any]:
        batch = self._producer.create_batch()
        for key, value, timestamp, headers in records:
            if batch.append(key=key, value=value, timestamp=timestamp, headers=headers) is None:
                yield batch
                batch = self._producer.create_batch()
                batch.append(key=key, value=value, timestamp=timestamp, headers=headers)
        if batch.record_count():
            yield batch
