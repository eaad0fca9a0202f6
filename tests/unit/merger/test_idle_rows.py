"""Which rows are old enough to be removed."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from services.merger.core.state import idle, older_than

NOW = datetime(2026, 11, 22, tzinfo=UTC)
DAY_MS = 24 * 60 * 60 * 1000
OLD = older_than(int(NOW.timestamp() * 1000), 100 * DAY_MS, version=50)


def row(**changes: Any) -> bytes:
    """Return a row that is old enough."""
    return orjson.dumps(
        {
            "tenant": "default",
            "request_id": "r",
            "version": 49,
            "first_received_at": "2026-01-01T00:00:00Z",
            "last_received_at": "2026-08-13T00:00:00Z",
            "sources": ["native"],
            "data": {},
            "request": {},
            "merge": {},
            **changes,
        }
    )


def test_a_row_without_an_event_for_that_long_is_idle() -> None:
    """By the time of its newest event."""
    assert idle([(b"a", row()), (b"b", row(last_received_at="2026-08-15T00:00:00Z"))], OLD) == [b"a"]


@pytest.mark.parametrize("changes", [{"version": 50}, {"merge": {"read": 50}}])
def test_a_row_with_an_event_that_the_log_still_has_is_not(changes: dict[str, Any]) -> None:
    """Whatever ingest's clock said when it came, and whether it was merged or given up."""
    assert idle([(b"a", row(**changes))], OLD) == []


def test_what_is_erased_or_no_row_is_unchanged() -> None:
    """An erased row says nothing of when."""
    erased = orjson.dumps({"tenant": "default", "request_id": "r", "erased": 1, "is_deleted": 1})

    assert idle([(b"a", erased), (b"b", b"{"), (b"c", b"null")], OLD) == []
