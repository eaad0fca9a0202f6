"""The Python client against the real ingest: what it sends is stored once, in order, also through faults."""

import logging
from typing import Any

import pytest

from afterword_client import Feedback
from tests.integration.clients.conftest import Door
from tests.support.eventually import eventually
from tests.support.ingest.app import decoded


def stored(door: Door) -> list[tuple[Any, ...]]:
    """Return what each event says, those of a request in their order."""
    events = decoded(door.log.events)
    return [(event["request_id"], event["op"], event.get("data"), event.get("request")) for event in events]


async def test_each_call_is_an_event(door: Door) -> None:
    """Under ids with any characters."""
    async with Feedback(door.url, door.key, strict=True) as feedback:
        feedback.facts("a/1 ✓", model="gpt-x", latency_ms=812.5)
        feedback.send("a/1 ✓", rating=5, comment="Spot on.", tags=["billing"])
        feedback.retract("a/1 ✓")
        assert await feedback.aflush(30)

    assert stored(door) == [
        ("a/1 ✓", "merge", None, {"model": "gpt-x", "latency_ms": 812.5}),
        ("a/1 ✓", "merge", {"rating": 5, "comment": "Spot on.", "tags": ["billing"]}, None),
        ("a/1 ✓", "retract", None, None),
    ]


async def test_an_outage_of_kafka_is_waited_for(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    """Events are stored once and in order after it; a partly stored batch is repeated under its key."""
    door.log.fail_after = 2
    async with Feedback(door.url, door.key) as feedback:
        for number in range(5):
            feedback.send("a", rating=number)
        await eventually(lambda: "are sent again" in caplog.text)
        door.log.fail_after = door.log.problem = None
        assert await feedback.aflush(60)

    events = decoded(door.log.events)
    first = {event["event_id"]: event["data"]["rating"] for event in events}
    latest = {event["event_id"]: event["data"]["rating"] for event in reversed(events)}
    assert list(first.values()) == [0, 1, 2, 3, 4]
    assert list(latest.values()) == [4, 3, 2, 1, 0]


async def test_what_ingest_rejects_is_logged(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    """With its reason, and with the events beside it stored."""
    async with Feedback(door.url, door.key) as feedback:
        feedback.send("a", rating=2**80)
        feedback.send("b", rating=5)
        assert await feedback.aflush(30)

    errors = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert len(errors) == 1
    assert errors[0].startswith("feedback on request 'a' was rejected: ")
    assert [row[0] for row in stored(door)] == ["b"]
