"""Cursors: they lead back to their place, and to no other."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.query.core.problems import QueryProblem
from services.query.reads.core.filters import NO_FILTERS, parse_filters
from services.query.reads.core.listing import (
    FORMAT,
    ORDER_NAMES,
    ListPosition,
    _sum,
    decode,
    encode,
    parse_order,
)

IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=256)
NUMBERS = st.one_of(
    st.none(), st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**64 - 1)
)
TIMES = st.datetimes().map(lambda time: time.isoformat(timespec="microseconds") + "Z")


def opened(cursor: str) -> bytes:
    """Return the bytes of a cursor."""
    return urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))


def closed(content: bytes) -> str:
    """Return the cursor of these bytes."""
    return urlsafe_b64encode(content).decode().rstrip("=")


def refusal(cursor: str, order: str = "rating") -> str:
    """Return how a cursor is refused."""
    with pytest.raises(QueryProblem) as refused:
        decode(cursor, "t", NO_FILTERS, parse_order(order))
    return dict(refused.value.faults)["cursor"]


def written(order: str, value: Any, request_id: Any = "r") -> str:
    """Return a cursor that somebody wrote who knows how."""
    true = encode("t", NO_FILTERS, parse_order(order), ListPosition("?", "r"))
    mark = opened(true).split(b'"')[1].decode()
    content = FORMAT + orjson.dumps([mark, value, request_id])
    return closed(content + _sum(content))


@given(
    position=st.one_of(
        st.tuples(st.sampled_from(("rating", "-latency_ms", "cost_usd")), NUMBERS, IDS),
        st.tuples(st.sampled_from(("-last_received_at", "started_at")), TIMES, IDS),
        st.tuples(st.sampled_from(("model", "-user_id", "request_id")), IDS, IDS),
    )
)
def test_a_cursor_leads_back_to_its_place(position: tuple[str, Any, str]) -> None:
    """Exactly, whatever the value and the id."""
    order, place = parse_order(position[0]), ListPosition(*position[1:])
    filters = parse_filters([("data.k", "eq:1"), ("tag", "x")])

    assert decode(encode("t", filters, order, place), "t", filters, order) == place


def test_a_cursor_that_was_changed_on_its_way_is_refused() -> None:
    """Though what it says could be a place: pages would be missing."""
    whole = opened(encode("t", NO_FILTERS, parse_order("rating"), ListPosition(25, "r1")))

    for changed in (whole.replace(b"25", b"35"), whole.replace(b"r1", b"r2"), whole[1:], b"\x02" + whole[1:]):
        assert "is not a `next_cursor`" in refusal(closed(changed))


@pytest.mark.parametrize(
    ("order", "value", "request_id"),
    [
        ("rating", "5", "r"),
        ("rating", True, "r"),
        ("rating", [5], "r"),
        ("rating", 5, None),
        ("rating", 5, 7),
        ("-last_received_at", None, "r"),
        ("-last_received_at", 5, "r"),
        ("-last_received_at", "2026-11-22", "r"),
        ("-last_received_at", "2026-02-30T08:00:00.000000Z", "r"),
        ("-last_received_at", "10001-01-01T08:00:00.000000Z", "r"),
        ("model", 5, "r"),
        ("request_id", None, "r"),
    ],
)
def test_a_cursor_that_was_made_up_is_a_place_or_refused(order: str, value: Any, request_id: Any) -> None:
    """ClickHouse never sees a value of the wrong type."""
    assert "is not a `next_cursor`" in refusal(written(order, value, request_id), order)


@pytest.mark.parametrize("name", ORDER_NAMES)
def test_a_cursor_belongs_to_its_order(name: str) -> None:
    """The other direction is another question."""
    cursor = encode("t", NO_FILTERS, parse_order(name), ListPosition(None, "r"))
    other = name.removeprefix("-") if name.startswith("-") else f"-{name}"

    assert "belongs to another query" in refusal(cursor, other)
