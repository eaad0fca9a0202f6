"""The reach into aiokafka's decoders: no upgrade may move one of these names, or change what they give."""

import inspect
import struct

import pytest
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record import default_records, memory_records

from services.runtime.kafka.core.records import is_text
from services.runtime.kafka.lenient_decoding import TolerantBatch, TolerantRecords, tolerate
from tests.support.kafka.foreign_headers import LZ4, Foreign, batch_of

BROKEN = b"na\xffme"
RECORDS: list[Foreign] = [
    (b"k0", b"v0", None),
    (b"k1", b"v1", BROKEN),
    (b"k2", b"v2", "größe".encode()),
    (b"k3", b"v3", b"\xed\xa0\x80"),
    (b"k4", b"v4", b""),
]


def test_aiokafka_still_raises() -> None:
    """The day this fails, `services.runtime.kafka.lenient_decoding` may go."""
    batch = memory_records.MemoryRecords(batch_of(RECORDS)).next_batch()
    first = next(batch)

    assert first.value == b"v0"
    with pytest.raises((UnicodeDecodeError, CorruptRecordException)):
        next(batch)


@pytest.mark.parametrize("compression", [0, LZ4])
def test_every_record_is_handed_on_once_and_in_order(compression: int) -> None:
    """Those before, those after, and those with such a name, which is told from every name that is text."""
    records = TolerantRecords(batch_of(RECORDS, compression=compression) + batch_of(RECORDS[:1]))
    batch = records.next_batch()
    found = list(batch)
    (last,) = records.next_batch()

    assert [(one.offset, one.key, one.value) for one in found] == [
        (number, key, value) for number, (key, value, _) in enumerate(RECORDS)
    ]
    texts = [[is_text(name) for name, _ in one.headers] for one in found]
    assert texts == [[], [False], [True], [False], [True]]
    assert found[2].headers == [("größe", b"1")]
    assert {type(one.headers) for one in found} == {list}
    assert (last.value, records.next_batch()) == (b"v0", None)


def test_what_is_corrupt_stays_so() -> None:
    """A batch whose numbers do not fit is refused, not read in part for ever."""
    whole = bytearray(batch_of(RECORDS))
    count = default_records.DefaultRecordBase.HEADER_STRUCT.size - 4
    struct.pack_into(">i", whole, count, len(RECORDS) + 1)

    with pytest.raises(CorruptRecordException):
        list(TolerantRecords(bytes(whole)).next_batch())


def test_batches_keep_what_aiokafka_asks_them_for() -> None:
    """The names that its fetcher uses, and the checksum of the bytes as they came."""
    data = batch_of(RECORDS)
    batch = TolerantRecords(data).next_batch()
    plain = memory_records.MemoryRecords(data).next_batch()

    assert isinstance(batch, TolerantBatch)
    assert batch.validate_crc()
    for name in ("is_control_batch", "is_transactional", "producer_id", "base_offset", "next_offset"):
        assert f"next_batch.{name}" in inspect.getsource(fetcher.PartitionRecords)
        assert getattr(batch, name) == getattr(plain, name)


def test_consumers_decode_by_the_name_that_is_replaced() -> None:
    """The fetcher looks it up for each fetch."""
    tolerate()

    assert fetcher.MemoryRecords is TolerantRecords
    assert "records = MemoryRecords(" in inspect.getsource(fetcher.Fetcher)
    assert {"has_next", "next_batch", "size_in_bytes"} <= set(dir(TolerantRecords))
