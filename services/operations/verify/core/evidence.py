"""What is known of one request, from log and tables, and what all requests are judged by.

The shapes are also those of the spill files.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter

import msgspec

from schemas.identity import partition_of
from services.operations.audit.core.expected_state import Crashed, FoldContext
from services.operations.audit.core.row_to_event import LogEvent
from services.operations.verify.core.selection import VerifySelection
from services.operations.verify.core.snapshot import LogSnapshot
from services.reconciliation.core.events import Render
from services.reconciliation.core.ranges import EventsPartition


class TableEvent(msgspec.Struct, array_like=True, tag="t", gc=False):
    """A row of `feedback_events`."""

    key: bytes
    version: int
    partition: int
    log_offset: int
    received_us: int
    digest: int


class StateRecord(msgspec.Struct, array_like=True, tag="s", gc=False):
    """A record of the state topic in use."""

    key: bytes
    partition: int
    offset: int
    value: bytes | None


class TableRow(msgspec.Struct, array_like=True, tag="r", gc=False):
    """A row of `feedback_state` as FINAL shows it."""

    key: bytes
    revision: int
    version: int
    first_us: int
    last_us: int
    digest: int


EvidenceEntry = LogEvent | TableEvent | StateRecord | TableRow


class RequestEvidence:
    """Everything about one key, each kind in the order of its log."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.events: list[LogEvent] = []
        self.table_events: list[TableEvent] = []
        self.states: list[StateRecord] = []
        self.rows: list[TableRow] = []

    @property
    def tenant(self) -> str:
        """The tenant of the key, as far as it has one."""
        return self.key.partition(b"/")[0].decode(errors="replace")


def gathered(entries: Iterable[EvidenceEntry]) -> Iterator[RequestEvidence]:
    """Yield the evidence of each key among the entries."""
    found: dict[bytes, RequestEvidence] = {}
    for entry in entries:
        one = found.get(entry.key) or found.setdefault(entry.key, RequestEvidence(entry.key))
        match entry:
            case LogEvent():
                one.events.append(entry)
            case TableEvent():
                one.table_events.append(entry)
            case StateRecord():
                one.states.append(entry)
            case TableRow():
                one.rows.append(entry)
    for one in found.values():
        one.events = _once(one.events)
        one.states.sort(key=attrgetter("offset"))
        yield one


def _once(events: list[LogEvent]) -> list[LogEvent]:
    """Return events in order, each once: the record itself rather than what was made again of it."""
    events.sort(key=lambda one: (one.own, one.partition, one.is_rebuilt))
    kept: list[LogEvent] = []
    for event in events:
        if not (
            kept and event.is_rebuilt and (kept[-1].own, kept[-1].partition) == (event.own, event.partition)
        ):
            kept.append(event)
    return kept


@dataclass(frozen=True)
class CompareContext:
    """What all requests are compared by."""

    snapshot: LogSnapshot
    selection: VerifySelection
    render: Render
    given_up: Collection[tuple[str, int, int]] = ()
    """Events that the merger dead-lettered, for whatever reason."""
    crashed: Crashed = ()
    """Those of them that it did not decode."""
    refused: Mapping[tuple[str, int, int], str] = field(default_factory=dict)
    """Records that ClickHouse refused, and the ids of their dead letters."""
    gaps: Collection[EventsPartition] = ()
    """Partitions of which some event is neither in the log nor in the table."""
    forgets_before: int = 0
    """Erased rows may have left the state topic if they were erased before then, in milliseconds."""
    removes_before: int = 0
    """So may rows whose newest event was appended before then, where states are not kept for ever."""

    def is_whole(self, key: bytes) -> bool:
        """Return whether every event that a key ever had is known."""
        return not any(
            EventsPartition(generation.number, partition_of(key, generation.partitions)) in self.gaps
            for generation in self.snapshot.generations
        )

    @cached_property
    def fold_context(self) -> FoldContext:
        """What the fold of events needs besides."""
        return FoldContext(
            {generation.number: generation.partitions for generation in self.snapshot.generations},
            self.crashed,
        )
