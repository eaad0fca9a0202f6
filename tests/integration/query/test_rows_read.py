"""Each question reads a small part of 200,000 requests: the rows read are counted, not the seconds.

The limits are about half as much again as is read.  A question that stops using its index reads every row
of the tenant, 89,000 with old versions and the rest of each granule, or those of all tenants, and fails.
"""

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from services.runtime.clickhouse.client import connect
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import create_tables
from tests.support.clickhouse.volume import LARGEST, SMALL, fill
from tests.support.query.app import query_settings
from tests.support.query.read_costs import QUESTIONS, CountingStore, Example

ROWS = 200_000
BATCH = 50_000

WHOLE_TENANT = 100_000
"""More than the rows of the largest tenant, less than those of all."""
WHOLE_SMALL_TENANT = 40_000


@pytest.fixture(scope="module")
async def counting(
    warehouse: ClickHouseSettings, generations: Iterator[int]
) -> AsyncIterator[tuple[CountingStore, Example, Example]]:
    """Yield a store over many rows in several parts, and examples of a large and of a small tenant."""
    settings = warehouse.replace(clickhouse_database=f"volume_{os.getpid()}_{next(generations)}")
    admin = await connect(settings, database="default")
    await admin.command(f"CREATE DATABASE {settings.clickhouse_database}")
    await create_tables(settings)
    client = await connect(settings, timeout_seconds=300)
    await client.command("SYSTEM STOP MERGES feedback_state")
    await fill(client, ROWS, BATCH)
    store = CountingStore(query_settings(settings, query_max_seconds=60), client)
    found = await client.query("SELECT tenant, max(request_id) FROM feedback GROUP BY tenant")
    ids = {row[0]: row[1] for row in found.result_rows}
    examples = [Example(tenant, ids[tenant]) for tenant in (LARGEST, SMALL)]
    yield store, examples[0], examples[1]
    await store.stop()
    await client.close()
    await admin.command(f"DROP DATABASE {settings.clickhouse_database}")
    await admin.close()


PLACES = {
    "log page": 15_000,
    "second page": 15_000,
    "rating and tag": 65_000,
    "thumbs down": 35_000,
    "model and sentiment": 40_000,
    "with a comment": 22_000,
    "without feedback": 22_000,
    "one user": 5_000,
    "one session": 5_000,
    "rare word": 10_000,
    "an hour in the past": 12_000,
}
"""What finding the places of a page may read."""

WHOLE = {
    "one request": 12_000,
    "its history": 20_000,
    "its raters": 12_000,
    "days by model": WHOLE_TENANT,
    "days by model, all": WHOLE_TENANT,
    "tags": WHOLE_TENANT,
    "a rare tag by model": 70_000,
}
"""What the whole question may read."""


@pytest.mark.parametrize("name", PLACES)
async def test_a_page_is_found_by_an_index(
    counting: tuple[CountingStore, Example, Example], name: str
) -> None:
    """However many rows the tenant has, the first step to a page reads those around it."""
    store, large, _ = counting
    store.costs.clear()

    await QUESTIONS[name](store, large)

    places = [cost.rows for cost in store.costs if "FINAL" not in cost.sql]
    assert places
    assert max(places) <= PLACES[name]


@pytest.mark.parametrize("name", WHOLE)
async def test_a_question_reads_no_more_than_it_needs(
    counting: tuple[CountingStore, Example, Example], name: str
) -> None:
    """One request is a few granules; statistics read a tenant, and less where a tag is rare."""
    store, large, small = counting
    store.costs.clear()

    await QUESTIONS[name](store, small if name in ("its history", "its raters") else large)

    assert sum(cost.rows for cost in store.costs) <= WHOLE[name]


@pytest.mark.parametrize("name", ["rare tag", "orphans", "common word", "log page", "days by model"])
async def test_no_question_reads_the_rows_of_other_tenants(
    counting: tuple[CountingStore, Example, Example], name: str
) -> None:
    """A tenant with one request of twenty waits for no other's: granules at its edges are all it reads."""
    store, _, small = counting
    store.costs.clear()

    await QUESTIONS[name](store, small)

    assert max(cost.rows for cost in store.costs) <= WHOLE_SMALL_TENANT
