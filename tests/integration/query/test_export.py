"""`GET /v1/feedback/export` over a real engine."""

import asyncio
import json
import zlib
from pathlib import Path
from typing import Any

import httpx
import pytest
from backports import zstd

from services.query.exports.core.text_files import original
from services.runtime.http.keys import Scope
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import create_tables, insert, rows, run, state_row
from tests.support.http.server import serving
from tests.support.query.app import client_of, code_of, faults_of, query_over, reading_key
from tests.support.query.exports import (
    HOSTILE,
    fill,
    hostile_rows,
    parquet_ending,
    read_csv,
    read_ndjson,
    read_parquet,
)
from tests.support.stack.local_servers import OwnWarehouse

EXPORT = "/v1/feedback/export"
FORMATS = ("csv", "ndjson", "parquet")


@pytest.fixture
async def hostile(clickhouse_settings: ClickHouseSettings) -> ClickHouseSettings:
    """A ClickHouse with hostile rows, one of them changed since, another erased."""
    await create_tables(clickhouse_settings)
    stored = hostile_rows()
    await insert(clickhouse_settings, "feedback_state", stored)
    changed = [
        stored[0] | {"revision": 100, "data": {"comment": "changed"}},
        stored[1] | {"revision": 101, "is_deleted": 1},
    ]
    await insert(clickhouse_settings, "feedback_state", changed)
    return clickhouse_settings


async def listed(client: httpx.AsyncClient, **parameters: Any) -> list[dict[str, Any]]:
    """Return what a list has, in the order of an export."""
    answer = await client.get("/v1/feedback", params={"order": "request_id", "limit": 1000, **parameters})
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_every_format_has_what_lists_have(hostile: ClickHouseSettings, tmp_path: Path) -> None:
    """Whatever the texts are, value by value, and as many as SQL counts."""
    async with client_of(query_over(hostile, tmp_path)) as client:
        expected = await listed(client)
        files = {name: await client.get(EXPORT, params={"format": name}) for name in FORMATS}

    assert await rows(hostile, "SELECT count() FROM feedback") == [(len(expected),)]
    assert {name: file.headers["afterword-rows"] for name, file in files.items()} == dict.fromkeys(
        FORMATS, str(len(HOSTILE) - 1)
    )
    assert read_ndjson(files["ndjson"].content) == expected
    assert read_parquet(files["parquet"].content) == expected
    cells = read_csv(files["csv"].content)
    for name in ("request_id", "comment", "model"):
        assert [original(row[name]) for row in cells] == [row[name] for row in expected]
    for name in ("data", "request", "tags", "sources"):
        assert [json.loads(row[name]) for row in cells] == [row[name] for row in expected]
    for name in ("rating", "latency_ms"):
        assert [row[name] and float(row[name]) for row in cells] == [
            "" if row[name] is None else row[name] for row in expected
        ]
    assert [row["version"] for row in cells] == [row["version"] for row in expected]


async def test_head_describes_a_file_without_making_it(hostile: ClickHouseSettings, tmp_path: Path) -> None:
    """Its type, name and rows, as GET does; over a real connection, which continues."""
    app, one = query_over(hostile, tmp_path), httpx.Limits(max_connections=1)
    async with serving(app) as url, httpx.AsyncClient(base_url=url, limits=one, timeout=60) as client:
        for name in FORMATS:
            got = await client.get(EXPORT, params={"format": name})
            head = await client.head(f"{EXPORT}/", params={"format": name})
            assert (head.status_code, head.content) == (200, b"")
            for header in ("content-type", "afterword-rows"):
                assert head.headers[header] == got.headers[header]
            assert head.headers["content-disposition"].startswith("attachment")


async def test_csv_has_no_formula_and_negative_numbers(hostile: ClickHouseSettings, tmp_path: Path) -> None:
    """A text that looks like a formula begins with an apostrophe; a number does not."""
    async with client_of(query_over(hostile, tmp_path)) as client:
        file = await client.get(EXPORT, params={"format": "csv"})

    cells = {row["request_id"]: row for row in read_csv(file.content)}
    assert cells["r02-1"]["model"] == "'-1"
    assert cells["r02-1"]["latency_ms"] == "-1"
    assert cells["r03'quoted"]["model"] == "''quoted"


