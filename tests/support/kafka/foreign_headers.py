"""Records that only a program of somebody else's would write: headers whose names are not UTF-8."""

from collections.abc import Iterable
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from services.runtime.kafka.clients import client_options
from services.runtime.settings import KafkaSettings

Foreign = tuple[bytes, bytes, bytes | None]
"""Key, value, and the name of a header if there is one."""

LZ4 = 3


class _Name(str):
    """A name that is these bytes, in the slow encoder of aiokafka."""

    __slots__ = ("raw",)
    raw: bytes

    def __new__(cls, raw: bytes) -> Self:
        """Return the name of these bytes, in place of which `str` holds another."""
        name = super().__new__(cls, "x")
        name.raw = raw
        return name

    def encode(self, *_how: Any) -> bytes:
        """Return the bytes."""
        return self.raw


def batch_of(records: Iterable[Foreign], *, compression: int = 0) -> bytes:
    """Return a batch as it travels; all in one, so that good records stand beside the others."""
    builder = _DefaultRecordBatchBuilderPy(
        magic=2,
        compression_type=compression,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 20,
    )
    for offset, (key, value, name) in enumerate(records):
        headers = [] if name is None else [(_Name(name), b"1")]
        builder.append(offset, 1_795_000_000_000, key, value, headers)
    return bytes(builder.build())


async def write_foreign(settings: KafkaSettings, topic: str, partition: int, records: list[Foreign]) -> None:
    """Append the records to a partition as one batch, and return once Kafka has it."""
    producer = AIOKafkaProducer(**client_options(settings, "test"), acks="all")
    await producer.start()
    try:
        batch = producer.create_batch()
        batch._buffer, batch._relative_offset = batch_of(records), len(records)
        batch.close()
        await (await producer.send_batch(batch, topic, partition=partition))
    finally:
        await producer.stop()
