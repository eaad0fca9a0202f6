"""One request, judged: do its events, its state and its row agree?

Where the whole history is known, the state must be what its events come to.  Where some of it is gone, at
least each event that is kept must be in the state already: merging it again changes nothing.
`rebuild` has a comparison of its own, because it asks something else: which states to write.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from schemas.events import Op
from schemas.identity import partition_of, split_version
from schemas.topics import Topology
from services.merger.core import state as states
from services.merger.core.admission import LIMITS, weight
from services.merger.core.events import Poison, decode, place
from services.merger.core.merge import merge
from services.merger.core.state import State
from services.operations.audit.core.expected_state import decoded, essence, folded
from services.operations.audit.core.row_to_event import LogEvent
from services.operations.verify.core.evidence import Evidence, Known, StateRecord, TableEvent
from services.operations.verify.core.report import Finding
from services.operations.verify.core.row_compare import row_findings
from services.operations.verify.core.snapshot import Cut
from services.reconciliation.core.events import Said, Suspect, said, suspect
from services.reconciliation.core.ranges import Place
from services.reconciliation.core.remedies import Kind


@dataclass
class Judged:
    """What became of a key.  `suspects` seem to be missing; `unproven`: its history is not whole."""

    findings: list[Finding] = field(default_factory=list)
    suspects: list[Suspect] = field(default_factory=list)
    events: int = 0
    unproven: bool = False


def is_touched(evidence: Evidence, known: Known) -> bool:
    """Tell whether a key was touched by an event in the range of time."""
    return not known.selection.has_times or any(
        known.selection.covers(event.timestamp) for event in evidence.events
    )


def judge(evidence: Evidence, known: Known) -> Judged:
    """Compare what is known of a key."""
    judged = Judged()
    _events(evidence, known, judged)
    judged.findings += _state(evidence, known, judged)
    judged.findings += row_findings(evidence, known)
    return judged


def _events(evidence: Evidence, known: Known, judged: Judged) -> None:
    """Hold the table of events to the log."""
    told = {row.version: row for row in evidence.told}
    by_place: dict[tuple[int, int], Said] = {}
    newest: dict[int, tuple[Said, LogEvent]] = {}
    for event in evidence.events:
        line = None if event.is_rebuilt else known.render(event, event.generation)
        if line is None:
            continue
        expected = by_place[event.own, event.partition] = said(line)
        if _is_promised(event, known):
            judged.events += 1
            newest[expected.version] = expected, event
    for version, (expected, event) in newest.items():
        row = told.get(version)
        if row is None or row.log_offset < expected.log_offset:
            judged.suspects.append(suspect(event.topic, event, expected))
    for row in evidence.told:
        says = by_place.get((row.log_offset, row.partition))
        if says is None or says.version != row.version:
            judged.findings += _unexplained(row, known)
        elif row.digest != says.digest or says.received_us not in (None, row.received_us):
            judged.findings.append(_event_finding(Kind.EVENT_CHANGED, row))


def _is_promised(event: LogEvent, known: Known) -> bool:
    """Tell whether the table must have an event that the call is about."""
    stored_upto = known.cut.events_stored_upto(Place(event.generation, event.partition))
    chosen = known.selection
    return event.offset < stored_upto and chosen.covers(event.timestamp) and chosen.is_kept(event.timestamp)


def _unexplained(row: TableEvent, known: Known) -> Iterator[Finding]:
    """Yield a finding for a row that stands where the log has something else, or nothing yet."""
    generation, offset = split_version(row.log_offset)
    log = known.cut.events_log(Place(generation, row.partition))
    if log is not None and offset >= log.start:
        beyond = offset >= log.end
        detail = "beyond the log's end" if beyond else "the log has no such event there"
        yield _event_finding(Kind.EVENT_INVENTED, row, detail)


def _event_finding(kind: Kind, row: TableEvent, detail: str = "") -> Finding:
    generation, offset = split_version(row.log_offset)
    return Finding(kind, row.key, detail, Topology(generation).events.name, row.partition, offset)


def _at(kind: Kind, event: LogEvent, detail: str = "") -> Finding:
    return Finding(kind, event.key, detail, event.topic, event.partition, event.offset)


def _state(evidence: Evidence, known: Known, judged: Judged) -> Iterator[Finding]:
    """Hold the state to what the events come to."""
    found = evidence.states[-1] if evidence.states else None
    value = found.value if found else None
    state = None if value is None else decoded(value)
    if value is not None and state is None:
        yield _of_state(Kind.STATE_DIFFERS, evidence.key, known, found, "it is no state")
        return
    events = _at_home(evidence.events, known.cut)
    if not _comes_to(events, state, found, known):
        yield from _difference(events, state, evidence.key, found, known, judged)


def _comes_to(
    events: Sequence[LogEvent], state: State | None, found: StateRecord | None, known: Known
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


def _is_forgotten(events: Sequence[LogEvent], known: Known) -> bool:
    """Tell whether an erased row may have left the state topic: long enough after the erase."""
    return any(
        _erases(event) is not None and (event.is_rebuilt or event.timestamp < known.forgets_before)
        for event in events
    )


def _difference(
    events: Sequence[LogEvent],
    state: State | None,
    key: bytes,
    found: StateRecord | None,
    known: Known,
    judged: Judged,
) -> Iterator[Finding]:
    promised = [event for event in events if _is_merged(event, known)]
    if state is None:
        if all(event.timestamp < known.removes_before for event in promised):
            judged.unproven = True
        elif any(map(_is_event, promised)):
            yield _of_state(Kind.STATE_MISSING, key, known, found, f"{len(promised):,} events came to it")
        return
    merged = [event for event in promised if not _is_given_up(event, known) and _is_event(event)]
    lost = [event for event in merged if not (_has_read(state, event) and _absorbs(state, event))]
    for event in lost:
        is_older = event.generation != known.cut.in_use
        yield _at(Kind.KEYS_VANISHED if is_older else Kind.NEVER_MERGED, event)
    if not lost and known.is_whole(key):
        yield _of_state(Kind.STATE_DIFFERS if events else Kind.STATE_INVENTED, key, known, found)
    elif not lost:
        judged.unproven = True


def _is_given_up(event: LogEvent, known: Known) -> bool:
    return (event.topic, event.partition, event.offset) in known.given_up


def _of_state(kind: Kind, key: bytes, known: Known, found: StateRecord | None, detail: str = "") -> Finding:
    topic = known.cut.state_topic
    if found is None:
        return Finding(kind, key, detail, topic, partition_of(key, known.cut.partitions(known.cut.in_use)))
    return Finding(kind, key, detail, topic, found.partition, found.offset)


def _candidates(events: Sequence[LogEvent], known: Known) -> Iterator[bytes | None]:
    """Yield every state that the merger may have written last, from the one that it promised on."""
    promised = [one for one in events if _is_merged(one, known)]
    state = _folded(promised, None, known) if promised else None
    yield state
    for one in events:
        if not _is_merged(one, known):
            state = _folded([one], state, known)
            yield state


def _folded(events: Sequence[LogEvent], before: bytes | None, known: Known) -> bytes | None:
    expected = folded(events, known.fold_context, before)
    return None if expected is None else expected.value


def _is_merged(event: LogEvent, known: Known) -> bool:
    """Tell whether the merger's position is past an event."""
    return event.offset < known.cut.merged_upto(Place(event.generation, event.partition))


