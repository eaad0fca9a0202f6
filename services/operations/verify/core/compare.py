"""One key, judged: does what is known of it from each side agree?  Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from schemas.identity import partition_of, split_version
from schemas.topics import Topology
from services.merger.core import state as states
from services.merger.core.state import State
from services.operations.verify.core import expected_state
from services.operations.verify.core.evidence import Evidence, LogEvent, StateRecord, TableEvent
from services.operations.verify.core.known import Finding, Known
from services.operations.verify.core.rows import row_findings
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
    state = None if value is None else expected_state.decoded(value)
    if value is not None and state is None:
        yield _of_state(Kind.STATE_DIFFERS, evidence.key, known, found, "it is no state")
        return
    events = expected_state.at_home(evidence.events, known.cut)
    if not _comes_to(events, state, found, known):
        yield from _difference(events, state, evidence.key, found, known, judged)


def _comes_to(
    events: Sequence[LogEvent], state: State | None, found: StateRecord | None, known: Known
) -> bool:
    rebuilt = any(event.is_rebuilt for event in events)
    for candidate in expected_state.candidates(events, known.cut, known.crashed):
        if candidate is None:
            if found is None or found.value is None:
                return True
        elif state is None:
            if states.is_erased(candidate) and (found is not None or _is_forgotten(events, known)):
                return True
        elif expected_state.is_same(state, candidate, rebuilt=rebuilt):
            return True
    return False


def _is_forgotten(events: Sequence[LogEvent], known: Known) -> bool:
    """Tell whether an erased row may have left the state topic: long enough after the erase."""
    return any(
        expected_state.erases(event) is not None
        and (event.is_rebuilt or event.timestamp < known.forgets_before)
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
    promised = [
        event
        for event in events
        if event.offset < known.cut.merged_upto(Place(event.generation, event.partition))
    ]
    if state is None:
        if all(event.timestamp < known.removes_before for event in promised):
            judged.unproven = True
        elif any(map(expected_state.is_event, promised)):
            yield _of_state(Kind.STATE_MISSING, key, known, found, f"{len(promised):,} events came to it")
        return
    merged = [
        event for event in promised if not _is_given_up(event, known) and expected_state.is_event(event)
    ]
    lost = [
        event
        for event in merged
        if not (expected_state.has_read(state, event) and expected_state.absorbs(state, event))
    ]
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
