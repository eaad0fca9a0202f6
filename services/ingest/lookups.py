"""What ClickHouse has of a request, when it can be told quickly: nothing waits for it otherwise."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import aiohttp
import orjson
import structlog
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.tables import FEEDBACK_STATE, SINK_POSITIONS
from services.ingest.settings import IngestSettings
from services.runtime.clickhouse.client import connect

log = structlog.get_logger()

DOWN_SECONDS = 5.0
"""How long ClickHouse is left alone after an error."""

SLOW_SECONDS = 1.0
"""How long it is left alone after it did not answer in time."""

FAILURES = (ClickHouseError, aiohttp.ClientError, OSError)

ROW = (
    f"SELECT toString(version) AS version, data, request FROM {FEEDBACK_STATE} FINAL"  # noqa: S608 (our name)
    " WHERE tenant = {tenant:String} AND request_id = {request_id:String}"
)
POSITION = (
    f"SELECT toString(max(position)) AS position FROM {SINK_POSITIONS}"  # noqa: S608 (our name)
    " WHERE topic = {topic:String} AND partition = {partition:UInt32}"
)


class Stored(NamedTuple):
    """The row of a request, as far as ingest cares."""

    version: int
    data: dict[str, Any]
    has_facts: bool


class LookupSkipped(Exception):  # noqa: N818
    """Nothing is known, for a `reason`: down, paused, busy with other lookups, or stale."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ClickHouseLookups:
    """Asks ClickHouse, a few questions at a time.  How long to wait is for the caller to say."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._free = settings.ingest_max_lookups
        self._client: AsyncClient | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._resume_at = float("-inf")

    def connect_soon(self) -> None:
        """Begin to connect, unless that was done already."""
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect(), name="lookups")

    @property
    def connected(self) -> bool:
        """ClickHouse was reached."""
        return self._client is not None

    async def stop(self) -> None:
        """Disconnect."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    async def stored(self, tenant: str, request_id: str) -> Stored | None:
        """Return the row of a request, or None if there is none; raise LookupSkipped."""
        row = await self._first(ROW, {"tenant": tenant, "request_id": request_id})
        if row is None:
            return None
        return Stored(int(row["version"]), orjson.loads(row["data"]), row["request"] not in ("", "{}"))

    async def position(self, topic: str, partition: int) -> int:
        """Return the offset below which everything of a partition is stored; raise LookupSkipped."""
        row = await self._first(POSITION, {"topic": topic, "partition": partition})
        return int(row["position"]) if row else 0

    async def _first(self, query: str, parameters: dict[str, Any]) -> dict[str, Any] | None:
        answer = await self._asked(lambda client: client.raw_query(query, parameters, fmt="JSONEachRow"))
        line = answer.partition(b"\n")[0]
        return orjson.loads(line) if line else None

    async def _asked(self, ask: Callable[[AsyncClient], Awaitable[bytes]]) -> bytes:
        client = self._ready_client()
        self._free -= 1
        try:
            return await ask(client)
        except FAILURES as error:
            self._resume_at = time.monotonic() + DOWN_SECONDS
            log.warning("lookups paused", seconds=DOWN_SECONDS, error=str(error).partition("\n")[0])
            raise LookupSkipped("down") from None
        finally:
            self._free += 1

    def was_slow(self) -> None:
        """Leave ClickHouse alone for a moment, so that not every request waits for it in vain."""
        self._resume_at = time.monotonic() + SLOW_SECONDS

    def _ready_client(self) -> AsyncClient:
        if self._client is None:
            self.connect_soon()
            raise LookupSkipped("down")
        if time.monotonic() < self._resume_at:
            raise LookupSkipped("paused")
        if self._free <= 0:
            raise LookupSkipped("busy")
        return self._client

    async def _connect(self) -> None:
        """Make the client, which asks the server for its version first, so it may take a while."""
        while self._client is None:
            try:
                self._client = await connect(self._settings, timeout_seconds=DOWN_SECONDS)
            except FAILURES:
                await asyncio.sleep(DOWN_SECONDS)
