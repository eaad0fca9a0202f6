"""One database for all tests of the query service: each test reads as a tenant of its own."""

import os
from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest

from services.query.settings import QuerySettings
from services.query.store import ClickHouseStore
from services.runtime.clickhouse.client import connect
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse.tables import create_tables
from tests.support.query.app import query_settings

NUMBERS = count(1)


@pytest.fixture(scope="session")
async def query_tables(
    warehouse: ClickHouseSettings, generations: Iterator[int]
) -> AsyncIterator[ClickHouseSettings]:
    """Settings that lead to a database with all tables, which these tests share: write as `tenant` only."""
    settings = warehouse.replace(clickhouse_database=f"query_{os.getpid()}_{next(generations)}")
    client = await connect(settings, database="default")
    try:
        await client.command(f"CREATE DATABASE {settings.clickhouse_database}")
        await create_tables(settings)
        yield settings
        await client.command(f"DROP DATABASE {settings.clickhouse_database}")
    finally:
        await client.close()


@pytest.fixture
def tenant() -> str:
    """A tenant that has no rows yet."""
    return f"tenant-{next(NUMBERS)}"


@pytest.fixture
def query_tables_settings(query_tables: ClickHouseSettings) -> QuerySettings:
    """Settings of a query service over the shared tables."""
    return query_settings(query_tables)


@pytest.fixture
async def store(query_tables_settings: QuerySettings) -> AsyncIterator[ClickHouseStore]:
    """What the service asks."""
    store = ClickHouseStore(query_tables_settings)
    yield store
    await store.stop()
