"""Every route on a real server: what was answered is what the log has, exactly there."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from schemas.limits import MAX_EVENT_BYTES
from services.ingest.app import IngestApp, build, key_file
from services.ingest.core.event import event_bytes
from services.ingest.dialects.dialect import Submission
from tests.integration.ingest.conftest import Running, ready
from tests.support.http.server import serving
from tests.support.ingest.app import code_of

NOW = "2026-01-02T03:04:05.000006Z"


async def logged(ingest: Running, answer: httpx.Response) -> dict[str, Any]:
    """Return the event that an answer speaks of, found by its version."""
    said = answer.json()
    return next(event for event in await ingest.at(said["version"]) if event["event_id"] == said["event_id"])


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "source", "op", "carried"),
    [
        ("POST", "/feedback/h1", {"data": {"rating": 5}}, 202, "requesty", "merge", {"data": {"rating": 5}}),
        ("POST", "/requesty/feedback/h%2F2", {"data": {}}, 202, "requesty", "merge", {"data": {}}),
        ("DELETE", "/feedback/h1", None, 202, "requesty", "retract", {}),
        ("PUT", "/v1/requests/h1", {"model": "m"}, 202, "native", "merge", {"request": {"model": "m"}}),
        (
            "POST",
            "/v1/feedback/",
            {"message_id": "h3", "rating": "amazing", "tags": ["t"]},
            200,
            "gptboost",
            "merge",
            {"data": {"rating": "amazing", "tags": ["t"]}},
        ),
        (
            "POST",
            "/v1/events",
            {"request_id": "ü/🙂", "data": {"x": 2**64 - 1}},
            202,
            "native",
            "merge",
            {"data": {"x": 2**64 - 1}},
        ),
    ],
)
async def test_every_route_writes_what_it_answers(
    ingest: Running,
    method: str,
    path: str,
    body: Any,
    status: int,
    source: str,
    op: str,
    carried: dict[str, Any],
) -> None:
    """One event at one place, under its tenant's key."""
    async with ingest.client("acme") as client:
        answer = await client.request(method, path, json=body)
    assert answer.status_code == status
    event = await logged(ingest, answer)

    assert (event["source"], event["op"], event["tenant"]) == (source, op, "acme")
    assert event["request_id"] == answer.json().get("request_id", answer.json().get("message_id"))
    assert {name: event[name] for name in ("data", "request") if name in event} == carried


async def test_every_acknowledgement_of_many_at_once_is_exactly_right(ingest: Running) -> None:
    """Concurrent requests share record batches, and each still gets its own place."""
    async with ingest.client() as client:

        async def post(number: int) -> tuple[str, str, str]:
            answer = await client.post(f"/feedback/many-{number}", json={"data": {"n": number}})
            assert answer.status_code == 202
            said = answer.json()
            return said["request_id"], said["event_id"], said["version"]

        told = await asyncio.gather(*(post(number) for number in range(150)))
    partitions = await ingest.log()
    places = {
        (event["request_id"], event["event_id"], str(ingest.settings.kafka_topic_generation << 48 | offset))
        for partition in partitions
        for offset, event in enumerate(partition)
    }

    assert set(told) <= places
    assert len(set(told)) == 150


async def test_a_batch_is_in_the_log_in_its_own_order(ingest: Running) -> None:
    """Two thousand lines for three requests: each request's events as the file has them."""
    lines = [json.dumps({"request_id": f"batch-{n % 3}", "data": {"n": n}}) for n in range(2000)]
    lines[7] = "{"
    async with ingest.client() as client:
        answer = await client.post(
            "/v1/events", content="\n".join(lines), headers={"content-type": "application/x-ndjson"}
        )
    result = answer.json()
    assert (answer.status_code, result["accepted"], result["rejected"]) == (207, 1999, 1)
    assert result["items"][7]["error"]["code"] == "malformed_json"

    found: dict[str, list[int]] = {}
    for partition in await ingest.log():
        for event in partition:
            if event["request_id"].startswith("batch-"):
                found.setdefault(event["request_id"], []).append(event["data"]["n"])
    assert found == {f"batch-{k}": [n for n in range(k, 2000, 3) if n != 7] for k in range(3)}


async def test_the_largest_event_then_a_normal_one_then_one_too_large(ingest: Running) -> None:
    """To the byte, all to one partition."""
    empty = Submission("large", {"x": ""})
    envelope = event_bytes("default", "requesty", empty, "0" * 36, NOW, idempotent=False)
    room = MAX_EVENT_BYTES - len(envelope)
    async with ingest.client() as client:
        largest = await client.post("/feedback/large", json={"data": {"x": "a" * room}})
        normal = await client.post("/feedback/large", json={"data": {"x": 1}})
        beyond = await client.post("/feedback/large", json={"data": {"x": "a" * (room + 1)}})
        after = await client.post("/feedback/large", json={"data": {"x": 2}})

    assert [answer.status_code for answer in (largest, normal, beyond, after)] == [202, 202, 413, 202]
    assert code_of(beyond) == "too_large"
    assert len((await logged(ingest, largest))["data"]["x"]) == room
    assert (await logged(ingest, after))["data"] == {"x": 2}


async def test_a_body_over_the_limit_is_refused_at_the_door(ingest: Running) -> None:
    """By its declared length, before a byte of it was sent."""
    host, port = ingest.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    key = ingest.keys["default"].encode()
    writer.write(b"POST /feedback/x HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer %b\r\n" % key)
    writer.write(b"content-length: 9999999\r\n\r\n")
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    writer.close()

    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_requests_on_one_connection_follow_each_other(ingest: Running) -> None:
    """Also after a refusal whose body was never read."""
    async with ingest.client() as client:
        for _ in range(2):
            refused = await client.post("/feedback/x", content=b"x" * (3 << 20))
            taken = await client.post("/feedback/x", json={"data": {}})
            assert (refused.status_code, taken.status_code) == (413, 202)


async def test_metrics_show_what_happened(ingest: Running) -> None:
    """By dialect and outcome, and what waits for Kafka."""
    async with ingest.client() as client:
        await client.post("/feedback/m", json={"data": {}})
        await client.post("/feedback/m", json={"data": 1})
        page = (await client.get("/metrics")).text

    assert 'ingest_requests_total{dialect="requesty",outcome="accepted"}' in page
    assert 'ingest_requests_total{dialect="requesty",outcome="invalid_feedback"}' in page
    assert 'ingest_events_total{dialect="requesty",op="merge"}' in page
    assert "ingest_inflight_bytes 0.0" in page


async def test_metrics_show_that_the_log_is_ready(ingest: Running) -> None:
    """Of the newest server: a gauge belongs to a process, and a process of tests has several servers."""
    again = IngestApp(build(ingest.settings, key_file(ingest.settings.keys_file)))
    async with serving(again) as url, httpx.AsyncClient(base_url=url) as client:
        await ready(url)
        page = (await client.get("/metrics")).text

    assert "ingest_log_ready 1.0" in page
