"""A world whose log, states and tables agree, seen at any cut, for tests of what compares them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from schemas.identity import version_of
from schemas.topics import Topology
from services.merger.core.fold import fold
from services.operations.audit.core.checksum import state_checksum
from services.operations.audit.core.row_to_event import LogEvent
from services.operations.verify.core.compare import RequestFindings, compare
from services.operations.verify.core.evidence import (
    CompareContext,
    RequestEvidence,
    StateRecord,
    TableEvent,
    TableRow,
    gathered,
)
from services.operations.verify.core.selection import VerifySelection
from services.operations.verify.core.snapshot import KnownGeneration, LogSnapshot
from services.pipeline.core.continuity import LogRange
from services.reconciliation.core.events import expected_event, microseconds
from services.sink.core.rows import event_line
from tests.support.merger.records import SOURCE, ARecord, in_pieces, logs

TOPOLOGY = Topology()
EVENTS, STATE = (TOPOLOGY.events.name, 0), (TOPOLOGY.state.name, 0)


@dataclass(frozen=True)
class World:
    """One partition.  `merged` and `stored` are promises; what is there may be more."""

    log: tuple[ARecord, ...]
    states: tuple[StateRecord, ...]
    told: tuple[TableEvent, ...]
    rows: tuple[TableRow, ...]
    merged: int
    events_stored: int
    rows_stored: int
    refused: dict[tuple[str, int, int], str] = field(default_factory=dict)

    @property
    def known(self) -> CompareContext:
        """What all keys are judged by."""
        snapshot = LogSnapshot(
            generations=(KnownGeneration(0, 1, is_here=True),),
            in_use=0,
            merged={EVENTS: self.merged},
            stored={EVENTS: self.events_stored, STATE: self.rows_stored},
            logs={EVENTS: LogRange(0, len(self.log)), STATE: LogRange(0, len(self.states))},
        )
        return CompareContext(snapshot, VerifySelection(), event_line, refused=self.refused)

    def evidence(self) -> list[RequestEvidence]:
        """Return what is known of each key."""
        events = [
            LogEvent(
                one.key, 0, 0, one.offset, one.timestamp, one.value,
                [(name.encode(), value) for name, value in one.headers],
            )
            for one in self.log
            if one.key is not None
        ]  # fmt: skip
        return [*gathered([*events, *self.states, *self.told, *self.rows])]

    def judged(self) -> dict[bytes, RequestFindings]:
        """Return the judgement of each key."""
        return {one.key: compare(one, self.known) for one in self.evidence()}

    def kinds(self) -> set[str]:
        """Return the kinds of all that differs; events that seem to be missing are `suspect`."""
        found: set[str] = set()
        for one in self.judged().values():
            found |= {finding.kind.value for finding in one.findings}
            found |= {"suspect"} if one.suspects else set()
        return found

    def without(self, what: str, index: int) -> "World":
        """Return the world without one of its things."""
        things = getattr(self, what)
        return self._with(what, (*things[:index], *things[index + 1 :]))

    def changed(self, what: str, index: int, thing: Any) -> "World":
        """Return the world with another thing in the place of one."""
        things = getattr(self, what)
        return self._with(what, (*things[:index], thing, *things[index + 1 :]))

    def _with(self, what: str, things: Any) -> "World":
        changes: dict[str, Any] = {what: things}
        return replace(self, **changes)


def told_of(log: Sequence[ARecord]) -> tuple[TableEvent, ...]:
    """Return the rows that FINAL shows of a log: of records of one version the last."""
    found: dict[tuple[bytes, int], TableEvent] = {}
    for record in log:
        if (line := event_line(record, 0)) is not None:  # type: ignore[arg-type]
            says = expected_event(line)
            received = says.received_us or 0
            row = TableEvent(says.key, says.version, 0, says.log_offset, received, says.digest)
            found[says.key, says.version] = row
    return tuple(found.values())


def states_of(log: Sequence[ARecord], cuts: Sequence[int] = ()) -> tuple[StateRecord, ...]:
    """Return what a merger writes that merges a log in these batches."""
    stored: dict[bytes, bytes | None] = {}
    found: list[StateRecord] = []
    for piece in in_pieces(log, cuts):
        keys = {one.key for one in piece if one.key is not None}
        folded = fold(piece, {key: stored.get(key) for key in keys}, SOURCE)
        for key, row in folded.rows.items():
            stored[key] = row.value
            found.append(StateRecord(key, 0, len(found), row.value))
    return tuple(found)


def rows_of(states: Sequence[StateRecord]) -> tuple[TableRow, ...]:
    """Return the rows that FINAL shows of states."""
    latest = {state.key: state for state in states}
    return tuple(row for one in latest.values() if (row := row_of(one)) is not None)


def row_of(state: StateRecord) -> TableRow | None:
    """Return the row of a state, None for one that hides it."""
    fields = json.loads(state.value or b'{"is_deleted": 1}')
    if fields.get("is_deleted"):
        return None
    first, last = (
        microseconds(datetime.fromisoformat(fields[name]).astimezone(UTC)) or 0
        for name in ("first_received_at", "last_received_at")
    )
    value = state.value or b""
    data, request = (_text(value, name) for name in ("data", "request"))
    digest = state_checksum(fields["sources"], data, request)
    return TableRow(state.key, version_of(0, state.offset), fields["version"], first, last, digest)


def _text(value: bytes, name: str) -> bytes:
    """Return a part as it is written: what follows its name, up to where it parses."""
    text = value.decode()
    at = text.index(f'"{name}":', text.index('"sources":')) + len(f'"{name}":')
    _, end = json.JSONDecoder().raw_decode(text, at)
    return text[at:end].encode()


def quiet(log: Sequence[ARecord]) -> World:
    """Return the world in which everything has arrived."""
    states = states_of(log, range(len(log)))
    return World(tuple(log), states, told_of(log), rows_of(states), len(log), len(log), len(states))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw a log and how far everybody is: promises were asked for first, and the logs end last."""
    log = draw(logs())
    merged, has_merged = sorted(draw(st.tuples(*[st.integers(0, len(log))] * 2)))
    states = states_of(log[:has_merged], draw(st.lists(st.integers(0, len(log)), max_size=4)))
    stored, has_stored = sorted(draw(st.tuples(*[st.integers(0, len(states))] * 2)))
    told, has_told = sorted(draw(st.tuples(*[st.integers(0, len(log))] * 2)))
    rows = rows_of(states[:has_stored])
    return World(tuple(log), states, told_of(log[:has_told]), rows, merged, told, stored)
