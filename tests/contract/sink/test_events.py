"""The sink and the merger decode the same events, each for itself."""

from typing import Any

import pytest

from services.merger.core.events import Poison, decode
from services.sink.core.rows import event_line
from tests.support.sink.doubles import NOT_EVENTS, event


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"idempotent": True},
        {"op": "retract", "data": None},
        {"op": "erase", "data": None},
        {"request": {"model": "m"}},
        {"data": None, "request": {}},
        {"unknown": 5},
        {"item_id": "score-1", "at": "2026-11-22T08:00:00Z"},
        {"item_id": 5, "at": "yesterday"},
        *NOT_EVENTS,
    ],
)
def test_what_the_merger_dead_letters_the_sink_skips(changes: dict[str, Any]) -> None:
    """An event is either in the history or in the dead letters."""
    record = event(**changes)
    try:
        decode(record.key or b"", record.value or b"")
        merged = True
    except Poison:
        merged = False

    assert (event_line(record, 0) is not None) == merged
