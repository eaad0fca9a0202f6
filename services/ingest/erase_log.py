"""Who erased what over HTTP, in the audit log: in a thread, so that only who erases waits for the disk."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import structlog

from services.ingest.core.errors import Code, Rejection
from services.ingest.core.quota import Rates
from services.runtime import audit_log
from services.runtime.http.keys import Caller
from services.runtime.settings import HomeSettings

log = structlog.get_logger()

ACT = "erase over http"
NAMED = 100
"""Request ids that one entry names, at most; it counts all of them."""
REFUSED_PER_SECOND = 1.0
"""Refused tries of one tenant that are written down; more are counted, so that nobody can fill the disk."""


class EraseLog:
    """Writes down what keys with the scope `admin` erase, and what others tried to."""

    def __init__(self, settings: HomeSettings) -> None:
        self._settings = settings
        self._refused = Rates(REFUSED_PER_SECOND)
        self._untold = 0

    async def begun(self, caller: Caller, request_ids: Sequence[str] = ()) -> None:
        """Write down that erasing begins; Rejection when that cannot be done, so that nothing is erased."""
        try:
            await self._record("begun", caller, request_ids)
        except audit_log.AuditError as error:
            log.warning("nothing is erased", problem=str(error))
            detail = "the audit log cannot be written, so nothing was erased; the log of ingest says more"
            raise Rejection(Code.INTERNAL_ERROR, detail) from None

    async def ended(self, outcome: str, caller: Caller, request_ids: Sequence[str]) -> None:
        """Write down how it ended: `done`, or `failed` for what may not have reached the log."""
        try:
            await self._record(outcome, caller, request_ids)
        except audit_log.AuditError as error:
            log.warning("an erasure is not in the audit log", outcome=outcome, problem=str(error))

    async def refused(self, caller: Caller, request_ids: Sequence[str]) -> None:
        """Write down a try without the right to: not each one of many."""
        if self._refused.take(caller.tenant, 1, time.monotonic()):
            self._untold += 1
            return
        untold, self._untold = self._untold, 0
        try:
            await self._record("refused", caller, request_ids, tries_not_told=untold)
        except audit_log.AuditError as error:
            log.warning("a refused erasure is not in the audit log", problem=str(error))

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