def _at_home(events: Sequence[LogEvent], cut: Cut) -> list[LogEvent]:
    """Return the events in the partition of their key: others were dead-lettered."""
    return [one for one in events if one.partition == partition_of(one.key, cut.partitions(one.generation))]


def _is_same(state: State, candidate: bytes, *, rebuilt: bool) -> bool:
    """Tell whether a state is what events come to; `rebuilt`: some of them were rebuilt from their rows."""
    other = states.decode(candidate)
    if rebuilt:
        return essence(state) == essence(other)
    return states.encode(state) == states.encode(other)


def _has_read(state: State, event: LogEvent) -> bool:
    """Tell whether the merger had read an event when it wrote a state."""
    return event.own <= state.version or event.own <= state.merge.read


def _is_event(event: LogEvent) -> bool:
    """Tell whether a record is something that can be merged."""
    try:
        place(event.headers, event.own)
        decode(event.key, event.value or b"")
    except Poison:
        return False
    return True


def _erases(event: LogEvent) -> int | None:
    """Return up to which version an event erases, None if it erases nothing."""
    try:
        version = place(event.headers, event.own)
        return version if decode(event.key, event.value or b"").op is Op.ERASE else None
    except Poison:
        return None


def _absorbs(state: State, event: LogEvent) -> bool:
    """Tell whether merging an event into a state changes nothing; True where nobody can tell.

    An idempotent event may have been a repeat, and one for a large row too large.
    """
    try:
        version = place(event.headers, event.own)
        body = decode(event.key, event.value or b"")
    except Poison:
        return True
    if body.idempotent or weight(state) + len(event.value or b"") > LIMITS.bytes:
        return True
    before = states.encode(state)
    trial = states.decode(before)
    merge(trial, body, version)
    return states.encode(trial) == before
