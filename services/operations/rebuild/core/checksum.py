"""The rows that were read of the log as one sum, to compare with the sum of a table's rows in ClickHouse.

A row counts once, by its latest copy; whatever was read before it of the same key does not.  What is
kept of each record is 24 bytes in files, of which one at a time is read: memory does not grow with the log.
"""

import struct
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple, Self

from services.operations.audit.core.checksum import letter_checksum, letter_line, state_checksum, state_line
from services.operations.rebuild.core.scope import EVENTS, LETTERS, STATE, RebuildTable
from services.reconciliation.core.events import expected_event, half_md5

_BUCKETS = 256
_ENTRY = struct.Struct("<QQQ")
_FLUSH_BYTES = 64 * 1024
_MASK = 2**64 - 1


class RowDigest(NamedTuple):
    """A row in short: its key as text, its order among copies of the key, and its checksum; 0 if hidden."""

    key: str
    order: int
    digest: int


def digest(kind: RebuildTable, line: bytes) -> RowDigest:
    """Return the checksum of a line for the sink, as `kind.digest` does in SQL; msgspec's error."""
    return _DIGESTS[kind.table](line)


def _of_state(line: bytes) -> RowDigest:
    row = state_line(line)
    key = (row.tenant, row.request_id)
    checksum = state_checksum(row.sources, bytes(row.data), bytes(row.request))
    own = _digest(*key, row.revision, row.version, checksum)
    return RowDigest("/".join(key), row.revision, 0 if row.is_deleted else own)


def _of_event(line: bytes) -> RowDigest:
    row = expected_event(line)
    key = f"{row.key.decode()}/{row.version}"
    tenant, _, request_id = row.key.decode().partition("/")
    return RowDigest(
        key, row.log_offset, _digest(tenant, request_id, row.version, row.log_offset, row.digest)
    )


def _of_letter(line: bytes) -> RowDigest:
    row = letter_line(line)
    key = (row.dlq_topic, row.dlq_partition, row.dlq_offset)
    own = _digest(*key, row.tenant, row.request_id, letter_checksum(row))
    return RowDigest("/".join(map(str, key)), row.dlq_offset, own)


_DIGESTS = {STATE.table: _of_state, EVENTS.table: _of_event, LETTERS.table: _of_letter}


def _digest(*parts: str | int) -> int:
    return half_md5("\0".join(map(str, parts)).encode())


class TableSum(NamedTuple):
    """Rows, and the sum of their digests modulo 2^64."""

    rows: int
    checksum: int


class ChecksumTally:
    """Counts while the log is read.  Close it to remove its files."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="afterword-rebuild-")
        self._pending = [bytearray() for _ in range(_BUCKETS)]
        self.records = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._directory.cleanup()

    def add(self, one: RowDigest) -> None:
        """Note a row; a later one of the same key and order replaces it."""
        key = _hash(one.key)
        bucket = self._pending[key % _BUCKETS]
        bucket += _ENTRY.pack(key, one.order, one.digest)
        self.records += 1
        if len(bucket) >= _FLUSH_BYTES:
            self._flush(key % _BUCKETS)

    def total(self, without: Collection[str] = ()) -> TableSum:
        """Return rows and sum that the table should have, leaving out some keys."""
        skipped = {_hash(key) for key in without}
        rows = checksum = 0
        for number in range(_BUCKETS):
            self._flush(number)
            for key, digest in self._latest(number):
                if digest and key not in skipped:
                    rows, checksum = rows + 1, checksum + digest & _MASK
        return TableSum(rows, checksum)

    def _latest(self, number: int) -> Iterator[tuple[int, int]]:
        latest: dict[int, tuple[int, int]] = {}
        path = self._path(number)
        entries = path.read_bytes() if path.exists() else b""
        for key, order, digest in _ENTRY.iter_unpack(entries):
            known = latest.get(key)
            if known is None or order >= known[0]:
                latest[key] = order, digest
        return ((key, digest) for key, (_, digest) in latest.items())

    def _flush(self, number: int) -> None:
        if self._pending[number]:
            with self._path(number).open("ab") as file:
                file.write(self._pending[number])
            self._pending[number].clear()

    def _path(self, number: int) -> Path:
        return Path(self._directory.name) / str(number)


def _hash(key: str) -> int:
    return hash(key) & _MASK
