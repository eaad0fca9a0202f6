"""Looks requests up in ClickHouse when feedback on them arrives: repeated votes, and requests without facts.

A lookup that is slow, fails or may be stale is skipped, and the feedback is accepted without it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import aiohttp
import orjson
import structlog
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError

from schemas.identity import event_key
from schemas.tables import FEEDBACK_STATE, SINK_POSITIONS
from schemas.topics import Topology
from services.ingest.dialects.dialect import Repeats
from services.ingest.metrics import LOOKUPS
from services.ingest.settings import IngestSettings
from services.runtime.clickhouse import client as clickhouse
from services.runtime.kafka import clients as kafka
from services.runtime.retry import delays, retry

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

log = structlog.get_logger()

T = TypeVar("T")

DOWN_SECONDS = 5.0
"""Pause of lookups after an error."""

SLOW_SECONDS = 1.0
"""Pause of lookups after one that timed out."""

FAILURES = (ClickHouseError, aiohttp.ClientError, OSError)
_KAFKA_FAILURES = (KafkaError, OSError, TimeoutError)

ROW = (
    f"SELECT toString(version) AS version, data, request FROM {FEEDBACK_STATE} FINAL"  # noqa: S608 (our name)
    " WHERE tenant = {tenant:String} AND request_id = {request_id:String}"
)
POSITION = (
    f"SELECT toString(max(position)) AS position FROM {SINK_POSITIONS}"  # noqa: S608 (our name)
    " WHERE topic = {topic:String} AND partition = {partition:UInt32}"
)

POSITIONS = (
    f"SELECT partition, toString(max(position)) AS position FROM {SINK_POSITIONS}"  # noqa: S608 (our name)
    " WHERE topic = {topic:String} GROUP BY partition"
)


class StoredRequest(NamedTuple):
    """The columns of a request's row that ingest uses."""

    version: int
    data: dict[str, Any]
    has_facts: bool


