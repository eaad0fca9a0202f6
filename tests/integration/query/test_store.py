"""What the service asks of ClickHouse, and what it may cost."""

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest

from services.query.core.problems import ProblemCode, QueryProblem
from services.query.settings import QuerySettings
from services.query.store import ClickHouseStore
from services.runtime.clickhouse.client import connect
from services.runtime.clickhouse.core.statement import Statement
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import create_tables, insert, state_row
from tests.support.eventually import eventually
from tests.support.http.server import serving
from tests.support.query.app import client_of, code_of, query_over, query_settings
from tests.support.stack.local_servers import OwnWarehouse

SLEEP = f"SELECT sleepEachRow(1) AS slept FROM ({' UNION ALL '.join(['SELECT 1 AS one'] * 60)})"
"""Takes half a minute, a second a block."""


async def refusal(store: ClickHouseStore, sql: str) -> QueryProblem:
    """Return what a question is refused with."""
    with pytest.raises(QueryProblem) as caught:
        await store.rows(Statement(sql))
    return caught.value


async def sleeping(settings: ClickHouseSettings) -> int:
    """Return how many of the questions that sleep run in ClickHouse."""
    client = await connect(settings)
    try:
        answer = await client.query(
            "SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow%' "
            "AND query NOT LIKE '%system.processes%' AND NOT is_cancelled"
        )
        return int(answer.result_rows[0][0])
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("limit", "sql"),
    [
        ({"query_max_seconds": 0.5}, SLEEP),
        ({"query_max_seconds": 60, "query_max_rows_read": 10_000}, "SELECT count() FROM numbers_mt(1000000)"),
        (
            {"query_max_seconds": 60, "query_max_memory_bytes": 64 << 20},
            "SELECT length(groupArray(toString(number))) AS n FROM numbers(20000000)",
        ),
        ({"query_max_seconds": 60}, "SELECT repeat('x', 1000000) AS x, number FROM numbers(400)"),
    ],
    ids=["time", "rows", "memory", "answer"],
)
async def test_a_query_that_costs_too_much_is_the_callers_fault(
    query_tables: ClickHouseSettings, limit: dict[str, float], sql: str
) -> None:
    """Each limit is sent with each question, and holds; the store itself is well."""
    store = ClickHouseStore(query_settings(query_tables, **limit))
    try:
        problem = await refusal(store, sql)
        well = await store.rows(Statement("SELECT 1 AS one"))
    finally:
        await store.stop()

    assert problem.code is ProblemCode.TOO_EXPENSIVE
    assert any(word in problem.detail for word in ("narrow", "limit"))
    assert well == [{"one": 1}]
    assert store.problem is None


async def test_queries_are_read_only(query_tables: ClickHouseSettings, store: ClickHouseStore) -> None:
    """Nothing can be written, and no question can lift its own limits."""
    refused = [
        "INSERT INTO feedback_state (tenant, request_id, revision) VALUES ('t', 'x', 1)",
        "TRUNCATE TABLE feedback_state",
        "SELECT 1 AS one SETTINGS readonly = 0",
    ]
    for sql in refused:
        assert (await refusal(store, sql)).code is ProblemCode.INTERNAL_ERROR
    (limits,) = await store.rows(
        Statement(
            "SELECT getSetting('readonly') AS readonly, getSetting('max_execution_time') AS seconds, "
            "getSetting('max_memory_usage') AS memory, getSetting('max_rows_to_read') AS rows, "
            "getSetting('cancel_http_readonly_queries_on_client_close') AS cancelled"
        )
    )

    defaults = QuerySettings()
    assert limits == {
        "readonly": 1,
        "seconds": defaults.query_max_seconds,
        "memory": defaults.query_max_memory_bytes,
        "rows": defaults.query_max_rows_read,
        "cancelled": True,
    }


async def test_a_reader_who_leaves_ends_the_question(query_tables: ClickHouseSettings) -> None:
    """In ClickHouse too, and others are answered as before."""
    store = ClickHouseStore(query_settings(query_tables, query_max_seconds=60))
    try:
        asking = asyncio.create_task(store.rows(Statement(SLEEP)))
        await eventually(lambda: sleeping(query_tables))
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

        async def none_sleeps() -> bool:
            return await sleeping(query_tables) == 0

        await eventually(none_sleeps)
        assert await store.rows(Statement("SELECT 1 AS one")) == [{"one": 1}]
    finally:
        await store.stop()


