"""Times on a command line."""

from datetime import UTC, datetime, timedelta

import pytest

from services.operations.core.times import ago, ahead

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["2026-11-22T07:00:00+0100", "2026-11-22 06:00:00 UTC", "1795327200", " 2h "]
)
def test_a_time_is_a_span_or_any_form_that_clients_print(text: str) -> None:
    """As filters and `started_at` read them."""
    assert ago(text, NOW) == NOW - timedelta(hours=2)


@pytest.mark.parametrize("text", ["soon", "30", "2026", "20261122", "2026-02-30", "9999999999"])
def test_what_is_no_time_is_refused_with_the_forms(text: str) -> None:
    """A number without a unit is no time of 1970."""
    with pytest.raises(ValueError, match="is not a time: 30m, 2h, 7d, or RFC 3339"):
        ahead(text, NOW)
