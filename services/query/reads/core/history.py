"""The history of a request: the outcome of each event, which keys it changed, and how both are shown.

Outcomes follow the rules by which the merger admits events, applied to the stored events of one request:

- an event at or below an erase that came before it in the log is ignored;
- an event whose id is among those of the 8 newest merged idempotent events is a repeat, and ignored;
- an event with a dead letter of its own is dead-lettered;
- every other event was merged.

The stored events decide only once all stages have passed the event: see `barrier`.  Events at or below an
erase are not shown: an erase removes them for good.
"""

from bisect import insort
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import Any, NamedTuple

import orjson

from schemas.deadletters import Stage
from schemas.events import Op
from schemas.identity import split_version, version_of
from schemas.limits import RECENT_EVENTS
from schemas.topics import Topology

NEVER = -1


class EventOutcome(StrEnum):
    """The outcome of an event."""

    MERGED = "merged"
    IGNORED = "ignored"
    DEAD_LETTERED = "dead_lettered"
    PENDING = "pending"


class HistoryEvent(NamedTuple):
    """A stored event.  `version` is its logical position, `place` that of its record; both are versions.

    They differ for a replayed event, whose record is later in the log.
    """

    version: int
    place: int
    event_id: str
    op: str
    idempotent: bool


class StoredLetter(NamedTuple):
    """A dead letter of the request.  `place` is the version of the record that failed.

    `version` is that of the event, or of the row that ClickHouse rejected.
    """

    stage: str
    reason: str
    detail: str
    place: int
    version: int
    is_row: bool
    failed_at: str
    replayed_at: str | None


class EventResult(NamedTuple):
    """An outcome, its reason and detail, and the dead letter if there is one."""

    outcome: EventOutcome
    reason: str = ""
    detail: str = ""
    letter: StoredLetter | None = None


MERGED = EventResult(EventOutcome.MERGED)
REPEAT = EventResult(
    EventOutcome.IGNORED,
    "repeat",
    "an event with this Idempotency-Key was merged before; the repeat changed nothing",
)
ERASED = EventResult(
    EventOutcome.IGNORED, "erased", "the request was erased at a later version; the event changed nothing"
)
NO_EVENT = EventResult(
    EventOutcome.MERGED,
    "no_event",
    "no event of this request has this version; everything of the request below it is merged",
)


def dead_lettered(letter: StoredLetter) -> EventResult:
    """Return the outcome of an event that has a dead letter."""
    again = f"; it was replayed at {letter.replayed_at}" if letter.replayed_at else ""
    return EventResult(EventOutcome.DEAD_LETTERED, letter.reason, f"{letter.detail}{again}", letter)


def pending(why: str) -> EventResult:
    """Return the outcome of an event that is not decided yet."""
    return EventResult(EventOutcome.PENDING, "", why)


def outcomes(
    events: Iterable[HistoryEvent], letters: Iterable[StoredLetter], consumed: int | None = None
) -> dict[int, EventResult]:
    """Return the outcome of each event of a request, by version.

    `consumed` is the version up to which the merger has read; None: everything.  A new topic
    generation begins with empty rows, so each generation is evaluated on its own.
    """
    refused = {letter.place: letter for letter in letters if letter.stage == Stage.MERGER}
    in_log_order = sorted(events, key=lambda event: event.place)
    results: dict[int, EventResult] = {}
    for _, generation in groupby(in_log_order, key=lambda event: split_version(event.place)[0]):
        row = _Admission()
        for event in generation:
            if consumed is not None and event.place >= consumed:
                results[event.version] = _not_yet(event, refused)
            elif letter := refused.get(event.place):
                results[event.version] = dead_lettered(letter)
            else:
                results[event.version] = row.admit(event)
    return results


def _not_yet(event: HistoryEvent, refused: Mapping[int, StoredLetter]) -> EventResult:
    """Return the outcome of an event that the merger has not read; a replay was dead-lettered before."""
    first = refused.get(event.version)
    return dead_lettered(first) if first else pending("the merger has not read it yet")


