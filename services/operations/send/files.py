"""Files of `afterword send`: the input, plain or compressed, and the progress that is kept of it."""

import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from gzip import BadGzipFile, GzipFile
from hashlib import sha256
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Self, cast

from services.operations.exits import CommandError, UsageError
from services.operations.send.core.imports import ExportFormat
from services.operations.send.core.progress import SendProgress
from services.operations.send.core.split import FilePosition
from services.runtime.file_lock import AlreadyLockedError, locked

BLOCK_BYTES = 1 << 20
_GZIP, _ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class DamagedFileError(CommandError):
    """The compressed file is truncated or corrupt."""


class ChangedFileError(UsageError):
    """The part of the file that was sent already has changed."""


class InputFile(AbstractContextManager["InputFile"]):
    """The decompressed bytes of a file.  `path` None is standard input; `size` is None for a pipe."""

    def __init__(self, path: Path | None) -> None:
        self.name = str(path) if path else "standard input"
        self.size = path.stat().st_size if path and path.is_file() else None
        # Not `sys.stdin`: a thread that still reads would hold its lock at exit.
        self._raw = path.open("rb") if path else open(0, "rb", closefd=False)  # noqa: SIM115
        self._stream, self._damage = _decompressed(self._raw)
        self._held = b""

    @property
    def consumed(self) -> int:
        """Bytes read of the file itself, before decompression; to be compared with `size`."""
        return self._raw.tell() if self.size is not None else 0

    def head(self) -> bytes:
        """Return the beginning of the file, at least its first line, which `blocks` yields again."""
        head = self._read(BLOCK_BYTES)
        while b"\n" not in head.lstrip() and len(head) < BLOCK_BYTES and (more := self._read(BLOCK_BYTES)):
            head += more
        self._held = head
        return head

    def skip_to(self, position: FilePosition) -> None:
        """Skip what precedes `position`; ChangedFileError if that has changed."""
        reached = FilePosition()
        while reached.offset < position.offset and (block := self._read(position.offset - reached.offset)):
            reached = reached.after(block)
        if reached._replace(items=position.items) != position:
            raise ChangedFileError(f"{self.name} has changed in the part that was sent already")

    def blocks(self) -> Iterator[bytes]:
        """Yield the rest in blocks; from a pipe, as it arrives."""
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
        # A pipe stays open: closing would wait for a thread that still reads from it.
        if self.size is not None:
            self._raw.close()


def _damage(error: Exception) -> str:
    """Return what is wrong with a compressed file, and a remedy."""
    if isinstance(error, EOFError):
        return (
            "it ends in the middle of the compressed data, like an interrupted copy or download; "
            "get the whole file and send it again: nothing is sent twice"
        )
    return f"{error}; get it again, or decompress the readable part and send that"


def _decompressed(raw: BufferedReader) -> tuple[BufferedReader, tuple[type[Exception], ...]]:
    """Return the stream of the content, and the errors that reading a damaged file raises."""
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


def state_directory() -> Path:
    """Return the default directory of progress: the XDG state directory."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "afterword" / "send"


class ProgressStore:
    """The progress of one file to one server with one key: a small file that is replaced as a whole.

    Read as another format, the file has other events, and thus another progress.
    """

    def __init__(
        self, directory: Path, path: Path, url: str, key: str | None, source: ExportFormat | None
    ) -> None:
        read_as = (source.system, *source.maps) if source else ()
        sending = "\n".join((str(path.resolve()), url, key or "", *read_as))
        self._path = directory / f"{path.name}.{sha256(sending.encode()).hexdigest()[:16]}.json"
        self._sent = path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the file against another `send`; UsageError if one runs, or nothing can be written."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = locked(self._path.with_suffix(".lock"), wait=False)
            lock.__enter__()
        except AlreadyLockedError as error:
            raise UsageError(f"{self._sent} is being sent by another `afterword send`") from error
        except OSError as error:
            raise UsageError(
                f"cannot keep progress in {self._path.parent} ({error.strerror}); name another --state-dir"
            ) from error
        try:
            yield
        finally:
            lock.__exit__(None, None, None)

    def load(self) -> SendProgress | None:
        """Return the progress, None if the file was never sent; UsageError if it cannot be read."""
        try:
            return SendProgress.decoded(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise UsageError(
                f"{self._path} cannot be read ({error}); --restart sends from the start"
            ) from error

    def save(self, progress: SendProgress) -> None:
        """Store the progress durably: the next batch of a lane is sent only after this."""
        partial = self._path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(progress.encoded())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._path)
