"""A reader who names the version of an acknowledgement reads its outcome: the whole stack, over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from schemas.limits import MAX_ROW_KEYS
from tests.support.eventually import eventually
from tests.support.stack.whole_stack import WholeStack

WAIT = "20s"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """A client for both services."""
    async with httpx.AsyncClient(timeout=60) as client:
        yield client


class Person:
    """A client that sends feedback on one request, and reads it back."""

    def __init__(self, stack: WholeStack, client: httpx.AsyncClient, request_id: str) -> None:
        self._client, self._request_id = client, request_id
        self._events = f"{stack.ingest_url}/v1/events"
        self.url = f"{stack.query_url}/v1/feedback/{quote(request_id, safe='')}"

    async def says(self, key: str | None = None, **event: Any) -> str:
        """Post an event, under an Idempotency-Key if there is one, and return its version."""
        headers = {"idempotency-key": key} if key else {}
        answer = await self._client.post(
            self._events, json={"request_id": self._request_id, **event}, headers=headers
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["version"])

    async def reads(self, version: str, wait: str = WAIT) -> httpx.Response:
        """Read the row once the version has passed everything."""
        parameters = {"min_version": version, **({"wait": wait} if wait else {})}
        return await self._client.get(self.url, params=parameters)

    async def reads_history(self) -> list[dict[str, Any]]:
        """Read all events."""
        answer = await self._client.get(f"{self.url}/events")
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])


async def test_a_write_is_read_back_as_merged(whole_stack: WholeStack, client: httpx.AsyncClient) -> None:
    """The row has the very value that was acknowledged, however often it was overwritten."""
    person = Person(whole_stack, client, "ryw-merged")

    for rating in range(3):
        version = await person.says(data={"rating": rating})
        answer = await person.reads(version)

        assert answer.status_code == 200, answer.text
        row = answer.json()
        assert (row["outcome"], row["reached"]) == ("merged", True)
        assert row["data"] == {"rating": rating}
        assert row["version"] == version


async def test_a_repeat_is_reported_as_ignored(whole_stack: WholeStack, client: httpx.AsyncClient) -> None:
    """Also when other events came between, and though the row's version has passed it."""
    person = Person(whole_stack, client, "ryw-repeat")
    first = await person.says("once", data={"rating": 1})
    await person.says(data={"rating": 2})
    again = await person.says("once", data={"rating": 1})

    answers = [(await person.reads(version)).json() for version in (first, again)]

    assert [row["outcome"] for row in answers] == ["merged", "ignored"]
    assert answers[1]["outcome_reason"] == "repeat"
    assert answers[1]["data"] == {"rating": 2}


async def test_what_was_dead_lettered_is_reported_with_its_reason(
    whole_stack: WholeStack, client: httpx.AsyncClient
) -> None:
    """A key that was used for another body, and an event that is too large for its row."""
    person = Person(whole_stack, client, "ryw-dead")
    await person.says("key", data={"rating": 1})
    conflict = await person.says("key", data={"rating": 2})
    for start in range(1, MAX_ROW_KEYS, 256):
        await person.says(
            request={f"k{number}": 0 for number in range(start, min(start + 256, MAX_ROW_KEYS))}
        )
    too_large = await person.says(data={"one": "more"})

    answers = [(await person.reads(version)).json() for version in (conflict, too_large)]

    assert [row["outcome"] for row in answers] == ["dead_lettered", "dead_lettered"]
    assert answers[0]["outcome_reason"] == "idempotency_conflict"
    assert answers[1]["outcome_reason"] == "row_too_large"
    assert answers[1]["data"] == {"rating": 1}
    letters = (await client.get(f"{whole_stack.query_url}/v1/dead-letters?request_id=ryw-dead")).json()[
        "items"
    ]
    assert {letter["original_version"] for letter in letters} == {conflict, too_large}


async def test_without_a_wait_the_answer_is_pending(
    whole_stack: WholeStack, client: httpx.AsyncClient
) -> None:
    """A new request has no row yet: unknown so far, and the problem says so; waiting then helps."""
    numbers = count()

    async def is_pending() -> tuple[Person, str] | None:
        person = Person(whole_stack, client, f"ryw-pending-{next(numbers)}")
        version = await person.says(data={"rating": 1})
        answer = await person.reads(version, wait="")
        if answer.status_code != 404 or answer.json()["outcome"] != "pending":
            return None  # it was stored before it was asked about
        assert answer.json()["code"] == "unknown_request"
        assert not answer.json()["reached"]
        return person, version

    found = await eventually(is_pending, within=30)
    assert found is not None
    person, version = found

    answer = await person.reads(version)
    assert (answer.status_code, answer.json()["outcome"]) == (200, "merged")


async def test_an_erase_is_merged_and_leaves_no_row(
    whole_stack: WholeStack, client: httpx.AsyncClient
) -> None:
    """Absent, and known to be: that is what the erase was for.  Nothing that was said is shown again."""
    person = Person(whole_stack, client, "ryw-erased")
    before = await person.says(data={"comment": "my secret"})
    erase = await person.says(op="erase")

    answers = [await person.reads(version) for version in (before, erase)]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert [answer.json()["outcome"] for answer in answers] == ["merged", "merged"]
    history = await person.reads_history()
    assert [event["op"] for event in history] == ["erase"]


async def test_many_wait_at_once_and_each_reads_its_own(
    whole_stack: WholeStack, client: httpx.AsyncClient
) -> None:
    """Forty writers of as many requests, all waiting together."""

    async def writes_and_reads(number: int) -> tuple[str, Any]:
        person = Person(whole_stack, client, f"ryw-many-{number}")
        version = await person.says(data={"number": number})
        row = (await person.reads(version)).json()
        return row["outcome"], row["data"]["number"]

    found = await asyncio.gather(*(writes_and_reads(number) for number in range(40)))

    assert found == [("merged", number) for number in range(40)]


@pytest.mark.parametrize("request_id", ["ryw/a/b", "..", ".ryw", "ryw-ünï 👍", "ryw%2F100%", "ryw?x=1&y#z+ "])
async def test_any_id_reads_back(whole_stack: WholeStack, client: httpx.AsyncClient, request_id: str) -> None:
    """Percent-encoded in the path; row and history."""
    person = Person(whole_stack, client, request_id)
    # Clients take dots out of a path, even encoded ones; what is sent to a server by hand is read.
    person.url = person.url.replace("/..", "/%2E%2E")

    version = await person.says(data={"rating": 5})
    row = (await person.reads(version)).json()

    assert (row["request_id"], row["data"], row["outcome"]) == (request_id, {"rating": 5}, "merged")
    assert [event["version"] for event in await person.reads_history()] == [version]


async def test_the_watermark_covers_everything_that_was_sent(
    whole_stack: WholeStack, client: httpx.AsyncClient
) -> None:
    """One question about all requests at once: what was acknowledged before it can be queried."""
    people = [Person(whole_stack, client, f"ryw-all-{number}") for number in range(20)]
    for number, person in enumerate(people):
        await person.says(data={"number": number})

    watermark = (await client.get(f"{whole_stack.query_url}/v1/watermark", params={"wait": WAIT})).json()
    rows = [(await client.get(person.url)).json() for person in people]

    assert watermark["reached"]
    assert [row["data"] for row in rows] == [{"number": number} for number in range(20)]
    assert {stage["consumers"] for stage in watermark["stages"]} == {1}
    page = await client.get(f"{whole_stack.query_url}/pipeline")
    assert "Not running" not in page.text
