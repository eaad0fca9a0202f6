"""The rows of one partition on this machine, in RocksDB: a local copy of its state topic.

Rows are written together with the position up to which the copy is complete.  So after any crash the copy
can only be behind, never ahead, and reading on from its position completes it.  Losing or deleting the
directory costs time, not data.

Operators move and restore copies, so each one records of which partition of which cluster it is; a copy of
another partition is set aside.

There is no write-ahead log.  A kill loses what was not flushed, some megabytes that are read again; in
return the files, truncated or not, always hold a state that the copy once had.  (With a write-ahead log,
rows after a lost part returned with a position after it.)
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
    WriteBufferManager,
    WriteOptions,
)

from schemas.limits import MIB
from services.merger.core.state import is_erased
from services.merger.metrics import REBUILT
from services.runtime.kafka.core.log_mark import LogMark, parse

log = structlog.get_logger()

# No key of a request begins with a zero byte.
_POSITION, _INPUT, _SEEN_AT, _BROKEN = b"\0position", b"\0input", b"\0seen_at", b"\0broken"
_MARK, _INPUT_MARK, _OWNER = b"\0mark", b"\0input_mark", b"\0owner"
_ERASED = b"\0erased/"
_FIRST_KEY = b"\1"

_WRITE_BUFFER_BYTES = 16 * MIB
"""For each partition, how much is read again at most after a kill."""
_MEMTABLE_BYTES, _BLOCK_CACHE_BYTES = 128 * MIB, 256 * MIB
_memtables, _block_cache = WriteBufferManager(_MEMTABLE_BYTES, allow_stall=False), Cache(_BLOCK_CACHE_BYTES)
"""Shared by all partitions of the process: memory depends on neither their number nor the rows."""
_OPEN_FILES = 256
"""Of each partition."""

# rocksdict raises Exception for everything, so errors are distinguished by their text.
_IN_USE = ("While lock file", "lock hold by current process")
_DAMAGED = "Corruption:"


class CopyOwner(NamedTuple):
    """The partition that a copy is of.  The topic's name includes its generation."""

    cluster_id: str
    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.cluster_id} {self.topic} {self.partition}"


class StoreDamaged(Exception):  # noqa: N818 (the same word as RocksDB's Corruption)
    """The copy was damaged and has been deleted; opening the partition again reads it back."""


