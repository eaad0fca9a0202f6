"""clickhouse-connect, synchronous and asynchronous, works as against a server."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet
import pytest
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from clickhouse_connect.driver.httpclient import HttpClient

from tests.support.clickhouse.content_encodings import PACK
from tests.support.clickhouse.raw_http import Face

CREATE = """CREATE TABLE t (id String, version UInt64, data JSON, tags Array(LowCardinality(String)),
    at DateTime64(6, 'UTC')) ENGINE = ReplacingMergeTree(version) ORDER BY id"""
COLUMNS = ["id", "version", "data", "tags", "at"]
AT = datetime(2026, 11, 22, 8, 0, 0, 123456, tzinfo=UTC)
ROWS: list[list[Any]] = [[f"r{n}", n, {"rating": n % 5}, ["x", "y"], AT] for n in range(1000)]
LINES = b"".join(
    json.dumps(
        {"id": f"r{n}", "version": n, "data": {"rating": 1}, "tags": ["é"], "at": AT.isoformat()}
    ).encode()
    + b"\n"
    for n in range(2000)
)
ODD = "tab\t quote' back\\slash \n é \U0001f600 {x:String} %s"
FAILING = "SELECT throwIf(number = 900000), number FROM numbers(1000000) SETTINGS max_block_size = 10000"


@pytest.fixture
def sync(server: Face, database: str) -> Iterator[HttpClient]:
    """Connect synchronously to this test's own database, with its table t."""
    client = server.sync_client(database=database)
    client.command(CREATE)
    yield client
    client.close()


@pytest.fixture
async def client(server: Face, database: str) -> AsyncIterator[AsyncClient]:
    """Connect asynchronously to this test's own database, with its table t."""
    client = await server.async_client(database=database)
    await client.command(CREATE)
    yield client
    await client.close()


@pytest.mark.parametrize("compress", ["lz4", "zstd", "gzip", ""])
def test_native_rows_go_in_and_come_out(server: Face, database: str, sync: HttpClient, compress: str) -> None:
    """In every compression that the client knows, types and times included."""
    client = server.sync_client(database=database, compress=compress or False)
    assert client.insert("t", ROWS, column_names=COLUMNS).written_rows == 1000
    found = client.query("SELECT id, version, data, tags, at FROM t ORDER BY version").result_rows
    client.close()

    assert [tuple(row) for row in ROWS] == [(*row[:4], row[4].astimezone(UTC)) for row in found]


@pytest.mark.parametrize("compression", [None, "gzip", "lz4", "zstd"])
def test_lines_go_in_raw(sync: HttpClient, compression: str | None) -> None:
    """As the sink sends them."""
    body = PACK[compression](LINES) if compression else LINES
    done = sync.raw_insert(
        "t", None, body, settings={"async_insert": "0"}, fmt="JSONEachRow", compression=compression
    )

    assert done.written_rows == 2000
    assert sync.command("SELECT uniqExact(id) FROM t") == 2000


def test_lines_go_in_from_a_generator(sync: HttpClient) -> None:
    """In chunks, without a length."""
    done = sync.raw_insert(
        "t", ["id", "version"], (line for line in [b'{"id":"g","version":3}\n'] * 10), fmt="JSONEachRow"
    )

    assert done.written_rows == 10


def test_parameters_are_bound(sync: HttpClient) -> None:
    """Whatever they hold, and however large they are."""
    assert sync.query("SELECT {x:String}", parameters={"x": ODD}).result_rows == [(ODD,)]
    array = sync.query("SELECT {x:Array(String)}", parameters={"x": ["a'b", "c\\d"]})
    assert array.result_rows == [(["a'b", "c\\d"],)]
    large = sync.query("SELECT length({x:String})", parameters={"x": "é" * 20_000})
    assert large.result_rows == [(40_000,)]


