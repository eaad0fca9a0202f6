"""What is known of one key, from each side.  Pure; the shapes are also those of the spill files."""

from collections.abc import Iterable, Iterator
from functools import cache
from operator import attrgetter

import msgspec

from schemas.identity import version_of
from schemas.topics import Topology


@cache
def events_topic(generation: int) -> str:
    """Return the name of a generation's events topic; making one up for each event would take its time."""
    return Topology(generation).events.name


class LogEvent(msgspec.Struct, array_like=True, tag="e", gc=False):
    """A record of an events topic, or one that was made again from its row in `feedback_events`."""

    key: bytes
    generation: int
    partition: int
    offset: int
    timestamp: int
    value: bytes | None
    raw_headers: list[tuple[bytes, bytes | None]]
    is_rebuilt: bool = False

    @property
    def topic(self) -> str:
        """Its topic."""
        return events_topic(self.generation)

    @property
    def headers(self) -> list[tuple[str, bytes | None]]:
        """Its headers; bytes of a name that are no text as lone surrogates."""
        return [(name.decode(errors="surrogateescape"), value) for name, value in self.raw_headers]

    @property
    def own(self) -> int:
        """The version of its place."""
        return version_of(self.generation, self.offset)


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


Entry = LogEvent | TableEvent | StateRecord | TableRow


class Evidence:
    """Everything about one key, each kind in the order of its log."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.events: list[LogEvent] = []
        self.told: list[TableEvent] = []
        self.states: list[StateRecord] = []
        self.rows: list[TableRow] = []

    @property
    def tenant(self) -> str:
        """Whose key it is, as far as one can tell."""
        return self.key.partition(b"/")[0].decode(errors="replace")


def gathered(entries: Iterable[Entry]) -> Iterator[Evidence]:
    """Yield the evidence of each key among the entries."""
    found: dict[bytes, Evidence] = {}
    for entry in entries:
        one = found.get(entry.key) or found.setdefault(entry.key, Evidence(entry.key))
        match entry:
            case LogEvent():
                one.events.append(entry)
            case TableEvent():
                one.told.append(entry)
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
    for one in events:
        if not (kept and one.is_rebuilt and (kept[-1].own, kept[-1].partition) == (one.own, one.partition)):
            kept.append(one)
    return kept
