"""Read a file or standard input, plain or compressed, and find the place to go on from."""

import sys
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from gzip import BadGzipFile, GzipFile
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Self, cast

from services.operations.exits import CommandError, UsageError
from services.operations.send.core.split import Place

BLOCK_BYTES = 1 << 20
_GZIP, _ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class DamagedFileError(CommandError):
    """The compressed file ends early, or is not what it seems."""


class ChangedFileError(UsageError):
    """The part of the file that was sent already is not what it was."""


class Source(AbstractContextManager["Source"]):
    """The bytes of a file, decompressed.  `path` None is standard input; `size` is None for any pipe."""

    def __init__(self, path: Path | None) -> None:
        self.name = str(path) if path else "standard input"
        self.size = path.stat().st_size if path and path.is_file() else None
        # A buffer of its own: a thread that still reads would hold the lock of `sys.stdin` at the end.
        self._raw = path.open("rb") if path else open(0, "rb", closefd=False)  # noqa: SIM115
        self._stream, self._damage = _decompressed(self._raw)
        self._held = b""

    @property
    def consumed(self) -> int:
        """Bytes of the file itself that are read, to be compared with `size`."""
        return self._raw.tell() if self.size is not None else 0

    def head(self) -> bytes:
        """Return the beginning of the file, at least its first line, which is then read again."""
        head = self._read(BLOCK_BYTES)
        while b"\n" not in head.lstrip() and len(head) < BLOCK_BYTES and (more := self._read(BLOCK_BYTES)):
            head += more
        self._held = head
        return head

    def skip_to(self, place: Place) -> None:
        """Go on behind `place`; ChangedFileError when what stands before it has changed."""
        reached = Place()
        while reached.offset < place.offset and (block := self._read(place.offset - reached.offset)):
            reached = reached.after(block)
        if reached._replace(items=place.items) != place:
            raise ChangedFileError(f"{self.name} has changed in the part that was sent already")

    def blocks(self) -> Iterator[bytes]:
        """Yield what is left, block by block; from a pipe, whatever there is."""
        while block := self._read(BLOCK_BYTES):
            yield block

    def _read(self, size: int) -> bytes:
        if self._held:
            block, self._held = self._held[:size], self._held[size:]
            return block
        try:
            return self._stream.read1(min(size, BLOCK_BYTES))
        except self._damage as error:
            raise DamagedFileError(f"{self.name} is damaged: {_damage(error)}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Not a pipe: closing waits for a thread that still reads from it.
        if self.size is not None:
            self._raw.close()


def _damage(error: Exception) -> str:
    """Return what is wrong with a compressed file, and what to do."""
    if isinstance(error, EOFError):
        return (
            "it ends in the middle of the compressed data, as a copy or download does that was cut off; "
            "get it whole and send it again: what was sent is not sent twice"
        )
    return f"{error}; get it again, or decompress what can be read of it and send that"


def _decompressed(raw: BufferedReader) -> tuple[BufferedReader, tuple[type[Exception], ...]]:
    """Return the stream of the content, and what reading it raises when the file is damaged."""
    magic = raw.peek(4)[:4]
    if magic.startswith(_GZIP):
        return cast("BufferedReader", GzipFile(fileobj=raw)), (EOFError, BadGzipFile, zlib.error)
    if magic == _ZSTANDARD:
        return _zstandard(raw)
    return raw, ()


def _zstandard(raw: BinaryIO) -> tuple[BufferedReader, tuple[type[Exception], ...]]:
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415 (each Python has one of the two)
    else:
        from backports import zstd  # noqa: PLC0415
    return cast("BufferedReader", zstd.ZstdFile(raw)), (EOFError, zstd.ZstdError)