def test_results_come_as_frames_tables_and_streams(sync: HttpClient) -> None:
    """The formats that the client asks for by itself."""
    sync.insert("t", ROWS, column_names=COLUMNS)

    assert list(sync.query_df("SELECT id, version FROM t").columns) == ["id", "version"]
    assert sync.query_arrow("SELECT id, version FROM t").num_rows == 1000
    with sync.query_row_block_stream("SELECT number FROM numbers(300000)") as parts:
        assert sum(len(part) for part in parts) == 300_000
    with sync.raw_stream("SELECT number, 'x,y' FROM numbers(200000)", fmt="CSVWithNames") as out:
        assert out.read().count(b"\n") == 200_001
    with sync.raw_stream("SELECT number FROM numbers(200000)", fmt="Parquet") as out:
        assert pyarrow.parquet.read_table(io.BytesIO(out.read())).num_rows == 200_000


@pytest.mark.parametrize("query", ["SELECT id, version FROM t", "SELECT id, version FROM t LIMIT 0"])
def test_no_rows_still_have_columns(sync: HttpClient, query: str) -> None:
    """With their types."""
    result = sync.query(query)

    assert result.column_names == ("id", "version")
    assert [kind.name for kind in result.column_types] == ["String", "UInt64"]


def test_commands_return_values_or_summaries(sync: HttpClient) -> None:
    """A value for a SELECT; for DDL nothing that could be mistaken for one."""
    assert sync.command("SELECT 5") == 5
    assert not isinstance(sync.command("OPTIMIZE TABLE t FINAL"), int | str)
    assert sync.ping()


def test_errors_have_their_code(sync: HttpClient) -> None:
    """For queries, commands and inserts."""
    for code, call in (
        (60, lambda: sync.query("SELECT * FROM nowhere")),
        (62, lambda: sync.command("SELEC 1")),
        (27, lambda: sync.raw_insert("t", None, b'{"version":"x"}', fmt="JSONEachRow")),
    ):
        with pytest.raises(DatabaseError) as caught:
            call()
        assert code == caught.value.code


def test_clients_that_make_up_a_session_do_not_share_it(server: Face) -> None:
    """The synchronous client's default."""
    with (
        server.sync_client(autogenerate_session_id=True) as first,
        server.sync_client(session_id="mine") as second,
    ):
        first.command("CREATE TEMPORARY TABLE mine (a UInt8)")
        first.command("INSERT INTO mine VALUES (1)")
        assert first.command("SELECT count() FROM mine") == 1
        with pytest.raises(DatabaseError):
            second.command("SELECT count() FROM mine")


@pytest.mark.filterwarnings("ignore")
def test_a_failure_in_the_middle_reaches_the_synchronous_client(sync: HttpClient) -> None:
    """With its code, after rows have come."""
    with (
        pytest.raises(StreamFailureError, match="Code: 395"),
        sync.query_row_block_stream(FAILING) as parts,
    ):
        assert sum(len(part) for part in parts)


async def test_a_failure_in_the_middle_reaches_the_asynchronous_client(client: AsyncClient) -> None:
    """After rows have come; a client that is late sees the connection's end before it has read the code."""
    with pytest.raises(StreamFailureError, match=r"Code: 395|connection closed by server"):
        async with await client.query_row_block_stream(FAILING) as parts:
            assert sum([len(part) async for part in parts])


async def test_one_asynchronous_client_does_many_things_at_once(client: AsyncClient) -> None:
    """Inserts, then queries: no session stands in the way."""
    inserts = [client.raw_insert("t", None, LINES, fmt="JSONEachRow") for _ in range(4)]
    assert [done.written_rows for done in await asyncio.gather(*inserts)] == [2000] * 4
    counts = await asyncio.gather(*[client.query("SELECT count() FROM t FINAL") for _ in range(8)])
    assert {((2000,),)} == {tuple(count.result_rows) for count in counts}


async def test_native_rows_go_in_and_come_out_asynchronously(client: AsyncClient) -> None:
    """The same formats over the other client."""
    assert (await client.insert("t", ROWS, column_names=COLUMNS)).written_rows == 1000
    assert len(await client.query_df("SELECT id FROM t LIMIT 7")) == 7
    assert (await client.query("SELECT id FROM t WHERE 0")).column_names == ("id",)
    assert (
        await client.raw_query("SELECT id FROM t WHERE version = {v:UInt8}", parameters={"v": 1}, fmt="TSV")
        == b"r1\n"
    )
    with pytest.raises(DatabaseError) as caught:
        await client.query("SELECT * FROM nowhere")
    assert caught.value.code == 60
