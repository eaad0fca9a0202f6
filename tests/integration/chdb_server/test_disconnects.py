"""Clients that disconnect, and queries whose client is gone."""

import asyncio
from urllib.parse import urlsplit

import pytest

from tests.support.clickhouse.raw_http import Face
from tests.support.eventually import eventually


@pytest.fixture
def server(ours: Face) -> Face:
    """Test the warehouse alone."""
    return ours


async def running(face: Face, word: str) -> int:
    """Count the running queries that hold a word."""
    query = (
        f"SELECT count() FROM system.processes WHERE query LIKE '%{word}%' AND query NOT LIKE '%processes%'"
    )
    return int(await face.value(query))


async def send(face: Face, sql: str) -> asyncio.StreamWriter:
    """Send a query over a connection of its own, and do not read."""
    url = urlsplit(face.settings.clickhouse_url)
    _, writer = await asyncio.open_connection(url.hostname, url.port)
    head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(sql)}\r\n\r\n"
    writer.write((head + sql).encode())
    return writer


async def leave(writer: asyncio.StreamWriter) -> None:
    """Close the connection."""
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("format_name", ["TSV", "JSON"])
async def test_a_query_ends_with_its_client(ours: Face, format_name: str) -> None:
    """Streamed or whole, before its first row."""
    word = f"lonely_{format_name}"
    query = f"SELECT count() AS {word} FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))"
    writer = await send(ours, f"{query} FORMAT {format_name}")
    await eventually(lambda: running(ours, word))
    await leave(writer)

    async def gone() -> bool:
        return not await running(ours, word)

    await eventually(gone)


async def test_a_streamed_query_ends_when_its_answer_is_not_read_on(ours: Face) -> None:
    """In the middle of its rows."""
    query = "SELECT number AS abandoned FROM numbers(100000000000) FORMAT JSONEachRow"
    async with ours.raw.stream("POST", "/", content=query) as answer:
        rows = answer.aiter_raw()
        assert await anext(rows)
        assert await running(ours, "abandoned") == 1

    async def gone() -> bool:
        return not await running(ours, "abandoned")

    await eventually(gone)


async def test_an_insert_continues_without_its_client(ours: Face, table: str) -> None:
    """Nobody can tell half of it from all of it, so it is all or nothing."""
    query = f"INSERT INTO {table} SELECT number, 'x' FROM numbers(20) WHERE sleepEachRow(0.05) = 0"
    writer = await send(ours, query + " SETTINGS max_block_size = 1")
    await eventually(lambda: running(ours, f"INSERT INTO {table}"))
    await leave(writer)

    async def complete() -> bool:
        return await ours.value(f"SELECT count() FROM {table}") == "20"

    await eventually(complete)


async def test_a_client_that_leaves_in_the_middle_of_its_body_inserts_nothing(ours: Face, table: str) -> None:
    """A half body is no body."""
    url = urlsplit(ours.settings.clickhouse_url)
    _, writer = await asyncio.open_connection(url.hostname, url.port)
    address = f"/?query=INSERT+INTO+{table}+FORMAT+TSV"
    head = f"POST {address} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
    writer.write(head.encode() + b"1\tx\n")
    await writer.drain()
    await leave(writer)

    assert await ours.value(f"SELECT count() FROM {table}") == "0"


async def test_the_same_query_id_twice_is_two_queries(ours: Face) -> None:
    """One client's leaving must not end the other's query."""
    slow = "SELECT sleepEachRow(0.1) AS twin FROM numbers(10) SETTINGS max_block_size = 1"
    url = urlsplit(ours.settings.clickhouse_url)
    _, writer = await asyncio.open_connection(url.hostname, url.port)
    head = f"POST /?query_id=twin HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(slow)}\r\n\r\n"
    writer.write((head + slow).encode())
    staying = asyncio.create_task(ours.ask(body=slow, query_id="twin", wait_end_of_query=1))
    await eventually(lambda: running(ours, "twin"))
    await leave(writer)

    assert (await staying).text == "0\n" * 10
