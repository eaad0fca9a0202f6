"""What ingest accepts, ClickHouse takes: whatever Hypothesis finds, and the largest event there is."""

import json
from itertools import count
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from schemas.limits import MAX_EVENT_BYTES
from tests.support.ingest import bodies
from tests.support.stack.rows import shows
from tests.support.stack.whole_stack import WholeStack

LINES = {"Content-Type": "application/x-ndjson"}

numbers = count()
parts = st.sampled_from(["data", "request"])
# A line break would end the line that holds the event.
texts = bodies.data.filter(lambda text: "\n" not in text)


async def post(stack: WholeStack, body: bytes) -> dict[str, Any]:
    """Post a batch and return the answer."""
    async with httpx.AsyncClient(base_url=stack.ingest_url, timeout=60) as client:
        answer = await client.post("/v1/events", content=body, headers=LINES)
    assert answer.status_code == 207, answer.text
    return dict(answer.json())


@settings(max_examples=5, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(generated=st.lists(st.tuples(parts, texts), min_size=60, max_size=120))
async def test_what_is_accepted_becomes_a_row_and_what_is_rejected_does_not(
    whole_stack: WholeStack, generated: list[tuple[str, str]]
) -> None:
    """Nothing that was accepted is refused later, and its values are those that were sent."""
    prefix = f"accepted-{next(numbers)}-"
    lines = [
        f'{{"request_id":"{prefix}{number}","{part}":{text}}}'.encode("utf-8", "surrogatepass")
        for number, (part, text) in enumerate(generated)
    ]

    items = (await post(whole_stack, b"\n".join(lines)))["items"]

    expected = {}
    for item, (part, text) in zip(items, generated, strict=True):
        if item["status"] == "accepted":
            kept = {key: value for key, value in json.loads(text).items() if value is not None}
            expected[item["request_id"]] = (kept, {}) if part == "data" else ({}, kept)
    assert expected
    await shows(whole_stack.settings, prefix, expected)


def event_of(request_id: str, size: int) -> bytes:
    """Return a line with so many characters of text."""
    return json.dumps({"request_id": request_id, "data": {"text": "x" * size}}).encode()


async def test_the_largest_event_reaches_a_row_and_so_does_the_next(whole_stack: WholeStack) -> None:
    """One byte more is refused; the event behind it in the same partition is not held up."""

    async def is_taken(size: int) -> bool:
        answer = await post(whole_stack, event_of("largest", size))
        return bool(answer["accepted"])

    taken, refused = 1, MAX_EVENT_BYTES
    while refused - taken > 1:
        middle = (taken + refused) // 2
        taken, refused = (middle, refused) if await is_taken(middle) else (taken, middle)
    # The search ends with a small event if its last try was a refusal, so the largest goes last.
    assert await is_taken(taken)
    assert not await is_taken(taken + 1)
    await post(whole_stack, b'{"request_id":"largest","data":{"then":1}}')

    assert MAX_EVENT_BYTES - 1024 < taken < MAX_EVENT_BYTES
    await shows(whole_stack.settings, "largest", {"largest": ({"text": "x" * taken, "then": 1}, {})})
