"""Makes aiokafka return records with a header whose name is not UTF-8, which only other programs write.

aiokafka raises in the middle of such a batch, at each retry, so a consumer would never get past it.  Here the
rest of the batch is decoded again, with invalid bytes as lone surrogates, which no valid name has:
`records.is_text` detects them, and the record can be dead-lettered.

Every name of aiokafka that this uses is private, and pinned by a contract test.  It can go once aiokafka
returns record batches.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, SupportsIndex

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy
from aiokafka.record.util import decode_varint_py


def tolerate() -> None:
    """Have every consumer that this process makes from now on read such records."""
    fetcher.MemoryRecords = TolerantRecords


class TolerantRecords(_MemoryRecordsPy):
    """What one fetch brought from one partition, batch by batch."""

    def next_batch(self) -> Any:
        """Return the next batch, or None after the last one."""
        data = self._next_slice
        batch = super().next_batch()
        if not isinstance(batch, DefaultRecordBatch) or batch.is_control_batch:
            return batch
        return TolerantBatch(batch, data)


class TolerantBatch:
    """A batch that aiokafka decodes as far as it can, and this the rest."""

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch, self._data = batch, data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def whole(self) -> list[Any]:
        """Return all of its records at once."""
        try:
            return list(self._batch)
        except (UnicodeDecodeError, CorruptRecordException):
            return list(LenientBatch(self._data))

    def __iter__(self) -> Iterator[Any]:
        count = 0
        try:
            for record in self._batch:
                count += 1
                yield record
        except (UnicodeDecodeError, CorruptRecordException):
            # What is corrupt in any other way is so this time, too.
            yield from islice(LenientBatch(self._data), count, None)


class LenientBatch(_DefaultRecordBatchPy):
    """A batch in aiokafka's slow decoder, for which every header's name is text."""

    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _Lenient(self._buffer)

    def _read_msg(self) -> Any:
        return super()._read_msg(decode_varint_py)


class _Lenient(bytearray):
    """Bytes whose slices decode whatever they are."""

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        found = super().__getitem__(index)
        return _Lenient(found) if isinstance(found, bytearray) else found

    def decode(self, encoding: str = "utf-8", _errors: str = "strict") -> str:
        return super().decode(encoding, "surrogateescape")