class _Admission:
    """What the merger remembers of a request to detect repeats and erased events."""

    def __init__(self) -> None:
        self._erased = NEVER
        self._recent: list[tuple[int, str]] = []

    def admit(self, event: HistoryEvent) -> EventResult:
        if event.version <= self._erased:
            return ERASED
        if any(event.event_id == known for _, known in self._recent):
            return REPEAT
        if event.op == Op.ERASE:
            self._erased = event.version
            self._recent = [known for known in self._recent if known[0] > event.version]
        elif event.idempotent:
            insort(self._recent, (event.version, event.event_id))
            del self._recent[:-RECENT_EVENTS]
        return MERGED


def outcome_of(
    version: int,
    events: Sequence[HistoryEvent],
    letters: Sequence[StoredLetter],
    *,
    row_version: int | None,
    consumed: int | None = None,
) -> EventResult:
    """Return the outcome of the event with a version, once all stages have passed it.

    `row_version` is the version of the stored row, None if there is none.
    """
    became = outcomes(events, letters, consumed).get(version)
    if became is None:
        own = [letter for letter in letters if letter.stage == Stage.MERGER and letter.version == version]
        became = dead_lettered(max(own, key=lambda letter: letter.place)) if own else NO_EVENT
    if became.outcome is not EventOutcome.MERGED or (row_version is not None and row_version >= version):
        return became
    rows = [letter for letter in letters if letter.is_row and letter.version >= version]
    return dead_lettered(max(rows, key=lambda letter: letter.place)) if rows else became


def known_dead_lettered(
    version: int, events: Sequence[HistoryEvent], letters: Sequence[StoredLetter], consumed: int | None = None
) -> EventResult | None:
    """Return the outcome of an event whose dead letter is already stored, or None."""
    if not any(letter.stage == Stage.MERGER and letter.version == version for letter in letters):
        return None
    became = outcome_of(version, events, letters, row_version=None, consumed=consumed)
    return became if became.outcome is EventOutcome.DEAD_LETTERED else None


Fields = Mapping[str, Any]
"""The keys of an event, each with its value or a hash of it; None for null."""


class KeyedEvent(NamedTuple):
    """What an event changes; `counts` is False if it was not merged."""

    op: str
    data: Fields
    request: Fields
    counts: bool


@dataclass(frozen=True)
class ChangedKeys:
    """Names of keys by how an event changed them; `kept` ones were repeated with the same value."""

    set: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    cleared: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


class EventChanges(NamedTuple):
    """Changes of an event to both parts of the row."""

    data: ChangedKeys
    request: ChangedKeys


def changes(events: Iterable[KeyedEvent]) -> list[EventChanges]:
    """Return the changes of each event, given all events by version."""
    data: dict[str, Any] = {}
    request: dict[str, Any] = {}
    return [_apply(event, data, request) for event in events]


def _apply(event: KeyedEvent, data: dict[str, Any], request: dict[str, Any]) -> EventChanges:
    if not event.counts:
        return EventChanges(ChangedKeys(), ChangedKeys())
    match event.op:
        case Op.RETRACT:
            return EventChanges(_clear(data), ChangedKeys())
        case Op.ERASE:
            return EventChanges(_clear(data), _clear(request))
        case _:
            return EventChanges(_put(data, event.data), _put(request, event.request))


def _clear(known: dict[str, Any]) -> ChangedKeys:
    cleared = sorted(known)
    known.clear()
    return ChangedKeys(cleared=cleared)


def _put(known: dict[str, Any], fields: Fields) -> ChangedKeys:
    changed = ChangedKeys()
    for key in sorted(fields):
        value = fields[key]
        if value is None:
            if known.pop(key, None) is not None:
                changed.cleared.append(key)
            continue
        before = known.get(key)
        known[key] = value
        if before is None:
            changed.set.append(key)
        else:
            (changed.kept if before == value else changed.replaced).append(key)
    return changed


Row = Mapping[str, Any]

PARTS = ("data", "request")

_BEHIND = pending("the stored row does not include it yet")


def logged(row: Row) -> HistoryEvent:
    """Return an event from its row."""
    return HistoryEvent(
        row["version"], row["log_offset"], row["event_id"], row["op"], bool(row["idempotent"])
    )


