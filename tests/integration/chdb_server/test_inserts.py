"""Inserts are whole, to the byte, and say so when they are refused.

The engine's streaming insert would report success for every refusal here.
"""

import pytest

from tests.support.clickhouse.raw_http import Face, code_of

ROWS = b"\n".join(b'{"id":%d,"text":"%s"}' % (number, b"x" * 100) for number in range(1, 20_001))


@pytest.mark.parametrize("suffix", ["", " SETTINGS async_insert = 0"])
async def test_a_violated_constraint_is_an_error_and_stores_nothing(
    server: Face, table: str, suffix: str
) -> None:
    """The constraint is checked after the rows were parsed."""
    await server.value(f"ALTER TABLE {table} ADD CONSTRAINT positive CHECK id > 0")

    answer = await server.ask(
        f"INSERT INTO {table}{suffix} FORMAT JSONEachRow", b'{"id":1}\n{"id":0}\n{"id":2}', async_insert=0
    )

    assert code_of(answer) == 469
    assert await server.value(f"SELECT count() FROM {table}") == "0"


async def test_a_memory_limit_is_an_error_and_stores_nothing(server: Face, table: str) -> None:
    """Memory runs out while the block is built."""
    answer = await server.ask(
        f"INSERT INTO {table} (id, text) FORMAT JSONEachRow", ROWS, max_memory_usage=1_000_000, async_insert=0
    )

    assert code_of(answer) == 241
    assert await server.value(f"SELECT count() FROM {table}") == "0"


async def test_too_many_parts_is_an_error(server: Face, database: str) -> None:
    """A table that cannot take another part says so each time."""
    table = f"{database}.full"
    await server.value(
        f"CREATE TABLE {table} (id UInt64) ENGINE = MergeTree ORDER BY id SETTINGS parts_to_throw_insert = 1"
    )
    insert = f"INSERT INTO {table} FORMAT JSONEachRow"
    assert (await server.ask(insert, b'{"id":1}', async_insert=0)).status_code == 200

    answer = await server.ask(insert, b'{"id":2}', async_insert=0)

    assert code_of(answer) == 252
    assert await server.value(f"SELECT count() FROM {table}") == "1"


@pytest.mark.parametrize("suffix", ["", " SETTINGS async_insert = 0", " -- a comment\n"])
async def test_data_is_taken_to_the_byte_whatever_it_holds(server: Face, table: str, suffix: str) -> None:
    """It begins with blank lines, and holds semicolons, quotes, statements and bytes that are no text."""
    lines = [
        b"",
        b"",
        b";",
        b"'",
        b'"',
        b"--",
        b"; DROP TABLE t;",
        b"\\",
        b"\xff\x00",
        b"INSERT INTO t FORMAT CSV",
    ]
    binary = b"".join(bytes([len(line)]) + line for line in lines)
    statement = f"INSERT INTO {table} (text){suffix}"
    for name, data in (("LineAsString", b"\n".join(lines)), ("RowBinary", binary)):
        answer = await server.ask(f"{statement} FORMAT {name}", data)
        assert answer.status_code == 200, answer.text
    query = f"SELECT groupArray(hex(text)) FROM {table} FORMAT JSONCompactEachRow"
    found = (await server.ask(body=query)).json()[0]
    assert sorted(found) == sorted(line.hex().upper() for line in lines * 2)


async def test_native_data_may_begin_with_a_newline(server: Face, database: str) -> None:
    """Which is how a block of ten columns begins."""
    names = [f"c{number}" for number in range(10)]
    columns = ", ".join(f"{name} UInt8" for name in names)
    await server.value(f"CREATE TABLE {database}.ten ({columns}) ENGINE = MergeTree ORDER BY c0")
    client = await server.async_client(database=database)
    await client.insert("ten", [list(range(10))], column_names=names)
    assert (await client.query("SELECT * FROM ten")).result_rows == [tuple(range(10))]
    await client.close()


async def test_an_insert_becomes_one_part(server: Face, table: str) -> None:
    """Which is what makes it atomic."""
    rows = b"".join(b'{"id":%d,"text":"%s"}\n' % (number, b"x" * 20) for number in range(60_000))
    answer = await server.ask(f"INSERT INTO {table} FORMAT JSONEachRow", rows, async_insert=0)
    assert answer.status_code == 200, answer.text
    database = table.partition(".")[0]
    parts = f"SELECT count(), sum(rows) FROM system.parts WHERE active AND database = '{database}'"
    assert await server.value(parts) == "1\t60000"
