"""States that `afterword recover` made, beside events that older generations carried over."""

from typing import Any

from schemas.topics import Topology
from services.merger.core.fold import fold
from services.operations.audit.core.row_to_event import LogEvent
from services.operations.verify.core.compare import compare
from services.operations.verify.core.evidence import CompareContext, RequestEvidence, StateRecord, gathered
from services.operations.verify.core.selection import VerifySelection
from services.operations.verify.core.snapshot import KnownGeneration, LogSnapshot
from services.pipeline.core.continuity import LogRange
from services.reconciliation.core.ranges import EventsPartition
from services.sink.core.rows import event_line
from tests.support.merger.records import SOURCE, a_record, an_event

IN_USE = Topology(2)
CONTEXT = CompareContext(
    LogSnapshot(
        generations=tuple(KnownGeneration(number, 1, is_here=number > 0) for number in (0, 1, 2)),
        in_use=2,
        merged={(Topology(1).events.name, 0): 50},
        logs={
            (Topology(1).events.name, 0): LogRange(0, 50),
            (IN_USE.events.name, 0): LogRange(0, 0),
            (IN_USE.state.name, 0): LogRange(0, 1),
        },
    ),
    VerifySelection(),
    event_line,
    gaps=(EventsPartition(0, 0),),
)


def request(event: dict[str, Any], merged: dict[str, Any]) -> RequestEvidence:
    """Return a request with an event that generation 1 carried over from version 5, and a state."""
    carried = a_record(40, event, replays=5)
    assert carried.key is not None
    (row,) = fold([a_record(5, merged)], {carried.key: None}, SOURCE).rows.values()
    headers = [(name.encode(), value) for name, value in carried.headers]
    logged = LogEvent(carried.key, 1, 0, 40, 1, carried.value, headers)
    (found,) = gathered([logged, StateRecord(carried.key, 0, 0, row.value)])
    return found


def test_a_state_that_has_an_older_event_is_right_though_it_does_not_record_what_was_read() -> None:
    """It was made from the event, at the version that the event counts at."""
    event = an_event(1, data={"rating": 5})

    assert compare(request(event, event), CONTEXT).findings == []


def test_an_older_event_whose_keys_a_state_lacks_has_vanished() -> None:
    """Whatever its offset."""
    found = compare(request(an_event(1, data={"rating": 5}), an_event(2, data={"tag": "x"})), CONTEXT)

    assert [finding.kind.value for finding in found.findings] == ["keys_vanished"]
