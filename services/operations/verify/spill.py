"""Partitions evidence by the hash of its key into files, so that one partition fits into memory.

The files hold feedback, so only their owner may read the directory, and it is deleted at the end.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import msgspec

from schemas.limits import KIB, MIB
from services.operations.verify.core.evidence import EvidenceEntry, RequestEvidence, gathered
from services.operations.verify.core.selection import bucket_of

_FLUSH_BYTES = 256 * KIB
_MOST_BYTES = 64 * MIB
"""Of all buffers together."""
_LENGTH_BYTES = 4

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(EvidenceEntry).decode


class Spill:
    """Files of entries.  A file is open only while it is written, so their number needs no limit."""

    def __init__(self, buckets: int) -> None:
        self._count = buckets
        self._most = min(_FLUSH_BYTES, _MOST_BYTES // buckets)
        self._buffers = [bytearray() for _ in range(buckets)]
        self._directory = TemporaryDirectory(prefix="afterword-verify-")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._directory.cleanup()

    def __len__(self) -> int:
        return self._count

    def put(self, entry: EvidenceEntry) -> None:
        """Add an entry."""
        bucket = bucket_of(entry.key, self._count)
        buffer = self._buffers[bucket]
        text = _encode(entry)
        buffer += len(text).to_bytes(_LENGTH_BYTES)
        buffer += text
        if len(buffer) > self._most:
            self._flush(bucket)

    def evidence(self, bucket: int) -> Iterator[RequestEvidence]:
        """Yield the evidence of each key of a bucket."""
        self._flush(bucket)
        return gathered(self._entries(bucket))

    def _entries(self, bucket: int) -> Iterator[EvidenceEntry]:
        with self._path(bucket).open("rb") as file:
            while length := file.read(_LENGTH_BYTES):
                yield _decode(file.read(int.from_bytes(length)))
        self._path(bucket).unlink()

    def _flush(self, bucket: int) -> None:
        with self._path(bucket).open("ab") as file:
            file.write(self._buffers[bucket])
        self._buffers[bucket].clear()

    def _path(self, bucket: int) -> Path:
        return Path(self._directory.name) / str(bucket)
