"""kill -9 in the middle of inserts: what was acknowledged is there, and nothing is there in part."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import httpx
import pytest

from tests.support.clickhouse.raw_http import Face, face
from tests.support.stack.local_servers import OwnWarehouse

ROUNDS, WRITERS, ROWS = 3, 3, 2_000
# The shape of the table of latest states: projections and text indexes are files of a part, too.
CREATE = """CREATE TABLE default.batches (
    id String, batch UInt64, data String, at DateTime64(6) DEFAULT now64(6),
    rating UInt8 MATERIALIZED JSONExtractUInt(data, 'rating'),
    PROJECTION newest (SELECT batch, at, id ORDER BY at),
    INDEX words data TYPE text(tokenizer = 'splitByNonAlpha'))
    ENGINE = ReplacingMergeTree(batch) ORDER BY (batch, id)
    SETTINGS index_granularity = 1024, deduplicate_merge_projection_mode = 'rebuild'"""

INSERT = "INSERT INTO default.batches FORMAT JSONEachRow"
COUNTS = "SELECT batch, count() FROM default.batches GROUP BY batch FORMAT TSV"


@pytest.fixture
async def victim(tmp_path: Path) -> AsyncIterator[OwnWarehouse]:
    """Run a warehouse that the test kills."""
    server = OwnWarehouse(tmp_path)
    await server.start()
    yield server
    await server.kill()


async def test_nothing_acknowledged_is_lost_and_nothing_is_partial(victim: OwnWarehouse) -> None:
    """The batches in flight may be there or not; the sink writes those again."""
    acknowledged: set[int] = set()
    numbers = count()
    async with face(victim.settings) as warehouse:
        await warehouse.value(CREATE)
        for done in range(1, ROUNDS + 1):
            enough = asyncio.Event()
            writers = [
                asyncio.create_task(_write(warehouse, numbers, acknowledged, enough)) for _ in range(WRITERS)
            ]
            # A writer only ends by itself when an insert was refused, which is a failure of its own.
            await asyncio.wait([asyncio.create_task(enough.wait()), *writers], return_when="FIRST_COMPLETED")
            await victim.kill()
            await asyncio.gather(*writers)
            await victim.start()
            found = await _counts(warehouse)
            assert set(found.values()) == {ROWS}
            assert acknowledged <= found.keys()
            assert len(acknowledged) >= done * WRITERS
            assert len(found) <= next(numbers)


async def _write(
    warehouse: Face, numbers: Iterator[int], acknowledged: set[int], enough: asyncio.Event
) -> None:
    """Insert batches until the warehouse dies; `enough` is set when this writer had some acknowledged."""
    for mine in range(1_000):
        batch = next(numbers)
        lines = b"".join(
            b'{"id":"%d","batch":%d,"data":"{\\"rating\\":5}"}\n' % (row, batch) for row in range(ROWS)
        )
        try:
            answer = await warehouse.ask(INSERT, lines, async_insert=0)
        except httpx.HTTPError:
            return
        assert answer.status_code == 200, answer.text
        acknowledged.add(batch)
        if mine == 3:
            enough.set()


async def _counts(warehouse: Face) -> dict[int, int]:
    answer = await warehouse.ask(COUNTS)
    rows = [line.split("\t") for line in answer.text.splitlines()]
    return {int(batch): int(found) for batch, found in rows}
