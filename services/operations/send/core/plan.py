"""Which events are sent together, in which order, under which key: a function of the file alone.

So a later run over the same bytes has the same plan:

- a file is divided into **chunks**, planned one by one, so that a resume needs only the position of a chunk;
- all events of a request go to one **lane**, and a lane has one batch in flight, so none overtakes another;
- a **batch** has at most one event of a request.  Sent again after a partial or lost response, it cannot put
  an earlier event of a request behind a later one; and the latest events of a request that ingest remembers
  always include the repeated one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from zlib import crc32

import orjson

from services.operations.send.core.split import FilePosition, SendEntry, Splitter, not_utf8

LANES = 4


@dataclass(frozen=True)
class SendLimits:
    """Largest chunks and batches.  A later run over a file needs the same limits for the same plan."""

    chunk_entries: int = 8_000
    chunk_bytes: int = 8 << 20
    batch_entries: int = 500
    batch_bytes: int = 1 << 20


LIMITS = SendLimits()


@dataclass(frozen=True)
class FileChunk:
    """A section of the file that is planned by itself."""

    start: FilePosition
    end: FilePosition
    entries: tuple[SendEntry, ...]


@dataclass(frozen=True)
class SendBatch:
    """Events that are sent in one HTTP request.

    `chunk` is the offset of its chunk, `lane` the lane within it, and `name` is unique in the file for
    the batch and its content.
    """

    chunk: int
    lane: str
    name: str
    entries: tuple[SendEntry, ...]
    body: bytes


@dataclass(frozen=True)
class SendPlan:
    """The batches of a chunk, by lane in the order of sending, and the entries that are not events."""

    lanes: tuple[tuple[SendBatch, ...], ...]
    faults: tuple[SendEntry, ...]


def chunks(
    blocks: Iterable[bytes],
    split: Splitter,
    limits: SendLimits = LIMITS,
    *,
    eager: bool = False,
) -> Iterator[FileChunk]:
    """Yield the chunks of the file; the last one ends where the file ends.

    Entries before a damaged part are yielded before its error.  `eager` ends a chunk with each block: from a
    pipe, what has arrived is sent, though the rest may take hours.
    """
    start, entries, size = split.place, list[SendEntry](), 0
    try:
        for entry in _entries(blocks, split):
            if entry:
                entries.append(entry)
                size += len(entry.text)
            full = len(entries) == limits.chunk_entries or size >= limits.chunk_bytes
            if entries and (full or (eager and not entry)):
                yield FileChunk(start, entries[-1].end, tuple(entries))
                start, entries, size = entries[-1].end, [], 0
    except Exception:
        if entries:
            yield FileChunk(start, entries[-1].end, tuple(entries))
        raise
    if start != split.place:
        yield FileChunk(start, split.place, tuple(entries))


def _entries(blocks: Iterable[bytes], split: Splitter) -> Iterator[SendEntry | None]:
    """Yield every entry, and None after each block."""
    for block in blocks:
        yield from split.feed(block)
        yield None
    yield from split.finish()


def plan(chunk: FileChunk, limits: SendLimits = LIMITS) -> SendPlan:
    """Return the batches of a chunk; items of an export are sent in the order of their times."""
    lanes = tuple(_Lane(limits) for _ in range(LANES))
    faults = []
    for entry in sorted(chunk.entries, key=lambda entry: entry.at.removesuffix("Z")):
        request_id, fault = _parsed(entry)
        if fault:
            faults.append(entry._replace(fault=fault))
        else:
            lanes[crc32(request_id) % LANES].add(entry, request_id)
    named = tuple(lane.batches(chunk.start.offset, number) for number, lane in enumerate(lanes))
    return SendPlan(named, tuple(faults))


def _parsed(entry: SendEntry) -> tuple[bytes, str]:
    """Return the request id, and why the entry cannot be sent; empty if it can.

    Everything that is JSON is sent: ingest validates it.
    """
    if entry.fault:
        return b"", entry.fault
    try:
        value = orjson.loads(entry.text)
    except orjson.JSONDecodeError as error:
        return b"", not_utf8(entry.text) or f"not JSON: {error}"
    request_id = value.get("request_id") if isinstance(value, dict) else None
    return (request_id.encode() if isinstance(request_id, str) else b""), ""


@dataclass
class _Draft:
    entries: list[SendEntry] = field(default_factory=list)
    size: int = 0

    def add(self, entry: SendEntry) -> None:
        self.entries.append(entry)
        self.size += len(entry.text) + 1


class _Lane:
    """Puts each event into the first batch with room behind the latest one of its request.

    Events without a request id have no order: ingest rejects them.
    """

    def __init__(self, limits: SendLimits) -> None:
        self._limits = limits
        self._drafts: list[_Draft] = []
        self._latest: dict[bytes, int] = {}
        self._open = 0

    def add(self, entry: SendEntry, request_id: bytes) -> None:
        for number in count(max(self._latest.get(request_id, -1) + 1, self._open)):
            if number == len(self._drafts):
                self._drafts.append(_Draft())
            draft = self._drafts[number]
            if self._has_room(draft, entry):
                draft.add(entry)
                if request_id:
                    self._latest[request_id] = number
                return
            if number == self._open:
                self._open += 1

    def _has_room(self, draft: _Draft, entry: SendEntry) -> bool:
        size = draft.size + len(entry.text) + 1
        return not draft.entries or (
            len(draft.entries) < self._limits.batch_entries and size <= self._limits.batch_bytes
        )

    def batches(self, chunk: int, lane: int) -> tuple[SendBatch, ...]:
        return tuple(
            _batch(chunk, f"{chunk}.{lane}", number, tuple(draft.entries))
            for number, draft in enumerate(self._drafts)
        )


_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
"""JSON allows a line break only where it allows any space, so a value of multiple lines becomes one line."""


def _batch(chunk: int, lane: str, number: int, entries: tuple[SendEntry, ...]) -> SendBatch:
    body = b"".join(entry.text.translate(_ONE_LINE) + b"\n" for entry in entries)
    return SendBatch(chunk, lane, f"{lane}.{number}.{crc32(body):08x}", entries, body)
