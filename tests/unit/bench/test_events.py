"""The events of all benchmarks: the same for everybody, in the shapes that callers and the log have."""

import json

from bench.events import KEYS, folded, lines, partials, published
from schemas.events import FeedbackEvent
from schemas.identity import event_key

COUNT = 600


def test_events_carry_1_to_3_of_6_keys_over_a_third_as_many_requests() -> None:
    """As what they are compared on says."""
    items = [*partials(COUNT)]

    assert {len(item["data"]) for item in items} == {1, 2, 3}
    assert {key for item in items for key in item["data"]} == set(KEYS)
    assert {item["request_id"] for item in items} <= {
        f"chatcmpl-{number:08d}" for number in range(COUNT // 3)
    }


def test_the_same_arguments_give_the_same_events() -> None:
    """And another seed gives others."""
    assert [*partials(COUNT)] == [*partials(COUNT)] != [*partials(COUNT, seed=2)]


def test_published_events_are_what_ingest_would_write() -> None:
    """Of the same items, under their keys."""
    for (key, value), item in zip(published(COUNT), partials(COUNT), strict=True):
        event = FeedbackEvent.model_validate_json(value)
        assert (event.request_id, event.data) == (item["request_id"], item["data"])
        assert key == event_key(event.tenant, event.request_id)


def test_no_two_events_have_one_id() -> None:
    """Or the merger would take one for a repeat."""
    assert len({json.loads(value)["event_id"] for _, value in published(COUNT)}) == COUNT


def test_the_latest_value_of_each_key_is_what_stays() -> None:
    """What contenders are verified against."""
    items = [
        {"request_id": "a", "data": {"rating": 1, "helpful": True}},
        {"request_id": "b", "data": {"rating": 3}},
        {"request_id": "a", "data": {"rating": 2}},
    ]

    assert folded(items) == {"a": {"rating": 2, "helpful": True}, "b": {"rating": 3}}


def test_bodies_hold_as_many_lines_as_they_should() -> None:
    """The last one has what is left."""
    assert [body.count(b"\n") + 1 for body in lines(partials(25), 10)] == [10, 10, 5]
