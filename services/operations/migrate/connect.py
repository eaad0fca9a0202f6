"""Connects to both servers, waiting for each as long as the caller allows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import chain, repeat
from typing import TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError, Error

from services.operations.exits import CommandError, UnreachableError
from services.pipeline.survey import admin
from services.runtime.clickhouse.client import connect
from services.runtime.core.backoff import delays
from services.runtime.settings import ClickHouseSettings, KafkaSettings

T = TypeVar("T")


@asynccontextmanager
async def clickhouse(settings: ClickHouseSettings, deadline: float) -> AsyncIterator[AsyncClient]:
    """Yield a client of the default database; UnreachableError when nobody answers until the deadline.

    The deadline is a time of the running loop's clock.
    """
    client = await _patiently(lambda: _clickhouse(settings), deadline)
    try:
        yield client
    finally:
        await client.close()


async def _clickhouse(settings: ClickHouseSettings) -> AsyncClient:
    try:
        return await connect(settings, database="default")
    except ClickHouseError as error:
        place = f"ClickHouse at {settings.clickhouse_url}"
        if isinstance(error, Error) and error.code is not None:
            raise CommandError(f"{place} refuses {settings.clickhouse_user}: {error}") from error
        raise UnreachableError(
            f"{place} does not answer: is it running, and is CLICKHOUSE_URL right? (--wait waits for it)"
        ) from error


@asynccontextmanager
async def kafka(settings: KafkaSettings, deadline: float) -> AsyncIterator[AIOKafkaAdminClient]:
    """Yield an admin client; UnreachableError when no broker answers until the deadline."""
    await _patiently(lambda: _kafka(settings), deadline)
    async with admin(settings, "afterword-migrate") as client:
        yield client


async def _kafka(settings: KafkaSettings) -> None:
    try:
        async with admin(settings, "afterword-migrate"):
            pass
    except KafkaConnectionError as error:
        raise UnreachableError(
            f"Kafka at {settings.kafka_bootstrap_servers} does not answer: is it running, and is"
            " KAFKA_BOOTSTRAP_SERVERS right? (--wait waits for it)"
        ) from error


async def _patiently(attempt: Callable[[], Awaitable[T]], deadline: float) -> T:
    clock = asyncio.get_running_loop().time
    for delay in chain(delays(longest=1.0), repeat(1.0)):
        try:
            return await attempt()
        except UnreachableError:
            if clock() + delay > deadline:
                raise
        await asyncio.sleep(delay)
    raise AssertionError
