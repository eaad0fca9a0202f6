"""One warehouse for all tests of its protocol; with Docker a real ClickHouse server beside it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import count

import pytest

from tests.support.clickhouse.raw_http import Face, face
from tests.support.stack import containers
from tests.support.stack.fixtures import choice
from tests.support.stack.local_servers import OwnWarehouse

MAX_BODY_BYTES = 4 * 2**20
WAITING_BODIES = 2
_serial = count()


@pytest.fixture(scope="session")
async def ours(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Face]:
    """Serve a warehouse of this folder's own, with small limits and a reader `analyst:secret`."""
    server = OwnWarehouse(
        tmp_path_factory.mktemp("protocol"),
        WAREHOUSE_READER_PASSWORDS="analyst:secret",
        WAREHOUSE_MAX_BODY_BYTES=str(MAX_BODY_BYTES),
        WAREHOUSE_MAX_WAITING_BYTES=str(WAITING_BODIES * MAX_BODY_BYTES),
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.kill)
        await server.start()
        yield await stack.enter_async_context(face(server.settings))


@pytest.fixture(scope="session", params=["warehouse", *(["server"] if choice() == "docker" else [])])
async def server(request: pytest.FixtureRequest, ours: Face) -> AsyncIterator[Face]:
    """Serve ClickHouse's HTTP interface: the warehouse's, and a real server's where Docker answers."""
    if request.param == "warehouse":
        yield ours
        return
    with containers.clickhouse() as settings:
        async with face(settings) as theirs:
            yield theirs


@pytest.fixture
async def database(server: Face) -> AsyncIterator[str]:
    """Name an empty database of this test's own."""
    name = f"d{next(_serial)}"
    await server.value(f"CREATE DATABASE {name}")
    yield name
    await server.value(f"DROP DATABASE {name}")


@pytest.fixture
async def table(server: Face, database: str) -> str:
    """Name an empty table (id UInt64, text String)."""
    name = f"{database}.t"
    await server.value(f"CREATE TABLE {name} (id UInt64, text String) ENGINE = MergeTree ORDER BY id")
    return name
