"""The states that the sink's stage stores: lifelike rows of some 600 bytes.  Pure."""

import random
from collections.abc import Iterator

import orjson

from schemas.identity import DEFAULT_TENANT, event_key


def states(count: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield so many records of the state topic, key and value; the same each time."""
    chance = random.Random(count)
    for number in range(count):
        request_id = f"chatcmpl-{number * 2_654_435_761 % 2**32:08x}"
        yield event_key(DEFAULT_TENANT, request_id), orjson.dumps(_state(request_id, number, chance))


def _state(request_id: str, number: int, chance: random.Random) -> dict[str, object]:
    return {
        "tenant": DEFAULT_TENANT,
        "request_id": request_id,
        "version": number,
        "first_received_at": "2026-11-22T08:00:00.123456Z",
        "last_received_at": f"2026-11-22T08:{number // 60_000 % 60:02d}:{number // 1000 % 60:02d}.123456Z",
        "sources": ["requesty"],
        "data": {
            "rating": chance.choice([5, 4, "positive", "negative", True, 3.5]),
            "message": "word " * chance.randint(3, 20) + str(number),
            "user_id": f"user_{number % 5000}",
            "tags": chance.sample(["a", "b", "c", "slow", "fast"], 2),
            "helpful": chance.random() < 0.5,
        },
        "request": {
            "model": chance.choice(["gpt-x", "claude", "llama"]),
            "provider": "p",
            "latency_ms": chance.random() * 1000,
            "cost_usd": chance.random(),
            "started_at": "2026-11-22T08:00:00.123456Z",
            "prompt": "tell me " * 10,
        },
    }
