"""An insert that is refused says so: its rows would otherwise be lost with a success.

The engine's streaming insert stays silent about every one of these.
"""

import pytest

from tests.support.faces import Face, code_of

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