class StateStore:
    """The copy of one partition.  Not for concurrent use.

    A method that detects damage deletes the copy and raises StoreDamaged: a restart would not repair it.
    """

    def __init__(self, path: Path, owner: CopyOwner | None = None) -> None:
        """Open the copy of `owner`, setting aside one of another owner; with None, of any owner."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self._owner = path, owner
        self._db: Any = self._opened()
        if owner is not None:
            self._own(owner)

    def _own(self, owner: CopyOwner) -> None:
        """Set aside a copy of another or unknown owner, and record the owner."""
        with self._detecting_damage():
            stored: bytes | None = self._db.get(_OWNER)
        if (stored is None and self.is_empty) or stored == str(owner).encode():
            self._sign()
            return
        was = "an unknown owner" if stored is None else stored.decode(errors="replace")
        log.warning("local copy of another partition, reading it back", path=str(self.path), copy_of=was)
        self._db.close()
        del self._db
        REBUILT.labels("stranger").inc()
        aside = self.path.with_name(f"{self.path.name}.stranger")
        shutil.rmtree(aside, ignore_errors=True)
        self.path.rename(aside)
        self._db = _open(self.path)
        self._sign()

    def _sign(self) -> None:
        if self._owner is not None:
            with self._detecting_damage(_DAMAGED):
                self._db.put(_OWNER, str(self._owner).encode())

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever written to the copy."""
        return self.position is None and self.input is None and self.seen_at is None

    def _opened(self) -> Rdict:
        try:
            return _open(self.path)
        except Exception as error:
            # A copy in use by another process is not damaged.  ("block checksum mismatch" has a lock in it.)
            if any(sign in str(error) for sign in _IN_USE):
                raise
            log.warning("local copy unreadable, reading it back", path=str(self.path), error=str(error))
            self._remove("damaged")
            return _open(self.path)

    @property
    def position(self) -> int | None:
        """The offset of the first state record that this copy lacks; None before the first write."""
        return self._number(_POSITION)

    @property
    def input(self) -> int | None:
        """An offset before which all events are merged into these rows."""
        return self._number(_INPUT)

    @property
    def mark(self) -> LogMark | None:
        """A record of the state topic below `position`."""
        return self._mark(_MARK)

    @property
    def input_mark(self) -> LogMark | None:
        """A record of the events below `input`."""
        return self._mark(_INPUT_MARK)

    @property
    def seen_at(self) -> int | None:
        """When the copy was last known to be complete, in milliseconds since 1970."""
        return self._number(_SEEN_AT)

    @property
    def broken(self) -> list[int]:
        """Offsets of the partition's latest broken events."""
        with self._detecting_damage():
            stored: bytes | None = self._db.get(_BROKEN)
        return [int(text) for text in stored.split()] if stored else []

    def get(self, keys: list[bytes]) -> dict[bytes, bytes | None]:
        """Return the row of each key, None where there is none."""
        if not keys:
            return {}
        with self._detecting_damage():
            return dict(zip(keys, self._db.get(keys), strict=True))

    def write(
        self,
        rows: Mapping[bytes, tuple[bytes | None, int]],
        *,
        position: int | None,
        now: int,
        input_position: int | None = None,
        broken: Sequence[int] | None = None,
        mark: LogMark | None = None,
        input_mark: LogMark | None = None,
    ) -> None:
        """Store rows together with positions, all or nothing; None leaves a value unchanged.

        A row comes with its timestamp, in milliseconds; None for its value is a tombstone.
        `position` is the offset after the last row, `input_position` an offset before which all events are
        merged into the rows, `broken` the offsets of the latest broken events, `now` milliseconds.
        `mark` and `input_mark` are of records below these positions.
        """
        batch = WriteBatch(raw_mode=True)
        for key, (value, timestamp) in rows.items():
            if value is None:
                batch.delete(key)
                batch.delete(_ERASED + key)
            else:
                batch.put(key, value)
                if is_erased(value):
                    batch.put(_ERASED + key, b"%d" % timestamp)
        for name, number in ((_POSITION, position), (_INPUT, input_position), (_SEEN_AT, now)):
            if number is not None:
                batch.put(name, b"%d" % number)
        for name, one in ((_MARK, mark), (_INPUT_MARK, input_mark)):
            if one is not None:
                batch.put(name, str(one).encode())
        if broken is not None:
            batch.put(_BROKEN, b" ".join(b"%d" % offset for offset in broken))
        with self._detecting_damage(_DAMAGED):
            self._db.write(batch)

    def forgettable(self, erased_before: int) -> Iterator[bytes]:
        """Yield keys of erased rows whose newest erase was appended before a time in milliseconds.

        An iterator over a damaged file ends early without an error, so it may yield too few.
        """
        entries: Iterator[Any] = self._db.items(from_key=_ERASED)
        for listed, stamp in entries:
            if not listed.startswith(_ERASED):
                return
            key: bytes = listed.removeprefix(_ERASED)
            row = self.get([key])[key]
            if row is None or not is_erased(row):
                with self._detecting_damage(_DAMAGED):
                    self._db.delete(listed)  # it has newer fields
            elif int(stamp) < erased_before:
                yield key

    def rows_from(self, key: bytes, count: int) -> list[tuple[bytes, bytes]]:
        """Return at most `count` rows in the order of their keys, beginning with `key`.

        Not reliable: a damaged file ends the list early without an error.
        """
        return list(islice(self._db.items(from_key=max(key, _FIRST_KEY)), count))

    def clear(self, cause: str) -> None:
        """Delete the copy and begin an empty one."""
        with suppress(Exception):  # it is flushed first, which damage prevents, too
            self._db.close()
        del self._db  # that closes it in any case
        self._remove(cause)
        self._db = _open(self.path)
        self._sign()

    def close(self) -> None:
        """Flush the rows, and release the directory."""
        with self._detecting_damage(_DAMAGED):
            self._db.flush()
        self._db.close()

    @contextmanager
    def _detecting_damage(self, sign: str = "") -> Iterator[None]:
        """Treat an error whose text contains `sign` as damage.

        Every failed read is damage: a file may be missing, or a sector unreadable.  A write also fails on a
        full disk; it is damage if its text reports some, which a compaction has detected.
        """
        try:
            yield
        except Exception as error:
            if sign not in str(error):
                raise
            self.clear("damaged")
            raise StoreDamaged(f"{self.path} is damaged, and was deleted: {error}") from error

    def _number(self, key: bytes) -> int | None:
        with self._detecting_damage():
            stored = self._db.get(key)
        return None if stored is None else int(stored)

    def _mark(self, key: bytes) -> LogMark | None:
        with self._detecting_damage():
            stored: bytes | None = self._db.get(key)
        return None if stored is None else parse(stored.decode(errors="replace"))

    def _remove(self, cause: str) -> None:
        REBUILT.labels(cause).inc()
        shutil.rmtree(self.path, ignore_errors=True)


def _open(path: Path) -> Rdict:
    options = Options(raw_mode=True)
    options.create_if_missing(True)  # noqa: FBT003 (that is the call)
    options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_write_buffer_manager(_memtables)
    options.set_max_open_files(_OPEN_FILES)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_keep_log_file_num(2)
    blocks = BlockBasedOptions()
    blocks.set_bloom_filter(10, block_based=False)
    blocks.set_block_cache(_block_cache)
    # In the bounded block cache: seven bytes a row, which would otherwise stay in memory.
    blocks.set_cache_index_and_filter_blocks(True)
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(True)
    options.set_block_based_table_factory(blocks)
    database = Rdict(str(path), options)
    writing: Any = WriteOptions()  # whose stub takes this property for a method
    writing.disable_wal = True
    database.set_write_options(writing)
    return database
