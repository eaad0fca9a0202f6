"""The demo's traffic: the same for a seed, in the order of time, and all of what it promises to show."""

from datetime import UTC, datetime
from itertools import islice, pairwise

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.identity import is_request_id
from services.operations.demo.core.traffic import FACTS, GENERATED_BY, KINDS, LATE_FACTS, DemoCall, traffic
from services.operations.demo.core.vocabulary import COMPLAINTS, MODELS, PRAISE

NOW = datetime(2026, 2, 3, 4, 5, tzinfo=UTC)
seeds = st.integers(0, 1 << 40)


def first(count: int, seed: int = 1, rate: float = 5.0) -> list[DemoCall]:
    """Return the first calls of a demo."""
    return list(islice(traffic(seed, NOW, rate), count))


@settings(max_examples=20)
@given(seeds, st.floats(0.1, 1000))
def test_a_seed_is_always_the_same_traffic(seed: int, rate: float) -> None:
    """Every byte of it, as long as it begins at the same time."""
    assert first(200, seed, rate) == first(200, seed, rate)


def test_another_seed_is_other_traffic() -> None:
    """And about other requests."""
    assert not {call.request_id for call in first(200, 1)} & {call.request_id for call in first(200, 2)}


@settings(max_examples=20)
@given(seeds, st.floats(0.1, 1000))
def test_calls_come_in_the_order_of_time_at_the_rate(seed: int, rate: float) -> None:
    """A demo can be sent as it is generated, for as long as one likes."""
    calls = first(3000, seed, rate)

    assert all(earlier.after <= later.after for earlier, later in pairwise(calls))
    # What is late has to come first: the rate is reached after some minutes' worth of calls.
    late = calls[1000:]
    assert len(late) / (late[-1].after - late[0].after) == pytest.approx(rate, rel=0.25)


def test_every_kind_of_behaviour_occurs() -> None:
    """Whoever looks at the tables for a few minutes has something of everything to see."""
    calls = first(3000)

    assert {call.kind for call in calls} == set(KINDS)
    assert {call.body["model"] for call in calls if call.kind == FACTS and call.body} == {
        m.name for m in MODELS
    }


def test_comments_come_in_many_languages() -> None:
    """Scripts of the left and of the right, and pictures."""
    said = {
        text
        for call in first(6000)
        if call.body
        for text in (call.body.get("comment"), call.body.get("data", {}).get("message"))
        if text
    }

    assert said >= {*PRAISE, *COMPLAINTS}


def test_feedback_comes_before_during_and_without_the_facts_of_its_request() -> None:
    """The pipeline joins them in either order: the demo shows it."""
    calls = first(5000)
    facts = {call.request_id: call.after for call in calls if call.kind in (FACTS, LATE_FACTS)}
    votes = [call for call in calls if call.kind not in (FACTS, LATE_FACTS)]
    begun = {call.request_id for call in calls[:3000]}

    assert any(call.after < facts.get(call.request_id, 0) for call in votes)
    assert any(call.after > facts.get(call.request_id, float("inf")) for call in votes)
    assert any(call.request_id not in facts for call in votes if call.request_id in begun)


def test_each_dialect_is_used() -> None:
    """Requesty's route, GPTBoost's, the native one, facts and retracts."""
    routes = {(call.method, call.path.replace(call.request_id, "ID")) for call in first(3000)}

    assert routes == {
        ("POST", "/feedback/ID"),
        ("DELETE", "/feedback/ID"),
        ("POST", "/v1/feedback/"),
        ("POST", "/v1/events"),
        ("PUT", "/v1/requests/ID"),
    }


@settings(max_examples=20)
@given(seeds)
def test_all_of_it_shows_that_it_is_generated(seed: int) -> None:
    """In the id of every request, and in the facts of each that has any."""
    for call in first(500, seed):
        assert call.request_id.startswith("demo-")
        assert is_request_id(call.request_id)
        assert orjson.dumps(call.body)
        if call.kind in (FACTS, LATE_FACTS):
            assert call.body is not None
            assert call.body["generated_by"] == GENERATED_BY
