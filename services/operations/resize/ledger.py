"""The newest value of each key on both sides, as short digests on disk: which keys differ.

Memory stays bounded however many keys there are; what it holds is worth nothing after the run.
"""

import shutil
from collections.abc import Iterable
from enum import IntEnum
from hashlib import blake2b
from pathlib import Path
from typing import Any

from rocksdict import Options, Rdict, WriteBatch, WriteOptions

from services.operations.transfer import TransferRecord

_DIGEST_BYTES = 16
_ABSENT = bytes(_DIGEST_BYTES)


class Side(IntEnum):
    """Which of two topics."""

    OLD = 0
    NEW = 1


class StateLedger:
    """Compares two topics record by record, in any mixture of both; a tombstone is as good as no record."""

    def __init__(self, path: Path) -> None:
        """Begin with nothing, in a directory that is this ledger's own."""
        shutil.rmtree(path, ignore_errors=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.differing = self.keys = 0
        """Keys whose newest values differ, and keys that the old side has."""
        self._path = path
        self._db: Any = Rdict(str(path), Options(raw_mode=True))
        unlogged: Any = WriteOptions()  # whose stub takes this property for a method
        unlogged.disable_wal = True
        self._db.set_write_options(unlogged)

    def note(self, side: Side, entries: Iterable[TransferRecord]) -> None:
        """Take in records of one side, in the order of each key."""
        newest = {entry.key: _digest(entry) for entry in entries}
        keys = list(newest)
        if not keys:
            return
        batch = WriteBatch(raw_mode=True)
        for key, known in zip(keys, self._db.get(keys), strict=True):
            before = _pair(known)
            after = (newest[key], before[1]) if side is Side.OLD else (before[0], newest[key])
            self.differing += (after[0] != after[1]) - (before[0] != before[1])
            self.keys += (after[0] != _ABSENT) - (before[0] != _ABSENT)
            batch.put(key, after[0] + after[1])
        self._db.write(batch)

    def close(self) -> None:
        """Delete it."""
        self._db.close()
        shutil.rmtree(self._path, ignore_errors=True)


def _pair(known: bytes | None) -> tuple[bytes, bytes]:
    return (_ABSENT, _ABSENT) if known is None else (known[:_DIGEST_BYTES], known[_DIGEST_BYTES:])


def _digest(entry: TransferRecord) -> bytes:
    if entry.value is None:
        return _ABSENT
    stamp = entry.timestamp.to_bytes(8, "big", signed=True)
    return blake2b(entry.value, digest_size=_DIGEST_BYTES, salt=stamp).digest()
