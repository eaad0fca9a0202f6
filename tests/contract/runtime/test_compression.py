"""Record batches of aiokafka are compressed by our encoder, and any reader understands them."""

import sys
from typing import Any

from aiokafka.codec import lz4_decode, lz4_encode
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from services.runtime.kafka.compression import compress_quickly, lz4

LZ4 = 3
HEAD = 61
"""Bytes of a record batch before its records."""


def _batch(values: list[bytes]) -> bytes:
    builder: Any = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=LZ4,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 20,
    )
    for offset, value in enumerate(values):
        builder.append(offset, 1, b"key", value, [])
    return bytes(builder.build())


def test_a_batch_is_made_with_the_quick_encoder_and_read_back() -> None:
    """The records inside are the frame that our encoder makes of them."""
    values = [b"%d of some values that look alike" % number for number in range(2_000)]
    module = vars(sys.modules[DefaultRecordBatchBuilder.__module__])
    before = module["lz4_encode"]  # another test may have had it replaced already
    try:
        module["lz4_encode"] = lz4_encode
        slow = _batch(values)
        compress_quickly()
        made = _batch(values)
    finally:
        module["lz4_encode"] = before

    batch = MemoryRecords(made).next_batch()
    assert [record.value for record in batch] == values
    assert made[HEAD:] == lz4(lz4_decode(made[HEAD:]))
    assert made != slow
