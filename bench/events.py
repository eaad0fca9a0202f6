"""The events of every benchmark: 1 to 3 of 6 keys each, on requests chosen by chance.

`partials` yields them as callers send them, `published` as ingest writes them to the log, and `folded` is
what must become of them.  The same arguments give the same events.
"""

import random
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any, TypeAlias

import orjson

from schemas.identity import DEFAULT_TENANT, event_key
from services.ingest.core.event import Stamp

Item: TypeAlias = dict[str, Any]
"""An item of `POST /v1/events`: request_id and data."""

KEYS = ("rating", "message", "helpful", "user_id", "tags", "meta")
_CHOICES = tuple(tuple(combinations(KEYS, size)) for size in (1, 2, 3))
_MESSAGE = "The response was very accurate and helpful."
_TAGS = ["customer-support", "positive-feedback"]
_BEGAN = 1_795_339_200_000_000_000
_BETWEEN = 50_000
"""When the first event was received, and how much later each other one, in nanoseconds."""


def partials(count: int, keys: int | None = None, seed: int = 1) -> Iterator[Item]:
    """Yield `count` items on `keys` request ids, by default a third of the count."""
    dice = random.Random(seed)
    chance, ids = dice.random, keys or max(1, count // 3)
    for number in range(count):
        request_id = f"chatcmpl-{int(chance() * ids):08d}"
        several = _CHOICES[int(chance() * 3)]
        values = {key: _value(key, number) for key in several[int(chance() * len(several))]}
        yield {"request_id": request_id, "data": values}


def _value(key: str, number: int) -> Any:
    match key:
        case "rating":
            return number % 5 + 1
        case "message":
            return _MESSAGE
        case "helpful":
            return number % 2 == 0
        case "user_id":
            return f"user_{number % 9999}"
        case "tags":
            return _TAGS
        case _:
            return {"page": "/a/b", "n": number}


def published(
    count: int, keys: int | None = None, seed: int = 1, tenant: str = DEFAULT_TENANT
) -> Iterator[tuple[bytes, bytes]]:
    """Yield the same events as records of the events topic: key and value."""
    stamp = Stamp(random.Random(seed).randbytes(9))
    for number, item in enumerate(partials(count, keys, seed)):
        event_id, received_at = stamp(_BEGAN + number * _BETWEEN)
        event = {
            "event_id": event_id,
            "tenant": tenant,
            "request_id": item["request_id"],
            "received_at": received_at,
            "source": "native",
            "op": "merge",
            "data": item["data"],
        }
        yield event_key(tenant, item["request_id"]), orjson.dumps(event)


def folded(items: Iterable[Item]) -> dict[str, dict[str, Any]]:
    """Return each request's data after all its items, in their order: every key's latest value."""
    latest: dict[str, dict[str, Any]] = {}
    for item in items:
        latest.setdefault(item["request_id"], {}).update(item["data"])
    return latest


def lines(items: Iterable[Item], size: int) -> Iterator[bytes]:
    """Yield the items as NDJSON bodies of `size` lines; the last one may have fewer."""
    body: list[bytes] = []
    for item in items:
        body.append(orjson.dumps(item))
        if len(body) == size:
            yield b"\n".join(body)
            body.clear()
    if body:
        yield b"\n".join(body)
