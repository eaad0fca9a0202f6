"""Erasing on a real Kafka and a real ClickHouse engine, beside the merger and the sink that run there."""

import json

from schemas.tables import DEAD_LETTERS, FEEDBACK_EVENTS, FEEDBACK_STATE
from tests.support.erasing import Pipeline, everywhere

SECRET = "zyzzyva-{}-quokka"


async def test_named_requests_go_from_every_table_and_file(pipeline: Pipeline, tenant: str) -> None:
    """Also what was replaced long ago; a dry run changes nothing, and other requests stay as they are."""
    secret = SECRET.format("named")
    await pipeline.send(
        tenant,
        {"request_id": "r1", "data": {"comment": secret}},
        {"request_id": "r1", "data": {"comment": "harmless"}},
        {"request_id": "r2", "data": {"comment": "kept"}},
    )
    assert pipeline.on_disk(secret)

    planned = await pipeline.erase("--tenant", tenant, "--request-id", "r1")
    assert "2 events in the history" in planned.out
    assert "dry run" in planned.err
    assert (await pipeline.requests(tenant))[FEEDBACK_EVENTS] == {"r1", "r2"}

    ended = await pipeline.erase("--tenant", tenant, "--request-id", "r1", "--yes", "--json")
    told = json.loads(ended.out)
    assert told["found"] | {FEEDBACK_STATE: 0} == {
        FEEDBACK_EVENTS: 2,
        DEAD_LETTERS: 0,
        FEEDBACK_STATE: 0,
        "feedback": 1,
    }
    assert set(told["left"].values()) == {0}
    assert (await pipeline.requests(tenant))[FEEDBACK_EVENTS] == {"r2"}
    assert not pipeline.on_disk(secret)
    assert everywhere({FEEDBACK_STATE: (await pipeline.requests(tenant))[FEEDBACK_STATE]}, "r2")
