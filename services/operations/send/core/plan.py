"""Which events travel together, in which order, under which key.

Pure, and a function of the file alone, so that any later run over the same bytes plans the same:

- a file is cut into **chunks**, planned one by one, so that a resume needs only the place of a chunk;
- a request's events all go to one **lane**, and a lane has one batch in flight, so none overtakes another;
- a **batch** holds at most one event of a request.  Sent again after an answer that took some of it, or
  was lost, it cannot put an earlier event of a request behind a later one; and ingest's memory of the
  latest events of a request always reaches back to the one that is repeated.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from zlib import crc32

import orjson

from services.operations.send.core.kinds import not_utf8
from services.operations.send.core.split import Entry, Lines, Place, Values

LANES = 4


@dataclass(frozen=True)
class Limits:
    """How large chunks and batches get.  Another run over a file needs the same to plan the same."""

    chunk_entries: int = 8_000
    chunk_bytes: int = 8 << 20
    batch_entries: int = 500
    batch_bytes: int = 1 << 20


LIMITS = Limits()


@dataclass(frozen=True)
class Chunk:
    """A stretch of the file that is planned by itself."""

    start: Place
    end: Place
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Batch:
    """Events that travel in one request.

    `chunk` is the offset of its chunk, `lane` names the lane within it, and `name` tells the batch, with
    its content, from every other batch of the file.
    """

    chunk: int
    lane: str
    name: str
    entries: tuple[Entry, ...]
    body: bytes


@dataclass(frozen=True)
class Plan:
    """A chunk's batches, lane by lane in the order of sending, and the entries that are no events."""

    lanes: tuple[tuple[Batch, ...], ...]
    faults: tuple[Entry, ...]


def chunks(
    blocks: Iterable[bytes], split: Lines | Values, limits: Limits = LIMITS, *, eager: bool = False
) -> Iterator[Chunk]:
    """Yield the file's chunks; the last one ends where the file ends.

    What stands before damage comes before its error.  `eager` ends a chunk with each block as
    well: from a pipe, what has arrived is sent, though more may take hours.
    """
    start, entries, size = split.place, list[Entry](), 0
    try:
        for entry in _entries(blocks, split):
            if entry:
                entries.append(entry)
                size += len(entry.text)
            full = len(entries) == limits.chunk_entries or size >= limits.chunk_bytes
            if entries and (full or (eager and not entry)):
                yield Chunk(start, entries[-1].end, tuple(entries))
                start, entries, size = entries[-1].end, [], 0
    except Exception:
        if entries:
            yield Chunk(start, entries[-1].end, tuple(entries))
        raise
    if start != split.place:
        yield Chunk(start, split.place, tuple(entries))


def _entries(blocks: Iterable[bytes], split: Lines | Values) -> Iterator[Entry | None]:
    """Yield every entry, and None behind each block."""
    for block in blocks:
        yield from split.feed(block)
        yield None
    yield from split.finish()


def plan(chunk: Chunk, limits: Limits = LIMITS) -> Plan:
    """Return how the events of a chunk are sent."""
    lanes = tuple(_Lane(limits) for _ in range(LANES))
    faults = []
    for entry in chunk.entries:
        request_id, fault = _judge(entry)
        if fault:
            faults.append(entry._replace(fault=fault))
        else:
            lanes[crc32(request_id) % LANES].add(entry, request_id)
    named = tuple(lane.batches(chunk.start.offset, number) for number, lane in enumerate(lanes))
    return Plan(named, tuple(faults))


def _judge(entry: Entry) -> tuple[bytes, str]:
    """Return the request id, and why the entry cannot be sent, if so.

    Everything that is JSON is sent: what an event may be is for ingest to say.
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
    entries: list[Entry] = field(default_factory=list)
    size: int = 0

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.size += len(entry.text) + 1


class _Lane:
    """Puts each event into the first batch that has room behind the request's latest.

    Without a request id there is no order to keep: ingest refuses such an event anyway.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._drafts: list[_Draft] = []
        self._latest: dict[bytes, int] = {}
        self._open = 0

    def add(self, entry: Entry, request_id: bytes) -> None:
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

    def _has_room(self, draft: _Draft, entry: Entry) -> bool:
        size = draft.size + len(entry.text) + 1
        return not draft.entries or (
            len(draft.entries) < self._limits.batch_entries and size <= self._limits.batch_bytes
        )

    def batches(self, chunk: int, lane: int) -> tuple[Batch, ...]:
        return tuple(
            _batch(chunk, f"{chunk}.{lane}", number, tuple(draft.entries))
            for number, draft in enumerate(self._drafts)
        )


_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
"""JSON allows a line break only where it allows any space, so a value of several lines becomes one."""


def _batch(chunk: int, lane: str, number: int, entries: tuple[Entry, ...]) -> Batch:
    body = b"".join(entry.text.translate(_ONE_LINE) + b"\n" for entry in entries)
    return Batch(chunk, lane, f"{lane}.{number}.{crc32(body):08x}", entries, body)