def letter_of(row: Row) -> StoredLetter:
    """Return a dead letter from its row."""
    generation = generation_of(row["original_topic"])
    is_row = row["stage"] == Stage.SINK and row["original_topic"] == Topology(generation).state.name
    version = row["row_version"] if is_row else row["original_version"]
    return StoredLetter(
        stage=row["stage"],
        reason=row["reason"],
        detail=row["detail"],
        place=version_of(generation, row["original_offset"]),
        version=NEVER if version is None else version,
        is_row=is_row,
        failed_at=row["failed_at"],
        replayed_at=row["replayed_at"],
    )


def generation_of(topic: str) -> int:
    """Return the generation in a topic's name: `feedback-events-v2` is 2, a name without one is 0."""
    _, dash, suffix = topic.rpartition("-v")
    return int(suffix) if dash and suffix.isascii() and suffix.isdigit() else 0


def visible(events: Iterable[Row], outcome: Mapping[int, EventResult]) -> list[Row]:
    """Return the events that are not erased, by version.

    An erase that the merger has not read yet already hides what it will remove.
    """
    rows = list(events)
    erased = _erased(rows, {version for version, one in outcome.items() if one.outcome in _ERASING})
    return sorted((row for row in rows if row["version"] >= erased), key=lambda row: row["version"])


_ERASING = (EventOutcome.MERGED, EventOutcome.PENDING)


def _erased(rows: Iterable[Row], counting: Container[int]) -> int:
    """Return the version of the newest erase in `counting`."""
    return max(
        (row["version"] for row in rows if row["op"] == Op.ERASE and row["version"] in counting),
        default=NEVER,
    )


def became(
    events: Iterable[Row], letters: Sequence[StoredLetter], row_version: int | None
) -> dict[int, EventResult]:
    """Return the outcome of each event by version, as of the stored row.

    All `events` are needed, also erased ones.  An event that the row does not include yet is pending.
    """
    rows = list(events)
    results = outcomes(map(logged, rows), letters)
    merged = {version for version, one in results.items() if one.outcome is EventOutcome.MERGED}
    if row_version is None:
        # Erased, or not stored yet: only events up to an erase are decided.
        row_version = _erased(rows, merged)
    return results | {version: _BEHIND for version in merged if version > row_version}


def changed(events: Sequence[Row], outcome: Mapping[int, EventResult]) -> dict[int, EventChanges]:
    """Return the changes of each visible event by version; each topic generation begins with empty rows.

    A pending event has no changes yet.
    """
    found: dict[int, EventChanges] = {}
    for _, group in groupby(events, key=lambda event: split_version(event["version"])[0]):
        generation = list(group)
        changed_keys = changes(_event(row, outcome[row["version"]]) for row in generation)
        found |= {row["version"]: one for row, one in zip(generation, changed_keys, strict=True)}
    return found


def _event(row: Row, became: EventResult) -> KeyedEvent:
    data, request = ({key: value or None for key, value in row[f"{part}_keys"]} for part in PARTS)
    return KeyedEvent(row["op"], data, request, counts=became.outcome is EventOutcome.MERGED)


def item(event: Row, body: Row, did: EventChanges, outcome: EventResult) -> dict[str, Any]:
    """Return an event as JSON for clients."""
    data, request = orjson.loads(body["data"]), orjson.loads(body["request"])
    return {
        "version": str(event["version"]),
        "event_id": event["event_id"],
        "op": event["op"],
        "source": body["source"],
        "user_id": _user(data, request),
        "received_at": body["received_at"],
        "appended_at": body["appended_at"],
        "item_id": body["item_id"],
        "at": body["at"],
        "idempotent": bool(event["idempotent"]),
        "replayed": event["log_offset"] > event["version"],
        "data": data,
        "request": request,
        "changes": {"data": asdict(did.data), "request": asdict(did.request)},
        "outcome": outcome.outcome,
        "outcome_reason": outcome.reason,
        "outcome_detail": outcome.detail,
    }


def _user(*parts: Mapping[str, Any]) -> str:
    """Return the user id in the event itself, formatted as the column of the row."""
    for part in parts:
        value = part.get("user_id")
        if value not in (None, ""):
            return value if isinstance(value, str) else orjson.dumps(value).decode()
    return ""
