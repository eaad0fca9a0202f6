"""Calls about stored events, on a real Kafka, sink and ClickHouse engine: each reads what was sent before."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.ingest.app import IngestApp, build, key_file
from services.ingest.settings import IngestSettings
from services.runtime.http.keys import Scope
from services.runtime.settings import ClickHouseSettings, KafkaSettings
from tests.integration.ingest.conftest import Running, ready
from tests.support.http.server import serving
from tests.support.ingest.app import new_key
from tests.support.sink.runs import migrated, running

RUN = "018f0000-0000-7000-8000-000000000001"


@pytest.fixture
async def stack(
    kafka_settings: KafkaSettings, clickhouse_settings: ClickHouseSettings, tmp_path: Path
) -> AsyncIterator[Running]:
    """An ingest with the keys of two tenants, and a sink that stores its events."""
    sink = await migrated(kafka_settings, clickhouse_settings)
    keys = {tenant: new_key(tmp_path, Scope.ADMIN, tenant=tenant) for tenant in ("default", "acme")}
    known = {**kafka_settings.model_dump(), **clickhouse_settings.model_dump(), "afterword_home": tmp_path}
    settings = IngestSettings(**known, ingest_stored_seconds=60)
    service = build(settings, key_file(settings.keys_file))
    async with running(sink), serving(IngestApp(service)) as url:
        await ready(url)
        yield Running(url, settings, service, keys)


async def created(client: httpx.AsyncClient, feedback_id: str, **fields: Any) -> None:
    """Create feedback on the run."""
    body = {"id": feedback_id, "run_id": RUN, "key": "score", **fields}
    answer = await client.post("/langsmith/feedback", json=body)
    assert answer.status_code == 200, answer.text


async def listed(client: httpx.AsyncClient) -> list[tuple[str, Any, Any]]:
    """Return id, score and rater of the feedback on the run, oldest first."""
    answer = await client.get("/langsmith/feedback", params={"run": RUN})
    assert answer.status_code == 200, answer.text
    return [(one["id"], one["score"], one["feedback_source"]["user_id"]) for one in reversed(answer.json())]


async def test_feedback_is_read_changed_and_deleted_right_after_it_was_sent(stack: Running) -> None:
    """By its tenant alone; a deleted score restores that of another rater."""
    async with stack.client() as client, stack.client("acme") as other:
        await created(client, "a", score=1, feedback_source={"user_id": "ann"})
        await created(client, "b", score=2, feedback_source={"user_id": "bob"})
        assert await listed(client) == [("a", 1, "ann"), ("b", 2, "bob")]
        changed = await client.patch("/langsmith/feedback/b", json={"score": 3, "comment": "So."})
        assert changed.status_code == 200, changed.text
        read = (await client.get("/langsmith/feedback/b")).json()
        assert (read["score"], read["comment"], read["run_id"]) == (3, "So.", RUN)
        assert await listed(other) == []
        assert (await other.delete("/langsmith/feedback/b")).status_code == 404
        assert (await client.delete("/langsmith/feedback/b")).status_code == 200
        assert await listed(client) == [("a", 1, "ann")]
        assert (await client.delete("/langsmith/feedback/b")).status_code == 404

    (history,) = [partition for partition in await stack.log() if partition]
    assert [event["data"] for event in history[-2:]] == [
        {"score": None, "comment": None, "user_id": "bob"},
        {"score": 1, "user_id": "ann"},
    ]


async def test_a_token_works_right_after_it_was_created(stack: Running) -> None:
    """Without a key, until the request is erased; what is stored of it is no token."""
    async with stack.client("acme") as owner, httpx.AsyncClient(timeout=60) as visitor:
        body = {"run_id": RUN, "feedback_key": "score"}
        token = (await owner.post("/langsmith/feedback/tokens", json=body)).json()
        page = await visitor.get(token["url"], params={"score": 1})
        sent = await visitor.post(token["url"], json={"comment": "Thanks."})
        ((feedback_id, *given),) = await listed(owner)
        read = (await owner.get(f"/langsmith/feedback/{feedback_id}")).json()

        assert (page.status_code, sent.status_code) == (200, 200), page.text
        assert given == [1, None]
        assert read["comment"] == "Thanks."
        unknown = await visitor.post(
            f"{stack.url}/langsmith/feedback/tokens/{feedback_id}", json={"score": 0}
        )
        assert unknown.status_code == 404
        await owner.post("/v1/events", json={"request_id": RUN, "op": "erase"})
        assert (await visitor.post(token["url"], json={"score": 0})).status_code == 404

    events = [event for partition in await stack.log() for event in partition]
    assert {event["tenant"] for event in events} == {"acme"}
    assert token["id"] not in str(events)
