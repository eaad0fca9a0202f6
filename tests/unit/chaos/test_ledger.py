"""What writers remember of each answer."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import httpx
import pytest

from chaos.invented import Traffic
from chaos.ledger import (
    ACKNOWLEDGED,
    REFUSED,
    UNKNOWN,
    Event,
    Ledger,
    Outcome,
    Poison,
    Post,
    outcomes_of,
    read,
    send,
    sums,
)

AT = datetime(2026, 11, 22, 8, tzinfo=UTC)
ONE = Post("POST", "/v1/events", b"{}", "native", (Event("r1", data={"a": 1}),))
TWO = Post("POST", "/v1/events", b"{}\n{}", "native", (Event("r1"), Event("r2")), "k", is_batch=True)


def outcomes(post: Post, status: int, body: object) -> list[Outcome]:
    """Return what an answer comes to."""
    return list(outcomes_of(post, status, json.dumps(body).encode()))


def test_an_acknowledgement_is_remembered_with_its_place() -> None:
    """The event id and the version are what the judge looks for."""
    for status in (202, 200, 208):
        (found,) = outcomes(ONE, status, {"event_id": "e", "version": "7"})
        assert found == (ACKNOWLEDGED, "e", "7", status)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (503, "log_unavailable", UNKNOWN),
        (503, "overloaded", REFUSED),
        (413, "too_large", REFUSED),
        (429, "rate_limited", REFUSED),
        (500, "internal_error", UNKNOWN),
    ],
)
def test_what_is_not_acknowledged_is_refused_only_if_that_is_certain(
    status: int, code: str, expected: str
) -> None:
    """Alone, and for each event of a batch that got one answer."""
    assert outcomes(ONE, status, {"code": code}) == [(expected, None, None, status)]
    assert outcomes(TWO, status, {"code": code}) == [(expected, None, None, status)] * 2


def test_an_answer_that_is_no_json_shows_nothing() -> None:
    """A proxy's page, say."""
    assert list(outcomes_of(ONE, 502, b"<html>")) == [(UNKNOWN, None, None, 502)]


def test_each_event_of_a_batch_has_its_own_outcome() -> None:
    """Some may be in the log when others are not."""
    items = [
        {"status": "accepted", "event_id": "e", "version": "7"},
        {"status": "rejected", "error": {"code": "log_unavailable"}},
    ]

    assert outcomes(TWO, 207, {"items": items}) == [
        (ACKNOWLEDGED, "e", "7", 202),
        (UNKNOWN, None, None, 503),
    ]


def test_a_line_is_on_disk_before_the_next_request(tmp_path: Path) -> None:
    """Event by event, in the shape that the judge reads; poison is none of them."""
    ledger = Ledger(tmp_path / "one.ndjson")
    ledger.write(TWO, AT, [Outcome(ACKNOWLEDGED, "e", "7", 202), Outcome(UNKNOWN)])
    Poison(tmp_path).write("feedback-events", 1, None, None, b"\xff")

    first, second = read(tmp_path)
    assert first == {
        "n": 1,
        "tenant": "default",
        "request_id": "r1",
        "op": "merge",
        "data": None,
        "request": None,
        "source": "native",
        "idempotency_key": "k",
        "index": 0,
        "sent_at": "2026-11-22T08:00:00+00:00",
        "outcome": "acknowledged",
        "event_id": "e",
        "version": "7",
        "status": 202,
    }
    assert (second["n"], second["index"], second["outcome"]) == (2, 1, "unknown")
    assert sums(tmp_path) == {"sent": 2, "acknowledged": 1, "unknown": 1, "refused": 0}
    ledger.close()


async def test_a_writer_that_is_ended_before_the_answer_does_not_know(tmp_path: Path) -> None:
    """The event may be in the log all the same, and must not seem to be invented."""
    asked = asyncio.Event()

    async def never(_request: httpx.Request) -> httpx.Response:
        asked.set()
        return await asyncio.Future()

    ledger = Ledger(tmp_path / "one.ndjson")
    async with httpx.AsyncClient(transport=httpx.MockTransport(never), base_url="http://nowhere") as client:
        sending = asyncio.create_task(send(client, ONE, ledger))
        await asked.wait()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)

    assert [line["outcome"] for line in read(tmp_path)] == [UNKNOWN]
    ledger.close()


def test_writers_send_every_kind_of_event() -> None:
    """Every dialect, batches, repeats under their key, conflicts, retracts and erases; merges are unlike."""
    traffic = Traffic(1, Random(1))
    posts = [traffic.next() for _ in range(3000)]
    keyed = [post for post in posts if post.key is not None]
    events = [event for post in posts if post.key is None for event in post.events if event.op == "merge"]

    assert {post.path.split("/")[1] for post in posts} == {"feedback", "v1"}
    assert {post.source for post in posts} == {"requesty", "gptboost", "native"}
    assert {event.op for post in posts for event in post.events} == {"merge", "retract", "erase"}
    assert any(post.is_batch for post in keyed)
    assert len(keyed) > len({post.key for post in keyed})
    assert len({post.key for post in keyed}) < len({(post.key, post.body) for post in keyed})
    assert len(events) == len({json.dumps([event.data, event.request]) for event in events})
