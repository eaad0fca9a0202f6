"""Records erasures over HTTP in the audit log, in a thread: other requests do not wait for the disk."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import structlog

from services.ingest.core.errors import Code, Rejection
from services.runtime import audit_log
from services.runtime.core.quota import RateLimiter
from services.runtime.http.keys import Caller
from services.runtime.settings import HomeSettings

log = structlog.get_logger()

ACT = "erase over http"
NAMED = 100
"""Most request ids in one entry; its `count` includes all of them."""
REFUSED_PER_SECOND = 1.0
"""Refused attempts of a tenant that are recorded; more are only counted, to not fill the disk."""


class EraseLog:
    """Records erasures by keys with the scope `admin`, and refused attempts of others."""

    def __init__(self, settings: HomeSettings) -> None:
        self._settings = settings
        self._refused = RateLimiter(REFUSED_PER_SECOND)
        self._unrecorded = 0

    async def begun(self, caller: Caller, request_ids: Sequence[str] = ()) -> None:
        """Record that an erasure begins; raise Rejection, so that nothing is erased, if that fails."""
        try:
            await self._record("begun", caller, request_ids)
        except audit_log.AuditError as error:
            log.warning("erasure rejected", problem=str(error))
            detail = "the audit log cannot be written, so nothing was erased; see the log of ingest"
            raise Rejection(Code.INTERNAL_ERROR, detail) from None

    async def ended(self, outcome: str, caller: Caller, request_ids: Sequence[str]) -> None:
        """Record the outcome: `done`, or `failed` if the event may not have reached Kafka."""
        try:
            await self._record(outcome, caller, request_ids)
        except audit_log.AuditError as error:
            log.warning("erasure not recorded in the audit log", outcome=outcome, problem=str(error))

    async def refused(self, caller: Caller, request_ids: Sequence[str]) -> None:
        """Record an attempt without the scope `admin`, within REFUSED_PER_SECOND."""
        if self._refused.take(caller.tenant, 1, time.monotonic()):
            self._unrecorded += 1
            return
        unrecorded, self._unrecorded = self._unrecorded, 0
        try:
            await self._record("refused", caller, request_ids, tries_not_told=unrecorded)
        except audit_log.AuditError as error:
            log.warning("refused erasure not recorded in the audit log", problem=str(error))

    async def _record(self, outcome: str, caller: Caller, request_ids: Sequence[str], **more: int) -> None:
        facts: dict[str, Any] = {
            "tenant": caller.tenant,
            "key": caller.key_id,
            "requests": list(request_ids[:NAMED]),
        }
        facts |= {"count": len(request_ids)}
        now = datetime.fromtimestamp(time.time(), UTC)
        facts = {name: value for name, value in (facts | more).items() if value}
        await asyncio.to_thread(audit_log.record, self._settings, ACT, outcome, now, **facts)
