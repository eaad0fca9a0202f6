"""ClickHouse as the command sees it: answers row by row, however long they are."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.limits import MIB
from services.operations.errors import clickhouse_failed
from services.operations.exits import CommandError
from services.runtime.clickhouse.client import connect
from services.runtime.settings import ClickHouseSettings

FAILURES = (ClickHouseError, aiohttp.ClientError, OSError, TimeoutError)
LONGEST_SECONDS = 3_600.0
_SETTINGS = {"output_format_json_quote_64bit_integers": 0, "max_query_size": 8 * MIB}

_decode = msgspec.json.Decoder(list[Any]).decode


class Tables:
    """Questions.  CommandError when ClickHouse refuses, UnreachableError when it is away."""

    def __init__(self, client: AsyncClient, settings: ClickHouseSettings) -> None:
        self.client, self._settings = client, settings

    async def ask(self, sql: str) -> list[list[Any]]:
        """Return all rows."""
        return [row async for row in self.stream(sql)]

    async def stream(self, sql: str) -> AsyncIterator[list[Any]]:
        """Yield rows as they come."""
        try:
            stream = await self.client.raw_stream(sql, settings=_SETTINGS, fmt="JSONCompactEachRow")
            async with stream:
                async for line in _lines(stream):
                    yield _decode(line)
        except msgspec.MsgspecError as error:
            raise CommandError(f"ClickHouse cut an answer short: {error}") from error
        except FAILURES as error:
            raise clickhouse_failed(error, self._settings) from error


async def _lines(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for block in stream:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line
    if rest:
        yield rest


@asynccontextmanager
async def tables(settings: ClickHouseSettings) -> AsyncIterator[Tables]:
    """Connect for the block."""
    try:
        client = await connect(settings, timeout_seconds=LONGEST_SECONDS)
    except FAILURES as error:
        raise clickhouse_failed(error, settings) from error
    try:
        yield Tables(client, settings)
    finally:
        await client.close()