async def test_a_busy_tenant_leaves_room_for_others(query_tables: ClickHouseSettings) -> None:
    """One that asks more than ClickHouse can answer waits for itself, until it is told to come back."""
    settings = query_settings(
        query_tables, query_max_concurrent=2, query_max_seconds=60, query_queue_seconds=0.5
    )
    store = ClickHouseStore(settings)
    asking = [asyncio.create_task(store.rows(Statement(SLEEP, {"tenant": "busy"}))) for _ in range(3)]
    try:
        await eventually(lambda: sleeping(query_tables))
        other = await store.rows(Statement("SELECT 1 AS one", {"tenant": "other"}))
        async with asyncio.timeout(10):
            done, _ = await asyncio.wait(asking[1:])
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await store.stop()

    assert other == [{"one": 1}]
    assert [getattr(task.exception(), "code", None) for task in done] == [ProblemCode.RATE_LIMITED] * 2


async def test_values_arrive_as_they_are(store: ClickHouseStore) -> None:
    """64-bit numbers as ints, times as RFC 3339 in UTC, doubles to the last digit, any text."""
    text = "tab\t nul\0 quote' back\\slash {x:String} 😀\u2028"
    (row,) = await store.rows(
        Statement(
            "SELECT 18446744073709551615 AS big, toDateTime64('2026-11-22 08:00:00.000001', 6, 'UTC') AS at,"
            " {x:Float64} AS double, {t:String} AS text, NULL AS nothing, {l:Array(String)} AS list",
            {"x": 0.1 + 0.2, "t": text, "l": [text, "b"]},
        )
    )

    assert row == {
        "big": 2**64 - 1,
        "at": "2026-11-22T08:00:00.000001Z",
        "double": 0.1 + 0.2,
        "text": text,
        "nothing": None,
        "list": [text, "b"],
    }


async def test_clickhouse_may_go_and_come_back(own_warehouse: OwnWarehouse, tmp_path: Path) -> None:
    """503 while it is away, hangs or has no tables; the answer as soon as it is there again."""
    app = query_over(own_warehouse.settings, tmp_path, query_max_seconds=2)
    async with client_of(app) as client:

        async def answers(status: int) -> httpx.Response:
            answer = await client.get("/v1/feedback")
            assert answer.status_code == status, answer.text
            return answer

        missing = await eventually(lambda: answers(503), within=60)
        await _migrated(own_warehouse)
        found = await eventually(lambda: answers(200), within=60)
        assert own_warehouse.child is not None
        os.kill(own_warehouse.child.pid, signal.SIGSTOP)
        hung = await eventually(lambda: answers(503), within=60)
        await own_warehouse.kill()
        away = await eventually(lambda: answers(503), within=60)
        await own_warehouse.start()
        again = await eventually(lambda: answers(200), within=60)

    assert "afterword migrate" in missing.json()["detail"]
    assert {code_of(one) for one in (missing, hung, away)} == {"store_unavailable"}
    assert found.json() == again.json()
    assert [item["request_id"] for item in found.json()["items"]] == ["r"]


async def _migrated(server: OwnWarehouse) -> None:
    client = await connect(server.settings, database="default")
    try:
        await client.command(f"CREATE DATABASE {server.settings.clickhouse_database}")
    finally:
        await client.close()
    await create_tables(server.settings)
    await insert(server.settings, "feedback_state", [state_row("r")])


async def test_a_client_that_leaves_ends_its_question(
    query_tables: ClickHouseSettings, tmp_path: Path
) -> None:
    """Over a real connection: nobody waits for the answer, so ClickHouse stops working on it."""
    app = query_over(query_tables, tmp_path, query_max_seconds=60)

    @app.get("/slow")
    async def slow() -> list[dict[str, object]]:
        return list(await app.state.service.store.rows(Statement(SLEEP)))

    async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        asking = asyncio.create_task(client.get("/slow", timeout=60))
        await eventually(lambda: sleeping(query_tables))
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

        async def none_sleeps() -> bool:
            return await sleeping(query_tables) == 0

        await eventually(none_sleeps)
        assert (await client.get("/v1/feedback")).status_code == 200
