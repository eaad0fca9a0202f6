"""`GET /v1/feedback/{request_id}` and its events, over a real ClickHouse engine."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from schemas.tables import FEEDBACK_EVENTS
from services.query.reads.history import history
from services.query.store import ClickHouseStore
from services.runtime.settings import ClickHouseSettings, KafkaSettings
from tests.support.clickhouse.tables import insert
from tests.support.merger.manual_stages import Stages
from tests.support.query.app import client_of, code_of, faults_of, query_over, reading_key

NOTHING: dict[str, list[str]] = {"set": [], "replaced": [], "cleared": [], "kept": []}


@pytest.fixture
def stages(query_tables: ClickHouseSettings, tenant: str) -> Stages:
    """A request whose rows, events and dead letters a test stores; there is no Kafka."""
    return Stages(KafkaSettings(), query_tables, tenant)


@pytest.fixture
async def reader(stages: Stages, tmp_path: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A reader of the tenant's rows."""
    key = reading_key(tmp_path, tenant=stages.tenant)
    async with client_of(query_over(stages.clickhouse, tmp_path), key) as client:
        yield client


async def events_of(reader: httpx.AsyncClient, **parameters: Any) -> dict[str, Any]:
    """Ask for a page of the history."""
    answer = await reader.get("/v1/feedback/r1/events", params=parameters)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def changed(event: dict[str, Any], part: str = "data") -> dict[str, list[str]]:
    """Return what an event did to keys, without the empty lists."""
    return {how: keys for how, keys in event["changes"][part].items() if keys}


async def test_each_event_shows_what_it_changed(stages: Stages, reader: httpx.AsyncClient) -> None:
    """Whatever the keys and values are; values that differ in type differ."""
    odd = {"ü.é": {"b": [1]}, "": 0, "a'b\"c\\d": "x", "👍": "null", "gone": None}
    await stages.store_event(0, data={"rating": 1, "user_id": "ann", **odd})
    await stages.store_event(1, data={"rating": "1", "user_id": "ann", "👍": None}, request={"model": "m"})
    await stages.store_event(2, op="retract", source="requesty")
    await stages.store_event(3, data={"rating": 5}, request={"model": "m", "user_id": 7})
    await stages.store_row(3)

    events = (await events_of(reader))["items"]

    assert [changed(event) for event in events] == [
        {"set": ["", "a'b\"c\\d", "rating", "user_id", "ü.é", "👍"]},
        {"replaced": ["rating"], "cleared": ["👍"], "kept": ["user_id"]},
        {"cleared": ["", "a'b\"c\\d", "rating", "user_id", "ü.é"]},
        {"set": ["rating"]},
    ]
    assert [changed(event, "request") for event in events] == [
        {},
        {"set": ["model"]},
        {},
        {"set": ["user_id"], "kept": ["model"]},
    ]
    assert [event["user_id"] for event in events] == ["ann", "ann", "", "7"]
    assert [event["source"] for event in events] == ["native", "native", "requesty", "native"]
    assert events[0]["data"] == {"rating": 1, "user_id": "ann", **odd}
    assert {event["outcome"] for event in events} == {"merged"}


async def test_what_did_not_count_changed_nothing(stages: Stages, reader: httpx.AsyncClient) -> None:
    """A repeat, a dead letter, and what the row has not come to."""
    await stages.store_event(0, number=1, data={"a": 1})
    await stages.store_event(1, number=1, data={"a": 1})
    await stages.store_event(2, data={"b": 1})
    await stages.store_letter(2)
    await stages.store_event(3, data={"c": 1})
    await stages.store_event(4, data={"d": 1})
    await stages.store_row(3)

    events = (await events_of(reader))["items"]

    assert [(event["outcome"], event["outcome_reason"]) for event in events] == [
        ("merged", ""),
        ("ignored", "repeat"),
        ("dead_lettered", "row_too_large"),
        ("merged", ""),
        ("pending", ""),
    ]
    assert [changed(event) for event in events] == [{"set": ["a"]}, {}, {}, {"set": ["c"]}, {}]


async def test_a_request_shows_each_rater_and_how_far_they_agree(
    stages: Stages, reader: httpx.AsyncClient
) -> None:
    """Newest first; of the whole history, with nulls and retracts obeyed."""
    before = (await reader.get("/v1/feedback/r1")).status_code
    await stages.store_event(0, data={"user_id": "cem", "rating": 1})
    await stages.store_event(1, op="retract")
    await stages.store_event(2, data={"user_id": "ann", "rating": 5, "comment": "Good"})
    await stages.store_event(
        3, data={"user_id": "bob", "rating": 2}, item_id="s-1", at="2026-11-21T08:00:00Z"
    )
    await stages.store_event(4, data={"user_id": "ann", "rating": 4, "comment": None})
    await stages.store_row(4)

    row = (await reader.get("/v1/feedback/r1")).json()

    assert before == 404
    shown = [(one["key"], one["rater"], one["value"], one["version"], one["at"]) for one in row["raters"]]
    assert shown == [
        ("rating", "ann", 4, str(stages.version(4)), None),
        ("rating", "bob", 2, str(stages.version(3)), "2026-11-21T08:00:00.000000Z"),
    ]
    assert row["agreement"] == [
        {"key": "rating", "raters": 2, "mean": 3, "min": 2, "max": 4, "disagreement": 0.5, "latest": 4}
    ]
    events = (await events_of(reader))["items"]
    assert [(one["item_id"], one["at"]) for one in events[2:4]] == [
        ("", None), ("s-1", "2026-11-21T08:00:00.000000Z"),
    ]  # fmt: skip


