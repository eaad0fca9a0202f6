"""What was read of the log, summed up so that ClickHouse can be asked whether it has just that.

A row counts once, as its latest copy says; whatever was read before it of the same key does not.  What is
remembered of each record is 24 bytes in files, of which one at a time is looked at: memory stays the same
however long the log is.
"""

import struct
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple, Self

from services.operations.rebuild.core.digests import Digest

_BUCKETS = 256
_ENTRY = struct.Struct("<QQQ")
_FLUSH_BYTES = 64 * 1024
_MASK = 2**64 - 1


class Sum(NamedTuple):
    """Rows, and the sum of their digests modulo 2^64."""

    rows: int
    checksum: int


class Tally:
    """Counts while the log is read.  Close it to remove its files."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="afterword-rebuild-")
        self._pending = [bytearray() for _ in range(_BUCKETS)]
        self.records = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._directory.cleanup()

    def add(self, one: Digest) -> None:
        """Note a row; a later one of the same key and order replaces it."""
        key = _hash(one.key)
        bucket = self._pending[key % _BUCKETS]
        bucket += _ENTRY.pack(key, one.order, one.digest)
        self.records += 1
        if len(bucket) >= _FLUSH_BYTES:
            self._flush(key % _BUCKETS)

    def total(self, without: Collection[str] = ()) -> Sum:
        """Return what the table should come to, leaving out some keys."""
        skipped = {_hash(key) for key in without}
        rows = checksum = 0
        for number in range(_BUCKETS):
            self._flush(number)
            for key, digest in self._latest(number):
                if digest and key not in skipped:
                    rows, checksum = rows + 1, checksum + digest & _MASK
        return Sum(rows, checksum)

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
