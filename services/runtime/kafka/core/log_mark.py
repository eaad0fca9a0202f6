"""Identifies the log before a position by its newest record there: offset and hash.

A position is a number, and after a log was cut short or replaced the same number means other records.  A
mark is kept beside it: `offset:hash`, of the newest record that was read below the position.  Markers of
transactions lie between records and have no hash, so the mark has an offset of its own.  A mark stays true
for every later position, so an older one is still good evidence where no newer one is known.

It has no timestamp: the broker may replace that, and key and value of two events are never the same.
"""

from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b

from services.runtime.kafka.core.records import Record

_HASH_BYTES = 8


@dataclass(frozen=True, slots=True)
class LogMark:
    """A record that a log had.  `digest` is 16 hexadecimal digits."""

    offset: int
    digest: str

    def __str__(self) -> str:
        return f"{self.offset}:{self.digest}"


class MarkMatch(Enum):
    """Whether a log is the one that a mark was taken from."""

    SAME = "same"
    UNKNOWN = "unknown"
    """The record was deleted by retention or compaction, or no mark was kept."""
    DIFFERS = "differs"


def mark_of(record: Record) -> LogMark:
    """Return the mark of a record."""
    return mark_at(record.offset, record.key, record.value)


def mark_at(offset: int, key: bytes | None, value: bytes | None) -> LogMark:
    """Return the mark of a record with this offset, key and value."""
    digest = blake2b(b"-" if key is None else b"%d:%b" % (len(key), key), digest_size=_HASH_BYTES)
    digest.update(b"-" if value is None else b"+")
    digest.update(value or b"")
    return LogMark(offset, digest.hexdigest())


def parse(text: str | None) -> LogMark | None:
    """Return the mark that a text holds; None for none, and for what another program wrote there."""
    offset, _, digest = (text or "").partition(":")
    if not (offset.isascii() and offset.isdigit() and len(digest) == 2 * _HASH_BYTES):
        return None
    return LogMark(int(offset), digest)


def newer(*marks: LogMark | None) -> LogMark | None:
    """Return the mark with the highest offset."""
    return max((mark for mark in marks if mark is not None), key=lambda one: one.offset, default=None)


def match(mark: LogMark | None, start: int, found: LogMark | None, *, is_compacted: bool) -> MarkMatch:
    """Compare a mark with what the log has now.

    `start` is the log's first offset, `found` the first record at the mark's offset or behind it, None when
    there is none.  A topic that is not compacted has every record from its start on, so a missing one shows
    another log.
    """
    if mark is None or mark.offset < start:
        return MarkMatch.UNKNOWN
    if found is None or found.offset != mark.offset:
        return MarkMatch.UNKNOWN if is_compacted else MarkMatch.DIFFERS
    return MarkMatch.SAME if found == mark else MarkMatch.DIFFERS
