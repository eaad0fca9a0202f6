"""Reads stored events for by-id calls: once ClickHouse has all events that were logged before the call.

Unlike the lookups of votes, nothing may be answered without the read: what is not certain is 503.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson
from aiokafka.errors import KafkaError

from schemas.events import Op
from schemas.tables import FEEDBACK_EVENTS
from schemas.topics import Topology
from services.ingest.core.errors import Code, Rejection
from services.ingest.dialects.dialect import PastEvent, StoredQuery
from services.ingest.known_requests import ClickHouseLookups, LookupSkipped
from services.ingest.settings import IngestSettings
from services.pipeline.offsets import offsets
from services.runtime.kafka.core.records import Partition

POLL_SECONDS = 0.1

_COLUMNS = (
    "tenant, request_id, toString(version) AS version, toString(event_id) AS event_id, item_id, op, source,"
    " toUnixTimestamp64Micro(received_at) AS received_at, toUnixTimestamp64Micro(at) AS at, data, request"
)
_ITEM = f"SELECT tenant, request_id FROM {FEEDBACK_EVENTS} WHERE item_id = {{item_id:String}}"  # noqa: S608
_EVENTS = (
    f"SELECT {_COLUMNS} FROM feedback_history WHERE %s"  # noqa: S608 (our names; values are parameters)
    " ORDER BY tenant, request_id, toUInt64(version)"
)
_BY_REQUEST = "tenant = {tenant:String} AND request_id IN {request_ids:Array(String)}"
_BY_ITEM = f"(tenant, request_id) IN ({_ITEM} AND tenant = {{tenant:String}})"
_BY_SECRET = f"(tenant, request_id) IN ({_ITEM}) AND (item_id = {{item_id:String}} OR op = 'erase')"
"""No more than a secret opens: its own events, and whether the request was erased."""


class StoredEvents(Protocol):
    """Reads the events of requests."""

    async def read(self, tenant: str | None, query: StoredQuery) -> list[PastEvent]:
        """Return the events by request and version; `tenant` None: an item of any.  Raises Rejection.

        With `tenant` None, only the item's own events are read, and erases of its request.
        """
        ...


class ClickHouseEvents:
    """Reads them from ClickHouse.  `generation` returns the topic generation that events are written to."""

    def __init__(
        self, settings: IngestSettings, lookups: ClickHouseLookups, generation: Callable[[], int]
    ) -> None:
        self._settings, self._lookups, self._generation = settings, lookups, generation

    async def read(self, tenant: str | None, query: StoredQuery) -> list[PastEvent]:
        """Return the events by request and version; `tenant` None: an item of any.  Raises Rejection."""
        seconds = self._settings.ingest_stored_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._until_stored()
                rows = await self._lookups.rows(*_statement(tenant, query))
        except (TimeoutError, LookupSkipped, KafkaError, OSError) as error:
            detail = f"ClickHouse did not have all earlier feedback within {seconds:g} s; nothing was done"
            raise Rejection(Code.LOOKUP_UNAVAILABLE, detail) from error
        return [_event(row) for row in rows]

    async def _until_stored(self) -> None:
        """Return once everything that was logged before this call is stored."""
        topic = Topology(self._generation()).events.name
        async with offsets(self._settings, "ingest-stored-events") as kafka:
            ends = await kafka.ends(await kafka.partitions([topic]))
        while not await self._has_stored(topic, ends):  # noqa: ASYNC110 (ClickHouse has to be polled)
            await asyncio.sleep(POLL_SECONDS)

    async def _has_stored(self, topic: str, ends: Mapping[Partition, int]) -> bool:
        try:
            stored = await self._lookups.stored_ends(topic)
        except LookupSkipped:
            return False  # connecting, paused or busy: until the time is over
        return all(stored.get(number, 0) >= end for (_, number), end in ends.items())


def _statement(tenant: str | None, query: StoredQuery) -> tuple[str, dict[str, Any]]:
    parameters: dict[str, Any] = {} if tenant is None else {"tenant": tenant}
    if query.item_id:
        condition = _BY_SECRET if tenant is None else _BY_ITEM
        return _EVENTS % condition, {**parameters, "item_id": query.item_id}
    return _EVENTS % _BY_REQUEST, {**parameters, "request_ids": list(query.request_ids)}


def _event(row: dict[str, Any]) -> PastEvent:
    return PastEvent(
        tenant=row["tenant"],
        request_id=row["request_id"],
        version=int(row["version"]),
        event_id=row["event_id"],
        item_id=row["item_id"],
        op=Op(row["op"]),
        source=row["source"],
        received_at=_time(row["received_at"]),
        at=None if row["at"] is None else _time(row["at"]),
        data=orjson.loads(row["data"]),
        request=orjson.loads(row["request"]),
    )


def _time(microseconds: int | str) -> datetime:
    seconds, rest = divmod(int(microseconds), 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