class LookupSkipped(Exception):  # noqa: N818
    """A lookup was not done, for a `reason`: down, paused, busy or stale."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ClickHouseLookups:
    """Reads rows and positions from ClickHouse, a limited number at a time.  Callers set the timeout."""

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._free = settings.ingest_max_lookups
        self._client: AsyncClient | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._resume_at = float("-inf")

    def connect_soon(self) -> None:
        """Start to connect, once."""
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect(), name="lookups")

    @property
    def connected(self) -> bool:
        """Whether ClickHouse has been connected."""
        return self._client is not None

    async def stop(self) -> None:
        """Disconnect."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    async def stored(self, tenant: str, request_id: str) -> StoredRequest | None:
        """Return the row of a request, or None if there is none; raise LookupSkipped."""
        row = await self._first(ROW, {"tenant": tenant, "request_id": request_id})
        if row is None:
            return None
        return StoredRequest(int(row["version"]), orjson.loads(row["data"]), row["request"] not in ("", "{}"))

    async def position(self, topic: str, partition: int) -> int:
        """Return the offset below which a partition's records are in ClickHouse; raise LookupSkipped."""
        row = await self._first(POSITION, {"topic": topic, "partition": partition})
        return int(row["position"]) if row else 0

    async def stored_ends(self, topic: str) -> dict[int, int]:
        """Return the offsets below which a topic's records are in ClickHouse; raise LookupSkipped."""
        rows = await self.rows(POSITIONS, {"topic": topic})
        return {int(row["partition"]): int(row["position"]) for row in rows}

    async def rows(self, query: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        """Return all rows of a query; raise LookupSkipped."""
        answer = await self._query(lambda client: client.raw_query(query, parameters, fmt="JSONEachRow"))
        return [orjson.loads(line) for line in answer.splitlines()]

    async def _first(self, query: str, parameters: dict[str, Any]) -> dict[str, Any] | None:
        rows = await self.rows(query, parameters)
        return rows[0] if rows else None

    async def _query(self, send: Callable[[AsyncClient], Awaitable[bytes]]) -> bytes:
        client = self._ready_client()
        self._free -= 1
        try:
            return await send(client)
        except FAILURES as error:
            self._resume_at = time.monotonic() + DOWN_SECONDS
            log.warning("lookups paused", seconds=DOWN_SECONDS, error=str(error).partition("\n")[0])
            raise LookupSkipped("down") from None
        finally:
            self._free += 1

    def was_slow(self) -> None:
        """Pause lookups after one that timed out, so that not every request waits for the timeout."""
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
        """Connect in the background: the client queries the server's version first."""
        self._client = await retry(
            lambda: clickhouse.connect(self._settings, timeout_seconds=DOWN_SECONDS),
            FAILURES,
            repeat(DOWN_SECONDS),
        )


class Freshness:
    """Checks whether ClickHouse has all events of a request that are in Kafka.

    Compares positions of the merger and the sink; joins no consumer group and commits nothing.
    """

    def __init__(
        self,
        settings: IngestSettings,
        lookups: ClickHouseLookups,
        partition_of: Callable[[bytes], int | None],
        generation: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._lookups = lookups
        self._partition_of = partition_of
        self._generation = generation
        self._topology = Topology(generation())
        self._consumer: AIOKafkaConsumer | None = None
        self._connecting: asyncio.Task[None] | None = None

    async def up_to_date(self, tenant: str, request_id: str) -> bool:
        """Return whether all events of a request that were logged before this call are in ClickHouse.

        Reads in this order: the end of the events partition, the merger's offset at or after it, the end of
        the state partition, the sink's position at or after it.  Raises LookupSkipped if any is unknown.
        """
        await self._follow_generation()
        partition = self._partition_of(event_key(tenant, request_id))
        if self._consumer is None or partition is None:
            self._connect_soon()
            raise LookupSkipped("down")
        events = TopicPartition(self._topology.events.name, partition)
        state = TopicPartition(self._topology.state.name, partition)
        try:
            logged = (await self._consumer.end_offsets([events]))[events]
            if (await self._consumer.committed(events) or 0) < logged:
                return False
            merged = (await self._consumer.end_offsets([state]))[state]
        except (KafkaError, OSError) as error:
            raise LookupSkipped("down") from error
        return await self._lookups.position(state.topic, partition) >= int(merged)

    async def _follow_generation(self) -> None:
        """Switch to the topic generation that events are written to."""
        if self._topology.generation != self._generation():
            await self.stop()
            self._topology, self._consumer, self._connecting = Topology(self._generation()), None, None

    @property
    def connected(self) -> bool:
        """Whether Kafka has been connected."""
        return self._consumer is not None

    def _connect_soon(self) -> None:
        """Start to connect to Kafka, once: only deployments that require known requests need it."""
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect(), name="freshness")

    async def _connect(self) -> None:
        self._consumer = await retry(
            self._new_consumer,
            _KAFKA_FAILURES,
            delays(),
            lambda error: log.warning("freshness not connected", error=repr(error)),
        )

    async def _new_consumer(self) -> "AIOKafkaConsumer":
        consumer = kafka.consumer(self._settings, "ingest-freshness", group_id=self._topology.merger_group)
        try:
            await kafka.connect(consumer)
        except _KAFKA_FAILURES:
            await consumer.stop()
            raise
        return consumer

    async def stop(self) -> None:
        """Disconnect."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._consumer is not None:
            await self._consumer.stop()


class KnownRequests(Protocol):
    """Answers within a timeout, or with no."""

    async def is_certainly_unknown(self, tenant: str, request_id: str) -> bool:
        """Return whether it is certain that no facts of a request had been logged before this call."""
        ...

    async def find_repeat(
        self, tenant: str, request_id: str, data: dict[str, Any], repeats: Repeats
    ) -> int | None:
        """Return the version of the stored row that has the same feedback already, or None."""
        ...


class StoredRequests:
    """Answers from the rows in ClickHouse."""

    def __init__(self, settings: IngestSettings, lookups: ClickHouseLookups, freshness: Freshness) -> None:
        self._seconds = settings.ingest_lookup_seconds
        self._lookups = lookups
        self._freshness = freshness

    async def is_certainly_unknown(self, tenant: str, request_id: str) -> bool:
        """Return whether it is certain that no facts of a request had been logged before this call.

        Reads the row again after the freshness check, which shows all events logged before this call.
        """
        return await self._answer(self._unknown(tenant, request_id)) or False

    async def _unknown(self, tenant: str, request_id: str) -> bool:
        if await self._has_facts(tenant, request_id):
            return False
        if not await self._freshness.up_to_date(tenant, request_id):
            raise LookupSkipped("stale")
        return not await self._has_facts(tenant, request_id)

    async def _has_facts(self, tenant: str, request_id: str) -> bool:
        stored = await self._lookups.stored(tenant, request_id)
        return stored is not None and stored.has_facts

    async def find_repeat(
        self, tenant: str, request_id: str, data: dict[str, Any], repeats: Repeats
    ) -> int | None:
        """Return the version of the stored row that has the same feedback already, or None."""
        return await self._answer(self._repeated_version(tenant, request_id, data, repeats))

    async def _repeated_version(
        self, tenant: str, request_id: str, data: dict[str, Any], repeats: Repeats
    ) -> int | None:
        stored = await self._lookups.stored(tenant, request_id)
        return stored.version if stored is not None and repeats(stored.data, data) else None

    async def _answer(self, lookup: Awaitable[T]) -> T | None:
        """Return the result, or None if the lookup is skipped or times out."""
        try:
            async with asyncio.timeout(self._seconds):
                answer = await lookup
        except LookupSkipped as skipped:
            LOOKUPS.labels(skipped.reason).inc()
            return None
        except TimeoutError:
            self._lookups.was_slow()
            LOOKUPS.labels("slow").inc()
            return None
        LOOKUPS.labels("answered").inc()
        return answer
