"""One request, judged: do its events, its state and its row agree?

Where the whole history is known, the state must be what its events yield.  Where some of it is gone, at
least each event that is kept must be in the state already: merging it again changes nothing.
`rebuild` has a comparison of its own, because it asks something else: which states to write.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from schemas.events import Op
from schemas.identity import partition_of, split_version
from schemas.topics import Topology
from services.merger.core import state as states
from services.merger.core.admission import LIMITS, weight
from services.merger.core.events import Poison, decode, version_in_order
from services.merger.core.merge import merge
from services.merger.core.state import MergerState
from services.operations.audit.core.checksum import state_checksum, state_line
from services.operations.audit.core.expected_state import decoded, essence, folded
from services.operations.audit.core.row_to_event import LogEvent
from services.operations.verify.core.evidence import (
    CompareContext,
    RequestEvidence,
    StateRecord,
    TableEvent,
    TableRow,
)
from services.operations.verify.core.report import VerifyFinding
from services.operations.verify.core.snapshot import LogSnapshot
from services.reconciliation.core.events import ExpectedEvent, Suspect, expected_event, microseconds, suspect
from services.reconciliation.core.ranges import EventsPartition
from services.reconciliation.core.remedies import DiffKind


@dataclass
class RequestFindings:
    """What differs of a request.  `suspects` seem to be missing; `unproven`: its history is not whole."""

    findings: list[VerifyFinding] = field(default_factory=list)
    suspects: list[Suspect] = field(default_factory=list)
    events: int = 0
    unproven: bool = False


def is_touched(evidence: RequestEvidence, known: CompareContext) -> bool:
    """Return whether a key was touched by an event in the range of time."""
    return not known.selection.has_times or any(
        known.selection.covers(event.timestamp) for event in evidence.events
    )


def compare(evidence: RequestEvidence, known: CompareContext) -> RequestFindings:
    """Compare what is known of a key."""
    judged = RequestFindings()
    _events(evidence, known, judged)
    judged.findings += _state(evidence, known, judged)
    judged.findings += row_findings(evidence, known)
    return judged


def _events(evidence: RequestEvidence, known: CompareContext, judged: RequestFindings) -> None:
    """Compare the table of events with the log."""
    rows = {row.version: row for row in evidence.table_events}
    by_place: dict[tuple[int, int], ExpectedEvent] = {}
    newest: dict[int, tuple[ExpectedEvent, LogEvent]] = {}
    for event in evidence.events:
        line = None if event.is_rebuilt else known.render(event, event.generation)
        if line is None:
            continue
        expected = by_place[event.own, event.partition] = expected_event(line)
        if _is_promised(event, known):
            judged.events += 1
            newest[expected.version] = expected, event
    for version, (expected, event) in newest.items():
        row = rows.get(version)
        if row is None or row.log_offset < expected.log_offset:
            judged.suspects.append(suspect(event.topic, event, expected))
    for row in evidence.table_events:
        logged = by_place.get((row.log_offset, row.partition))
        if logged is None or logged.version != row.version:
            judged.findings += _unexplained(row, known)
        elif row.digest != logged.digest or logged.received_us not in (None, row.received_us):
            judged.findings.append(_event_finding(DiffKind.EVENT_CHANGED, row))


def _is_promised(event: LogEvent, known: CompareContext) -> bool:
    """Return whether the table must have an event that the call is about."""
    stored_upto = known.snapshot.events_stored_upto(EventsPartition(event.generation, event.partition))
    chosen = known.selection
    return event.offset < stored_upto and chosen.covers(event.timestamp) and chosen.is_kept(event.timestamp)


def _unexplained(row: TableEvent, known: CompareContext) -> Iterator[VerifyFinding]:
    """Yield a finding for a row at an offset where the log has another record, or none yet."""
    generation, offset = split_version(row.log_offset)
    log = known.snapshot.events_log(EventsPartition(generation, row.partition))
    if log is not None and offset >= log.start:
        beyond = offset >= log.end
        detail = "beyond the log's end" if beyond else "the log has no such event there"
        yield _event_finding(DiffKind.EVENT_INVENTED, row, detail)


def _event_finding(kind: DiffKind, row: TableEvent, detail: str = "") -> VerifyFinding:
    generation, offset = split_version(row.log_offset)
    return VerifyFinding(kind, row.key, detail, Topology(generation).events.name, row.partition, offset)


def _at(kind: DiffKind, event: LogEvent, detail: str = "") -> VerifyFinding:
    return VerifyFinding(kind, event.key, detail, event.topic, event.partition, event.offset)


def _state(
    evidence: RequestEvidence, known: CompareContext, judged: RequestFindings
) -> Iterator[VerifyFinding]:
    """Compare the state with what the events yield."""
    found = evidence.states[-1] if evidence.states else None
    value = found.value if found else None
    state = None if value is None else decoded(value)
    if value is not None and state is None:
        yield _of_state(DiffKind.STATE_DIFFERS, evidence.key, known, found, "it is no state")
        return
    events = _at_home(evidence.events, known.snapshot)
    if not _yields(events, state, found, known):
        yield from _difference(events, state, evidence.key, found, known, judged)


def _yields(
    events: Sequence[LogEvent], state: MergerState | None, found: StateRecord | None, known: CompareContext
) -> bool:
    rebuilt = any(event.is_rebuilt for event in events)
    for candidate in _candidates(events, known):
        if candidate is None:
            if found is None or found.value is None:
                return True
        elif state is None:
            if states.is_erased(candidate) and (found is not None or _is_forgotten(events, known)):
                return True
        elif _is_same(state, candidate, rebuilt=rebuilt):
            return True
    return False


def _is_forgotten(events: Sequence[LogEvent], known: CompareContext) -> bool:
    """Return whether an erased row may have left the state topic: long enough after the erase."""
    return any(
        _erases(event) is not None and (event.is_rebuilt or event.timestamp < known.forgets_before)
        for event in events
    )


def _difference(
    events: Sequence[LogEvent],
    state: MergerState | None,
    key: bytes,
    found: StateRecord | None,
    known: CompareContext,
    judged: RequestFindings,
) -> Iterator[VerifyFinding]:
    promised = [event for event in events if _is_merged(event, known)]
    if state is None:
        if all(event.timestamp < known.removes_before for event in promised):
            judged.unproven = True
        elif any(map(_is_event, promised)):
            yield _of_state(DiffKind.STATE_MISSING, key, known, found, f"{len(promised):,} events came to it")
        return
    merged = [event for event in promised if not _is_dead_lettered(event, known) and _is_event(event)]
    in_use = known.snapshot.in_use
    # A state that `afterword recover` made does not record which events of older generations were read.
    lost = [
        event
        for event in merged
        if not (_absorbs(state, event) and (event.generation != in_use or _has_read(state, event)))
    ]
    for event in lost:
        yield _at(DiffKind.NEVER_MERGED if event.generation == in_use else DiffKind.KEYS_VANISHED, event)
    if not lost and known.is_whole(key):
        yield _of_state(DiffKind.STATE_DIFFERS if events else DiffKind.STATE_INVENTED, key, known, found)
    elif not lost:
        judged.unproven = True


def _is_dead_lettered(event: LogEvent, known: CompareContext) -> bool:
    return (event.topic, event.partition, event.offset) in known.given_up


def _of_state(
    kind: DiffKind, key: bytes, known: CompareContext, found: StateRecord | None, detail: str = ""
) -> VerifyFinding:
    topic = known.snapshot.state_topic
    if found is None:
        return VerifyFinding(
            kind, key, detail, topic, partition_of(key, known.snapshot.partitions(known.snapshot.in_use))
        )
    return VerifyFinding(kind, key, detail, topic, found.partition, found.offset)


def _candidates(events: Sequence[LogEvent], known: CompareContext) -> Iterator[bytes | None]:
    """Yield every state that the merger may have written last, from the one that it promised on."""
    promised = [event for event in events if _is_merged(event, known)]
    state = _folded(promised, None, known) if promised else None
    yield state
    for event in events:
        if not _is_merged(event, known):
            state = _folded([event], state, known)
            yield state


def _folded(events: Sequence[LogEvent], before: bytes | None, known: CompareContext) -> bytes | None:
    expected = folded(events, known.fold_context, before)
    return None if expected is None else expected.value


def _is_merged(event: LogEvent, known: CompareContext) -> bool:
    """Return whether the merger's position is past an event."""
    return event.offset < known.snapshot.merged_upto(EventsPartition(event.generation, event.partition))


