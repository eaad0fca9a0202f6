"""What is known of a request decides between 200, 208 and 404; in doubt, the feedback is accepted."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.ingest.dialects.dialect import Repeats
from tests.support.eventually import eventually
from tests.support.ingest.app import client_of, code_of, ingest_over, new_key
from tests.support.ingest.fake_log import FakeLog

VOTE = {"message_id": "m", "rating": "positive", "comment": "x"}


class Memory:
    """Lookup results that a test sets."""

    def __init__(self, stored: dict[str, Any] | None = None, version: int = 0) -> None:
        self.stored, self.version = stored, version
        self.unknown: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def is_certainly_unknown(self, tenant: str, request_id: str) -> bool:
        """Tell what the test says."""
        self.asked.append((tenant, request_id))
        return request_id in self.unknown

    async def find_repeat(
        self, _tenant: str, _request_id: str, data: dict[str, Any], repeats: Repeats
    ) -> int | None:
        """Compare with what the test says is stored."""
        await self.gate.wait()
        return self.version if self.stored is not None and repeats(self.stored, data) else None


def gptboost(log: FakeLog, home: Path, memory: Memory, **settings: Any) -> httpx.AsyncClient:
    """Return a client of an ingest that knows what the memory knows."""
    return client_of(ingest_over(log, home, memory, **settings))


async def test_an_exact_repeat_is_208_and_written_all_the_same(log: FakeLog, tmp_path: Path) -> None:
    """The answer depends on the lookup, the vote does not."""
    log.partitions = [[(b"", b"{}")] * 8 for _ in range(4)]
    client = gptboost(log, tmp_path, Memory({"rating": "positive", "comment": "x"}, version=5))
    answer = await client.post("/v1/feedback/", json=VOTE)

    assert answer.status_code == 208
    assert answer.json().keys() == {"status", "message_id", "event_id", "version"}
    assert answer.json()["status"] == "already_reported"
    assert sum(len(records) - 8 for records in log.partitions) == 1


async def test_lookups_can_be_turned_off(log: FakeLog, tmp_path: Path) -> None:
    """Then every vote is 200."""
    log.partitions = [[(b"", b"{}")] * 8 for _ in range(4)]
    memory = Memory({"rating": "positive", "comment": "x"}, version=5)
    client = gptboost(log, tmp_path, memory, ingest_lookup=False)

    assert (await client.post("/v1/feedback/", json=VOTE)).status_code == 200


async def test_a_changed_vote_is_200(log: FakeLog, tmp_path: Path) -> None:
    """Another comment is news."""
    log.partitions = [[(b"", b"{}")] * 8 for _ in range(4)]
    client = gptboost(log, tmp_path, Memory({"rating": "positive", "comment": "y"}, version=5))

    assert (await client.post("/v1/feedback/", json=VOTE)).status_code == 200


async def test_a_row_that_may_be_the_votes_own_work_is_no_repeat(log: FakeLog, tmp_path: Path) -> None:
    """The pipeline can be quicker than the lookup: a stored version that is not older proves nothing."""
    client = gptboost(log, tmp_path, Memory({"rating": "positive", "comment": "x"}, version=0))

    assert (await client.post("/v1/feedback/", json=VOTE)).status_code == 200


async def test_a_vote_is_on_its_way_before_the_lookup_has_ended(log: FakeLog, tmp_path: Path) -> None:
    """A slow ClickHouse delays an answer, never the log."""
    memory = Memory()
    memory.gate.clear()
    answering = asyncio.create_task(gptboost(log, tmp_path, memory).post("/v1/feedback/", json=VOTE))
    await eventually(lambda: log.events, every=0)
    assert not answering.done()
    memory.gate.set()

    assert (await answering).status_code == 200


@pytest.mark.parametrize("per_key", [False, True])
async def test_with_known_requests_feedback_on_an_unknown_one_is_404(
    log: FakeLog, tmp_path: Path, *, per_key: bool
) -> None:
    """For a deployment or for a key; in each dialect's shape, and nothing is written."""
    memory = Memory()
    memory.unknown = {"m"}
    key = new_key(tmp_path, known_requests=True) if per_key else None
    app = ingest_over(log, tmp_path, memory, ingest_known_requests=not per_key)
    client = client_of(app, key)
    vote = await client.post("/v1/feedback/", json=VOTE)
    feedback = await client.post("/feedback/m", json={"data": {}})
    event = await client.post("/v1/events", json={"request_id": "m", "data": {}})

    assert vote.status_code == 404
    assert vote.json() == {
        "status": "not_found",
        "message_id": "m",
        "detail": "no request with this id is known; nothing was written",
    }
    assert (feedback.status_code, code_of(feedback)) == (404, "unknown_request")
    assert (event.status_code, code_of(event)) == (404, "unknown_request")
    assert not log.events


async def test_facts_retracts_and_known_requests_are_accepted(log: FakeLog, tmp_path: Path) -> None:
    """Facts are what makes a request known, and taking feedback back is always allowed."""
    memory = Memory()
    memory.unknown = {"m"}
    client = gptboost(log, tmp_path, memory, ingest_known_requests=True)
    answers = [
        await client.put("/v1/requests/m", json={"model": "x"}),
        await client.post("/v1/events", json={"request_id": "m", "data": {}, "request": {}}),
        await client.delete("/feedback/m"),
        await client.post("/feedback/other", json={"data": {}}),
    ]

    assert [answer.status_code for answer in answers] == [202] * 4
    assert memory.asked == [("default", "other")]


async def test_without_known_requests_nothing_is_looked_up(log: FakeLog, tmp_path: Path) -> None:
    """Feedback may come before, long after, or without the request's own facts."""
    memory = Memory()
    memory.unknown = {"m"}

    assert (await gptboost(log, tmp_path, memory).post("/v1/feedback/", json=VOTE)).status_code == 200
    assert not memory.asked
