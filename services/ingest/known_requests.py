"""What is known of a request when feedback on it comes in; in doubt, nothing."""

import asyncio
from collections.abc import Awaitable
from typing import Any, Protocol, TypeVar

from services.ingest.dialects.dialect import Repeats
from services.ingest.freshness import Freshness
from services.ingest.lookups import ClickHouseLookups, LookupSkipped
from services.ingest.metrics import LOOKUPS
from services.ingest.settings import IngestSettings

T = TypeVar("T")


class Knowledge(Protocol):
    """Answers quickly, or with no."""

    async def certainly_unknown(self, tenant: str, request_id: str) -> bool:
        """Tell whether no fact of a request had been logged when this was asked."""
        ...

    async def repeated(
        self, tenant: str, request_id: str, said: dict[str, Any], repeats: Repeats
    ) -> int | None:
        """Return the version of the stored row that says the same already, or None."""
        ...


class StoredKnowledge:
    """What ClickHouse knows, and how fresh that is."""

    def __init__(self, settings: IngestSettings, lookups: ClickHouseLookups, freshness: Freshness) -> None:
        self._seconds = settings.ingest_lookup_seconds
        self._lookups = lookups
        self._freshness = freshness

    async def certainly_unknown(self, tenant: str, request_id: str) -> bool:
        """Tell whether no fact of a request had been logged when this was asked.

        The row is read again once everything logged is known to be stored: what the first reading
        missed, the second one finds.
        """
        return await self._told(self._unknown(tenant, request_id)) or False

    async def _unknown(self, tenant: str, request_id: str) -> bool:
        if await self._has_facts(tenant, request_id):
            return False
        if not await self._freshness.up_to_date(tenant, request_id):
            raise LookupSkipped("stale")
        return not await self._has_facts(tenant, request_id)

    async def _has_facts(self, tenant: str, request_id: str) -> bool:
        stored = await self._lookups.stored(tenant, request_id)
        return stored is not None and stored.has_facts

    async def repeated(
        self, tenant: str, request_id: str, said: dict[str, Any], repeats: Repeats
    ) -> int | None:
        """Return the version of the stored row that says the same already, or None."""
        return await self._told(self._repeated(tenant, request_id, said, repeats))

    async def _repeated(
        self, tenant: str, request_id: str, said: dict[str, Any], repeats: Repeats
    ) -> int | None:
        stored = await self._lookups.stored(tenant, request_id)
        return stored.version if stored is not None and repeats(stored.data, said) else None

    async def _told(self, question: Awaitable[T]) -> T | None:
        """Return the answer, or None if there is none in time."""
        try:
            async with asyncio.timeout(self._seconds):
                answer = await question
        except LookupSkipped as skipped:
            LOOKUPS.labels(skipped.reason).inc()
            return None
        except TimeoutError:
            self._lookups.was_slow()
            LOOKUPS.labels("slow").inc()
            return None
        LOOKUPS.labels("answered").inc()
        return answer