def _at_home(events: Sequence[LogEvent], snapshot: LogSnapshot) -> list[LogEvent]:
    """Return the events in the partition of their key: others were dead-lettered."""
    return [
        event
        for event in events
        if event.partition == partition_of(event.key, snapshot.partitions(event.generation))
    ]


def _is_same(state: MergerState, candidate: bytes, *, rebuilt: bool) -> bool:
    """Return whether a state is what events yield; `rebuilt`: some of them were rebuilt from their rows."""
    other = states.decode(candidate)
    if rebuilt:
        return essence(state) == essence(other)
    return states.encode(state) == states.encode(other)


def _has_read(state: MergerState, event: LogEvent) -> bool:
    """Return whether the merger had read an event when it wrote a state."""
    return event.own <= state.version or event.own <= state.merge.read


def _is_event(event: LogEvent) -> bool:
    """Return whether a record is something that can be merged."""
    try:
        version_in_order(event.headers, event.own)
        decode(event.key, event.value or b"")
    except Poison:
        return False
    return True


def _erases(event: LogEvent) -> int | None:
    """Return up to which version an event erases, None if it erases nothing."""
    try:
        version = version_in_order(event.headers, event.own)
        return version if decode(event.key, event.value or b"").op is Op.ERASE else None
    except Poison:
        return None


