"""Erasing on a real Kafka and a real ClickHouse engine, beside the merger and the sink that run there."""

import json
from typing import Any

import httpx

from schemas.identity import event_key, partition_of
from schemas.tables import DEAD_LETTERS, FEEDBACK, FEEDBACK_EVENTS, FEEDBACK_STATE
from schemas.topics import DEAD_LETTERS_ROUTE, EVENTS_ROUTE, STATE_ROUTE
from services.erasure.core.erasures import user_hash
from services.runtime.http.keys import Scope
from tests.support.clickhouse import tables
from tests.support.eventually import eventually
from tests.support.merger.records import an_event_id
from tests.support.merger.state_log import reset_group
from tests.support.operations.erasure import PARTITIONS, Pipeline
from tests.support.query.app import client_of, query_over, reading_key


async def is_gone(pipeline: Pipeline, secret: str) -> None:
    """Wait until no file of ClickHouse has a text: replaced parts are deleted in the background."""
    await eventually(lambda: not pipeline.on_disk(secret), within=120, every=0.5)


async def test_named_requests_go_from_every_table_and_file(pipeline: Pipeline, tenant: str) -> None:
    """Also what was replaced long ago; a dry run changes nothing, and other requests stay as they are."""
    written = "zyzzyva-named-quokka"
    await pipeline.send(
        tenant,
        {"request_id": "r1", "data": {"comment": written}},
        {"request_id": "r1", "data": {"comment": "harmless"}},
        {"request_id": "r2", "data": {"comment": "kept"}},
    )
    assert pipeline.on_disk(written)

    planned = await pipeline.erase("--tenant", tenant, "--request-id", "r1")
    assert "2 events in the history" in planned.out
    assert "dry run" in planned.err
    assert (await pipeline.requests(tenant))[FEEDBACK_EVENTS] == {"r1", "r2"}

    ended = await pipeline.erase("--tenant", tenant, "--request-id", "r1", "--yes", "--json")
    told = json.loads(ended.out)
    assert told["found"][FEEDBACK_EVENTS] == 2
    assert told["found"][FEEDBACK] == 1
    assert set(told["left"].values()) == {0}
    assert {one["place"]: bool(one["until"]) for one in told["kept"]}[
        f"topic {pipeline.topology.events.name}"
    ]
    found = await pipeline.requests(tenant)
    assert found == {FEEDBACK_STATE: {"r2"}, FEEDBACK_EVENTS: {"r2"}, DEAD_LETTERS: set()}
    await is_gone(pipeline, written)


async def test_a_user_goes_from_everything_that_ever_named_them(pipeline: Pipeline, tenant: str) -> None:
    """Named by the feedback, by the facts, once and replaced since, in a dead letter alone; nobody else goes.

    What is put back or read again from before the erasure is taken away again.
    """
    user, written = "u-17", "zyzzyva-user-quokka"
    mine = [
        {"request_id": "by-data", "data": {"user_id": user, "comment": written}},
        {"request_id": "by-facts", "request": {"user_id": user, "prompt": written}},
        {"request_id": "replaced", "data": {"user_id": user, "comment": written}},
        {"request_id": "replaced", "data": {"user_id": "other", "comment": "new"}},
    ]
    refused = an_event_id(999, idempotent=True)
    await pipeline.send(
        tenant,
        *mine,
        {"request_id": "in-letter", "event_id": refused, "idempotent": True, "data": {"user_id": "other"}},
        {"request_id": "in-letter", "event_id": refused, "idempotent": True,
         "data": {"user_id": user, "comment": written}},
        {"request_id": "others", "data": {"user_id": "other", "comment": "kept"}},
        {"request_id": "others", "data": {"comment": user}},
    )  # fmt: skip
    (first,) = await tables.rows(
        pipeline.settings,
        f"SELECT version, log_partition FROM {FEEDBACK_EVENTS}"
        f" WHERE tenant = '{tenant}' AND request_id = 'by-data'",
    )
    assert (await pipeline.requests(tenant))[DEAD_LETTERS] == {"in-letter"}

    ended = await pipeline.erase("--tenant", tenant, "--user-id", user, "--yes", "--json")
    told = json.loads(ended.out)
    kept = {FEEDBACK_STATE: {"others"}, FEEDBACK_EVENTS: {"others"}, DEAD_LETTERS: set()}
    assert set(told["request_ids"]) == {"by-data", "by-facts", "replaced", "in-letter"}
    assert told["user_hash"] == user_hash(tenant, user)
    assert user not in ended.out
    assert await pipeline.requests(tenant) == kept
    await is_gone(pipeline, written)

    assert first[1] == partition_of(event_key(tenant, "by-data"), PARTITIONS)
    await pipeline.send(tenant, mine[0], replays=first[0])

    async def is_swept() -> bool:
        return await pipeline.requests(tenant) == kept

    await eventually(is_swept, within=60, every=0.3)
    await is_gone(pipeline, written)


async def verified(client: httpx.AsyncClient, erasure: str) -> dict[str, Any]:
    """Return an erasure once the sink has carried it out."""

    async def ask() -> dict[str, Any]:
        told: dict[str, Any] = (await client.get(f"/v1/erasures/{erasure}")).json()
        return told if told["state"] == "verified" else {}

    return await eventually(ask, within=120, every=0.3)


async def test_the_sink_carries_out_what_http_asks_for_though_it_is_killed(
    pipeline: Pipeline, tenant: str
) -> None:
    """And reading all topics from the start, as after a loss, brings nothing back."""
    written = "zyzzyva-http-quokka"
    key = reading_key(pipeline.home, Scope.ADMIN, tenant=tenant)
    user = "u-1" * 1_000 + "\0"
    mine = {"request_id": "mine", "data": {"user_id": user, "comment": written}}
    await pipeline.send(tenant, mine, mine, {"request_id": "others", "data": {"user_id": user[:-1]}})
    async with client_of(query_over(pipeline.settings, pipeline.home), key) as client:
        asked = await client.post("/v1/erasures", json={"user_id": user})
        await pipeline.sink.kill()
        assert asked.status_code == 202, asked.text
        # It was on its way when the erasure was asked for.
        await pipeline.send(tenant, {**mine, "request_id": "late"}, stored=False)
        await pipeline.sink.start()
        told = await verified(client, asked.json()["id"])
        assert set(told["request_ids"]) == {"mine", "late"}
        assert set(told["certificate"]["left"].values()) == {0}
        assert [one["id"] for one in (await client.get("/v1/erasures")).json()["items"]] == [told["id"]]

    await pipeline.sink.stop()
    for route, topic in (
        (STATE_ROUTE, pipeline.topology.state),
        (EVENTS_ROUTE, pipeline.topology.events),
        (DEAD_LETTERS_ROUTE, pipeline.topology.events_dlq),
    ):
        await reset_group(pipeline.settings, pipeline.topology.sink_group(route), topic, 0)
    await tables.run(pipeline.settings, f"TRUNCATE TABLE {FEEDBACK_EVENTS}")
    await pipeline.sink.start()

    async def is_back() -> bool:
        found = await pipeline.requests(tenant)
        return found == {FEEDBACK_STATE: {"others"}, FEEDBACK_EVENTS: {"others"}, DEAD_LETTERS: set()}

    await eventually(is_back, within=120, every=0.3)
    await pipeline.stored()
    await is_gone(pipeline, written)
    assert await is_back()
