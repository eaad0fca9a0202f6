"""Inserts lines of JSON into ClickHouse; a failure is either of the rows or of the server."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError, Error

from schemas.tables import SINK_POSITIONS
from services.runtime.clickhouse.client import INSERT_SETTINGS, connect
from services.runtime.clickhouse.core.bisection import is_refusal
from services.runtime.kafka.core.log_mark import LogMark, parse
from services.runtime.kafka.core.records import Partition
from services.runtime.settings import ClickHouseSettings

_POSITIONS = (
    "SELECT topic, partition, position, toUnixTimestamp64Milli(appended_at), mark"
    f" FROM {SINK_POSITIONS} FINAL WHERE topic IN {{topics:Array(String)}}"
)


class RowsRefusedError(Exception):
    """ClickHouse does not take these rows, however often they are sent: at least one is at fault."""


class UnavailableError(Exception):
    """ClickHouse does not do its work; the same call may succeed later."""


@dataclass(frozen=True)
class StoredPosition:
    """How far a partition is stored, and the newest timestamp of its records there, in milliseconds.

    `mark` is of a record below the position, None when none was kept.
    """

    position: int
    newest_ms: int
    mark: LogMark | None = None


class RowWriter(Protocol):
    """Where rows go.  An insert is all or nothing, and repeating it changes nothing."""

    async def insert(self, table: str, lines: Sequence[bytes], columns: Sequence[str] | None = None) -> None:
        """Store lines of JSON, one row each; RefusedError or UnavailableError when they are not stored."""

    async def positions(self, topics: Iterable[str]) -> dict[Partition, StoredPosition]:
        """Return how far each partition of these topics is stored; UnavailableError."""


class ClickHouseWriter:
    """The real one.  It connects with its first call, and again after it was closed."""

    def __init__(self, settings: ClickHouseSettings, timeout_seconds: float) -> None:
        self._settings, self._timeout = settings, timeout_seconds
        self._client: AsyncClient | None = None

    async def insert(self, table: str, lines: Sequence[bytes], columns: Sequence[str] | None = None) -> None:
        """Store lines of JSON, one row each; RefusedError or UnavailableError when they are not stored."""
        body = b"\n".join(lines)
        try:
            async with asyncio.timeout(self._timeout):
                client = await self._connected()
                await client.raw_insert(
                    table, columns, body, settings=dict(INSERT_SETTINGS), fmt="JSONEachRow"
                )
        except (ClickHouseError, TimeoutError, OSError) as error:
            raise _judged(error) from error

    async def positions(self, topics: Iterable[str]) -> dict[Partition, StoredPosition]:
        """Return how far each partition of these topics is stored; UnavailableError."""
        try:
            async with asyncio.timeout(self._timeout):
                client = await self._connected()
                result = await client.query(_POSITIONS, {"topics": list(topics)})
        except (ClickHouseError, TimeoutError, OSError) as error:
            raise UnavailableError(_short(error)) from error
        return {
            (topic, partition): StoredPosition(position, newest_ms, parse(mark))
            for topic, partition, position, newest_ms, mark in result.result_rows
        }

    async def _connected(self) -> AsyncClient:
        if self._client is None:
            self._client = await connect(self._settings, timeout_seconds=self._timeout)
        return self._client

    async def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()


def _judged(error: Exception) -> RowsRefusedError | UnavailableError:
    if isinstance(error, Error) and is_refusal(error.code):
        return RowsRefusedError(_short(error))
    return UnavailableError(_short(error))


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:1_000]