def _absorbs(state: MergerState, event: LogEvent) -> bool:
    """Return whether merging an event into a state changes nothing; True where that is unknown.

    An idempotent event may have been a repeat, and one for a large row too large.
    """
    try:
        version = version_in_order(event.headers, event.own)
        body = decode(event.key, event.value or b"")
    except Poison:
        return True
    if body.idempotent or weight(state) + len(event.value or b"") > LIMITS.bytes:
        return True
    before = states.encode(state)
    trial = states.decode(before)
    merge(trial, body, version)
    return states.encode(trial) == before


def row_findings(evidence: RequestEvidence, known: CompareContext) -> Iterator[VerifyFinding]:
    """Compare the row in `feedback_state` with the state topic."""
    key, snapshot = evidence.key, known.snapshot
    if len(evidence.rows) > 1:
        yield VerifyFinding(DiffKind.ROW_DUPLICATED, key, f"{len(evidence.rows)} rows")
    row = max(evidence.rows, key=lambda one: one.revision, default=None)
    home = partition_of(key, snapshot.partitions(snapshot.in_use))
    stored_upto = snapshot.rows_stored_upto(home)
    states_at = {one.offset: one for one in evidence.states}
    promised = max((offset for offset in states_at if offset < stored_upto), default=None)
    expected = None if promised is None else states_at[promised]
    if row is None:
        if expected is not None and not _is_hidden(expected) and not _is_about_to_hide(evidence, stored_upto):
            yield _unstored(DiffKind.ROW_MISSING, expected, known)
        return
    generation, offset = split_version(row.revision)
    if generation != snapshot.in_use:
        yield from _of_another_generation(row, generation, expected, known)
    elif expected is not None and offset < expected.offset:
        yield _unstored(DiffKind.ROW_STALE, expected, known)
    elif (state := states_at.get(offset)) is not None:
        if _is_hidden(state) or not _is_row(row, state):
            yield VerifyFinding(DiffKind.ROW_CHANGED, key, "", snapshot.state_topic, state.partition, offset)
    elif not _was_compacted(offset, stored_upto, home, evidence, snapshot):
        yield VerifyFinding(DiffKind.ROW_INVENTED, key, "", snapshot.state_topic, home, offset)


def _was_compacted(
    offset: int, stored_upto: int, home: int, evidence: RequestEvidence, snapshot: LogSnapshot
) -> bool:
    """Return whether a row may come from a record that was replaced during the comparison."""
    log = snapshot.logs.get((snapshot.state_topic, home))
    newer = evidence.states and evidence.states[-1].offset > offset
    return bool(log and stored_upto <= offset < log.end and newer)


def _is_about_to_hide(evidence: RequestEvidence, stored_upto: int) -> bool:
    """Return whether the sink may have hidden the row since its position was asked for."""
    return any(state.offset >= stored_upto and _is_hidden(state) for state in evidence.states)


def _of_another_generation(
    row: TableRow, generation: int, expected: StateRecord | None, known: CompareContext
) -> Iterator[VerifyFinding]:
    if generation > known.snapshot.in_use:
        yield VerifyFinding(
            DiffKind.ROW_INVENTED, row.key, f"of generation {generation}, which is not in use"
        )
    elif expected is not None:
        yield _unstored(DiffKind.ROW_STALE, expected, known)


def _unstored(kind: DiffKind, expected: StateRecord, known: CompareContext) -> VerifyFinding:
    topic = known.snapshot.state_topic
    letter = known.refused.get((topic, expected.partition, expected.offset))
    if letter is not None:
        kind = DiffKind.ROW_REFUSED
    return VerifyFinding(kind, expected.key, letter or "", topic, expected.partition, expected.offset)


def _is_hidden(record: StateRecord) -> bool:
    return record.value is None or states.is_erased(record.value)


def _is_row(row: TableRow, record: StateRecord) -> bool:
    try:
        wanted = state_line(record.value or b"")
    except msgspec.MsgspecError:
        return False
    times = zip(
        (microseconds(wanted.first_received_at), microseconds(wanted.last_received_at)),
        (row.first_us, row.last_us),
        strict=True,
    )
    return (
        row.version == wanted.version
        and row.digest == state_checksum(wanted.sources, bytes(wanted.data), bytes(wanted.request))
        and all(should in (None, is_) for should, is_ in times)
    )