@pytest.mark.parametrize("format_", FORMATS)
async def test_filters_and_tenants_bound_every_file(
    format_: str, clickhouse_settings: ClickHouseSettings, tmp_path: Path
) -> None:
    """Only rows of the key's tenant, and of those only what the filters let through; in the order of ids."""
    await create_tables(clickhouse_settings)
    stored = [
        state_row(
            f"r{n}",
            n + 10 * (tenant == "b"),
            tenant=tenant,
            data={"rating": n, "judge": tenant, "tags": ["t"]},
        )
        for tenant in ("a", "b")
        for n in (5, 3, 1, 2, 4)
    ]
    await insert(clickhouse_settings, "feedback_state", stored)
    key = reading_key(tmp_path, Scope.READ, tenant="a")
    asked = {"format": format_, "rating_max": "3", "data.judge": "eq:a", "tag": "t"}
    async with client_of(query_over(clickhouse_settings, tmp_path), key) as client:
        file = await client.get(EXPORT, params=asked)
        empty = await client.get(EXPORT, params=asked | {"data.judge": "eq:b"})

    read = {"csv": read_csv, "ndjson": read_ndjson, "parquet": read_parquet}[format_]
    assert [row["request_id"] for row in read(file.content)] == ["r1", "r2", "r3"]
    assert {str(row["data"]) for row in read(file.content)}.isdisjoint({"b"})
    assert read(empty.content) == []
    assert empty.headers["afterword-rows"] == "0"


async def test_an_export_continues_behind_any_row(hostile: ClickHouseSettings, tmp_path: Path) -> None:
    """The id of the last row is the cursor, whatever is in it; pieces of any length make up the whole."""
    async with client_of(query_over(hostile, tmp_path)) as client:
        whole = await client.get(EXPORT)
        found, cursor, endings = b"", "", list[dict[str, Any]]()
        while not endings or not endings[-1]["complete"]:
            answer = await client.get(EXPORT, params={"cursor": cursor, "limit": 5, "trailer": "true"})
            *lines, last = answer.content.splitlines(keepends=True)
            endings.append(json.loads(last)["trailer"])
            assert answer.headers["afterword-rows"] == str(len(lines))
            found, cursor = found + b"".join(lines), endings[-1]["next_cursor"]

    assert found == whole.content
    assert [(ending["rows"], ending["complete"]) for ending in endings] == [
        (5, False),
        (5, False),
        (5, False),
        (1, True),
    ]


async def test_a_limit_that_takes_in_everything_leaves_no_cursor(
    hostile: ClickHouseSettings, tmp_path: Path
) -> None:
    """Parquet says so in its footer."""
    async with client_of(query_over(hostile, tmp_path)) as client:
        files = [
            (await client.get(EXPORT, params={"format": "parquet", "limit": limit})).content
            for limit in (15, 16, 17)
        ]

    last = read_parquet(files[0])[-1]["request_id"]
    assert [parquet_ending(file) for file in files] == [
        {"rows": 15, "next_cursor": last, "complete": False},
        {"rows": 16, "next_cursor": None, "complete": True},
        {"rows": 16, "next_cursor": None, "complete": True},
    ]


async def test_a_browser_saves_it_as_a_file(hostile: ClickHouseSettings, tmp_path: Path) -> None:
    """Under a name with the time and the suffix, never from a cache; the session's cookie is enough."""
    key = reading_key(tmp_path)
    app = query_over(hostile, tmp_path)
    async with client_of(app) as client:
        client.cookies.set("afterword_session", app.state.service.access.sign_in(key))
        file = await client.get(EXPORT, params={"format": "csv", "bom": "true"})

    assert file.status_code == 200
    name = file.headers["content-disposition"]
    assert name.startswith('attachment; filename="feedback-20')
    assert name.endswith('Z.csv"')
    assert file.headers["cache-control"] == "no-store"
    assert file.headers["x-content-type-options"] == "nosniff"
    assert file.content.startswith(b"\xef\xbb\xbfrequest_id,version,")


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_text_is_compressed_for_who_accepts_it(
    encoding: str, hostile: ClickHouseSettings, tmp_path: Path
) -> None:
    """As one stream; Parquet is compressed by itself and stays as it is."""
    async with client_of(query_over(hostile, tmp_path)) as client:
        plain = await client.get(EXPORT, params={"format": "csv"}, headers={"accept-encoding": "identity"})
        asked = {"accept-encoding": f"br, {encoding};q=0.5"}
        async with client.stream("GET", EXPORT, params={"format": "csv"}, headers=asked) as answer:
            raw = b"".join([piece async for piece in answer.aiter_raw()])
        parquet = await client.get(EXPORT, params={"format": "parquet"}, headers=asked)

    assert answer.headers["content-encoding"] == encoding
    decoded = zstd.decompress(raw) if encoding == "zstd" else zlib.decompress(raw, 31)
    assert decoded == plain.content
    assert "content-encoding" not in plain.headers
    assert "content-encoding" not in parquet.headers


