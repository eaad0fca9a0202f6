"""Readers beside a writer: none waits for ever, and none fails."""

import asyncio

from clickhouse_connect.driver.asyncclient import AsyncClient

from tests.support.clickhouse.raw_http import Face

READERS, BATCHES, ROWS = 6, 5, 20_000


async def test_readers_beside_a_writer_see_whole_batches_and_never_fail(ours: Face) -> None:
    """Each batch is one insert, so every count is a multiple of its rows; counts never fall."""
    await ours.value(
        "CREATE OR REPLACE TABLE system_beside (id UInt64, text String) ENGINE = MergeTree ORDER BY id"
    )
    client = await ours.async_client(connector_limit=READERS + 1)
    done = asyncio.Event()
    try:
        readers = [asyncio.create_task(_read(client, done)) for _ in range(READERS)]
        for batch in range(BATCHES):
            lines = b"".join(b'{"id":%d,"text":"x"}\n' % (batch * ROWS + row) for row in range(ROWS))
            await client.raw_insert("system_beside", None, lines, fmt="JSONEachRow")
        done.set()
        counts = await asyncio.gather(*readers)
    finally:
        await client.close()
        await ours.value("DROP TABLE system_beside")

    for seen in counts:
        assert sorted(seen) == seen
        assert {count % ROWS for count in seen} == {0}
        assert seen[-1] == BATCHES * ROWS


async def _read(client: AsyncClient, done: asyncio.Event) -> list[int]:
    seen: list[int] = []
    while True:
        last = done.is_set()
        result = await client.query("SELECT count(), uniq(id) FROM system_beside")
        seen.append(result.result_rows[0][0])
        if last:
            return seen
