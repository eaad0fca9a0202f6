"""A batch is taken in runs, and nobody can tell: each event fares as if it had come alone."""

import json
from pathlib import Path
from typing import Any

import httpx
import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ingest.core.content import RUN_BYTES, RUN_ITEMS
from tests.support.ingest.app import client_of, ingest_over
from tests.support.ingest.fake_log import FakeLog

IDS = st.sampled_from(["a", "b", "ünïcode", "x" * 256, "x" * 257, "\x00", "\u00a0", ""])
VALUES = st.sampled_from([1, 2**64, "text", None, ["a"], {"deep": {"er": [1.5]}}, "x" * (RUN_BYTES // 3)])
EVENTS = st.fixed_dictionaries(
    {"request_id": IDS},
    optional={
        "data": st.dictionaries(st.sampled_from(["k", "l", ""]), VALUES, max_size=2),
        "request": st.dictionaries(st.just("model"), VALUES, max_size=1),
        "op": st.sampled_from(["merge", "retract", "erase", "explode"]),
    },
)
ORDINARY = st.builds(lambda number: {"request_id": f"r{number}", "data": {"n": number}}, st.integers(0, 9))
ITEMS = st.lists(st.one_of(ORDINARY, EVENTS, st.just(7)), max_size=6)


def without_place(item: dict[str, Any]) -> dict[str, Any]:
    """Leave out what differs from call to call."""
    return {name: value for name, value in item.items() if name not in ("index", "event_id", "version")}


async def sent(client: httpx.AsyncClient, items: list[Any], keys: dict[str, str]) -> dict[str, Any]:
    """Send a batch of lines."""
    lines = "\n".join(map(json.dumps, items))
    answer = await client.post(
        "/v1/events", content=lines, headers={"content-type": "application/x-ndjson", **keys}
    )
    result: dict[str, Any] = answer.json()
    return result


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.integers(0, RUN_ITEMS), items=ITEMS, idempotent=st.booleans())
async def test_each_event_fares_as_if_it_had_come_alone(
    tmp_path: Path, before: int, items: list[Any], *, idempotent: bool
) -> None:
    """Whatever else is in its run; and its place in the log is the one it was told."""
    together, alone = FakeLog(), FakeLog()
    everything = [{"request_id": f"r{number % 5}", "data": {"n": number}} for number in range(before)] + items
    keys = {"idempotency-key": "k"} if idempotent else {}
    answers = (await sent(client_of(ingest_over(together, tmp_path)), everything, keys)).get("items", [])
    client = client_of(ingest_over(alone, tmp_path))
    single = [(await sent(client, [item], keys))["items"][0] for item in everything]

    assert [item["index"] for item in answers] == list(range(len(everything)))
    assert list(map(without_place, answers)) == list(map(without_place, single))
    for answer in answers:
        if answer["status"] == "accepted":
            assert answer["event_id"] in _ids(together, answer["request_id"], int(answer["version"]))
    assert _said(together) == _said(alone)


def _ids(log: FakeLog, request_id: str, version: int) -> set[str]:
    here = [partition[version][1] for partition in log.partitions if version < len(partition)]
    events = map(orjson.loads, here)
    return {event["event_id"] for event in events if event["request_id"] == request_id}


def _said(log: FakeLog) -> list[list[Any]]:
    private = ("event_id", "received_at")
    return [
        [
            {name: value for name, value in orjson.loads(event).items() if name not in private}
            for _, event in part
        ]
        for part in log.partitions
    ]