async def test_what_makes_no_sense_is_refused(
    clickhouse_settings: ClickHouseSettings, tmp_path: Path
) -> None:
    """With what to do instead, before anything is asked of ClickHouse."""
    refused = {
        "format=xlsx": {"format": "'xlsx' is none of csv, ndjson, parquet"},
        "format=cvs": {"format": "'cvs' is none of csv, ndjson, parquet; did you mean csv?"},
        "format=parquet&trailer=true": {"trailer": "parquet files do not have it"},
        "bom=true": {"bom": "ndjson files do not have it"},
        "limit=0": {"limit": "a whole number from 1 to 1000000000000"},
        "cursor=" + "x" * 257: {"cursor": "the request id of the last row that you have"},
        "formatx=csv": {"formatx": "there is no such parameter; did you mean format?"},
        "rating_min=x": {"rating_min": "'x' is not a number"},
    }
    async with client_of(query_over(clickhouse_settings, tmp_path)) as client:
        answers = {question: await client.get(f"{EXPORT}?{question}") for question in refused}

    assert {question: faults_of(answer) for question, answer in answers.items()} == refused


async def test_a_store_that_is_not_ready_is_a_problem(
    clickhouse_settings: ClickHouseSettings, tmp_path: Path
) -> None:
    """A failure before the first row has a status, as everywhere."""
    async with client_of(query_over(clickhouse_settings, tmp_path)) as client:
        assert code_of(await client.get(EXPORT)) == "store_unavailable"


MANY = 40_000


async def test_a_transfer_breaks_where_the_store_fails(own_warehouse: OwnWarehouse, tmp_path: Path) -> None:
    """A partial file is recognised as such, and it continues from its last row once the store is back."""
    await run(own_warehouse.settings.replace(clickhouse_database="default"), "CREATE DATABASE afterword")
    await create_tables(own_warehouse.settings)
    await fill(own_warehouse.settings, MANY)
    query = query_over(own_warehouse.settings, tmp_path, query_max_exports=4)
    async with serving(query) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        began = [asyncio.Event() for _ in FORMATS]
        readings = [
            asyncio.create_task(read_on(client, name, one)) for name, one in zip(FORMATS, began, strict=True)
        ]
        await asyncio.gather(*(one.wait() for one in began))
        await own_warehouse.kill()
        found = dict(zip(FORMATS, await asyncio.gather(*readings), strict=True))
        assert code_of(await client.get(EXPORT)) == "store_unavailable"
        await own_warehouse.start()
        whole = found["ndjson"][: found["ndjson"].rindex(b"\n") + 1]
        cursor = read_ndjson(whole)[-1]["request_id"]
        rest = await client.get(EXPORT, params={"cursor": cursor})

    ids = [line["request_id"] for line in read_ndjson(whole + rest.content)]
    assert ids == [f"r{number:07}" for number in range(MANY)]


async def read_on(client: httpx.AsyncClient, format_: str, began: asyncio.Event) -> bytes:
    """Return what came of an export that breaks off; AssertionError if it ends."""
    found = b""
    async with client.stream("GET", EXPORT, params={"format": format_}) as answer:
        assert answer.headers["afterword-rows"] == str(MANY)
        began.set()
        try:
            async for piece in answer.aiter_bytes():
                # Slower than it is sent, so that most of it is still to come.
                await asyncio.sleep(0)
                found += piece
        except httpx.RemoteProtocolError:
            return found
    raise AssertionError(f"{format_} ended as if it were whole, with {len(found)} bytes")