async def test_a_request_without_stored_events_has_no_raters(
    stages: Stages, reader: httpx.AsyncClient
) -> None:
    """Their retention may be over while the row is there."""
    await stages.store_row(0, data={"rating": 5})

    row = (await reader.get("/v1/feedback/r1")).json()

    assert (row["rating"], row["raters"], row["agreement"]) == (5, [], [])


async def test_a_replay_takes_its_place_in_the_history(stages: Stages, reader: httpx.AsyncClient) -> None:
    """It counts where its event stood first."""
    await stages.store_event(0, data={"a": 1})
    await stages.store_letter(0)
    await stages.store_event(1, data={"a": 2})
    await stages.store_event(0, data={"a": 1}, log_offset=stages.version(2))
    await stages.store_row(1)

    first, second = (await events_of(reader))["items"]

    assert (first["replayed"], first["outcome"], changed(first)) == (True, "merged", {"set": ["a"]})
    assert (second["replayed"], changed(second)) == (False, {"replaced": ["a"]})


@pytest.mark.parametrize("order", ["version", "-version"])
async def test_a_long_history_comes_in_pages(stages: Stages, reader: httpx.AsyncClient, order: str) -> None:
    """Each event once, in either order; and what it changed is told as if it were one page."""
    rows = [
        {
            "tenant": stages.tenant,
            "request_id": "r1",
            "version": number,
            "log_offset": number,
            "event_id": f"019a9f6e-0000-7000-8000-{number:012x}",
            "op": "merge",
            "source": "native",
            "received_at": "2026-11-22T08:00:00Z",
            "appended_at": "2026-11-22T08:00:00Z",
            "data": {"n": number},
        }
        for number in range(25)
    ]
    await insert(stages.clickhouse, FEEDBACK_EVENTS, rows)
    await stages.store_row(24)

    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await events_of(reader, order=order, limit=10, cursor=cursor)
        found += page["items"]
        cursor = page["next_cursor"]

    versions = [event["version"] for event in found]
    assert versions == [str(number) for number in (range(25) if order == "version" else reversed(range(25)))]
    first = versions.index("0")
    assert changed(found[first]) == {"set": ["n"]}
    assert all(changed(event) == {"replaced": ["n"]} for event in found if event["version"] != "0")


async def test_the_history_that_pages_take_is_the_same(
    stages: Stages, reader: httpx.AsyncClient, store: ClickHouseStore
) -> None:
    """Oldest first."""
    for offset in range(3):
        await stages.store_event(offset, data={"n": offset})
    await stages.store_row(2)

    assert await history(store, stages.tenant, "r1") == (await events_of(reader))["items"]


async def test_unknown_requests_are_reported_as_such(stages: Stages, reader: httpx.AsyncClient) -> None:
    """404 for a row and a history; nobody reads another tenant's; faults of the question are told."""
    await stages.store_row(0)
    await stages.store_event(0)
    await Stages(KafkaSettings(), stages.clickhouse, f"{stages.tenant}-other", "r2").store_row(0)

    for path in ("/v1/feedback/r2", "/v1/feedback/r2/events", "/v1/feedback/unknown/events"):
        answer = await reader.get(path)
        assert (answer.status_code, code_of(answer)) == (404, "unknown_request")
    assert (await reader.get("/v1/feedback/r1/other")).json()["code"] == "not_found"
    assert "UTF-8" in faults_of(await reader.get("/v1/feedback/a%FFb"))["request_id"]
    assert "control" in faults_of(await reader.get("/v1/feedback/a%00b"))["request_id"]
    assert "256" in faults_of(await reader.get(f"/v1/feedback/{'x' * 257}"))["request_id"]
    faults = faults_of(await reader.get("/v1/feedback/r1/events?order=x&limit=0&cursor=x&odrer=y"))
    assert faults.keys() == {"order", "limit", "cursor", "odrer"}


@pytest.mark.parametrize(
    "request_id", ["a/b", "..", ".", "%", "a%2Fb", "ünï 👍", "a?b#c+d e", "export", "x" * 256]
)
async def test_any_id_is_read_back(stages: Stages, reader: httpx.AsyncClient, request_id: str) -> None:
    """Percent-encoded in the path, each byte of it."""
    own = Stages(stages.kafka, stages.clickhouse, stages.tenant, request_id)
    await own.store_row(0)
    await own.store_event(0)
    path = "/v1/feedback/" + "".join(f"%{byte:02X}" for byte in request_id.encode())

    row, events = await reader.get(path), await reader.get(f"{path}/events")

    assert (row.status_code, row.json()["request_id"]) == (200, request_id)
    assert (events.status_code, events.json()["request_id"]) == (200, request_id)
