"""Cursors of dead letters, and how their bytes are shown."""

from base64 import b64encode, urlsafe_b64encode
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.query.core.problems import QueryProblem
from services.query.reads.core.dead_letters import DeadLetterPosition, decode, encode, item

positions = st.builds(
    DeadLetterPosition,
    st.datetimes().map(lambda at: f"{at.isoformat(timespec='microseconds')}Z"),
    st.text(max_size=40),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**63 - 1),
)


@given(positions)
def test_a_cursor_leads_back_to_its_place(position: DeadLetterPosition) -> None:
    """Whatever the topic is called."""
    assert decode(encode(position)) == position


@given(
    st.one_of(
        st.text(max_size=60),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**63), 2**63)
            | st.floats(allow_nan=False)
            | st.text(max_size=30),
            lambda inner: st.lists(inner, max_size=5),
        ).map(lambda value: urlsafe_b64encode(orjson.dumps(value)).decode().rstrip("=")),
    )
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    """With a problem, never an error."""
    try:
        position = decode(text)
    except QueryProblem:
        return
    assert decode(encode(position)) == position


def a_row(raw: bytes | None, shown: int = 1000) -> dict[str, Any]:
    """Return a dead letter as the table gives it, with so many bytes of its record."""
    names = (
        "original_topic",
        "original_partition",
        "original_offset",
        "detail",
        "stage",
        "reason",
        "request_id",
    )
    return {
        **dict.fromkeys(names, ""),
        "dlq_topic": "feedback-events-dlq",
        "dlq_partition": 0,
        "dlq_offset": 7,
        "original_version": 4,
        "row_version": 0,
        "failed_at": "2026-11-22T08:00:00.000000Z",
        "replayed_at": None,
        "dropped_at": None,
        "raw_bytes": None if raw is None else len(raw),
        "shown_base64": None if raw is None else b64encode(raw[:shown]).decode(),
    }


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), st.integers(0, 60))
def test_text_stays_text_wherever_it_is_cut(text: str, shown: int) -> None:
    """A character that was cut is left out."""
    raw = text.encode()

    found = item(a_row(raw, shown))

    assert found["raw_encoding"] == "utf-8"
    assert text.startswith(found["raw"])
    assert len(raw[:shown]) - len(found["raw"].encode()) < 4
    assert found["raw_truncated"] == (shown < len(raw))


@given(st.binary(max_size=40))
def test_all_bytes_are_shown(raw: bytes) -> None:
    """As text if they are one, else in base64."""
    found = item(a_row(raw))

    expected = {"utf-8": found["raw"].encode(), "base64": None}[found["raw_encoding"]]
    assert (expected if expected is not None else b64encode(raw)) == (
        raw if expected is not None else found["raw"].encode()
    )


@pytest.mark.parametrize(("erased", "hidden"), [(None, False), (3, False), (4, True), (9, True)])
def test_an_erase_hides_what_came_before_it(erased: int | None, hidden: bool) -> None:  # noqa: FBT001
    """Up to its version."""
    found = item(a_row(b"secret"), erased)

    assert found["erased"] == hidden
    assert (found["raw"] is None) == hidden
