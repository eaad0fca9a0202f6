"""Handles requests that carry one event."""

import asyncio

from schemas.events import Op
from services.ingest.core.event import column_warnings
from services.ingest.dialects.dialect import Receipt, ReceiptStatus, Reply, SingleRoute, Submission
from services.ingest.erase_log import EraseLog
from services.ingest.event_builder import EventBuilder, Origin
from services.ingest.known_requests import KnownRequests
from services.runtime.http.keys import Scope


class SingleEvents:
    """Publishes one event, and answers in its dialect."""

    def __init__(
        self,
        builder: EventBuilder,
        known_requests: KnownRequests,
        erase_log: EraseLog,
        *,
        only_known: bool,
        find_repeats: bool,
    ) -> None:
        self._builder = builder
        self._known_requests = known_requests
        self._erase_log = erase_log
        self._only_known = only_known
        self._find_repeats = find_repeats

    async def take(self, route: SingleRoute, origin: Origin, submission: Submission) -> Reply:
        """Publish a submission and return the answer; raise what `EventBuilder` raises."""
        if submission.op is Op.ERASE:
            return await self._erase(route, origin, submission)
        return await self._take(route, origin, submission)

    async def _erase(self, route: SingleRoute, origin: Origin, submission: Submission) -> Reply:
        """Publish an erasure between two entries of the audit log."""
        caller, ids = origin.caller, [submission.request_id]
        if not caller.may(Scope.ADMIN):
            await self._erase_log.refused(caller, ids)
            return await self._take(route, origin, submission)  # which raises Rejection
        await self._erase_log.begun(caller, ids)
        outcome = "failed"
        try:
            reply = await self._take(route, origin, submission)
            outcome = "done"
        finally:
            await self._erase_log.ended(outcome, caller, ids)
        return reply

    async def _take(self, route: SingleRoute, origin: Origin, submission: Submission) -> Reply:
        tenant, request_id = origin.caller.tenant, submission.request_id
        if await self._is_unknown(origin, submission):
            return route.answer(Receipt(ReceiptStatus.UNKNOWN, request_id))
        repeat = self._start_lookup(route, tenant, submission)
        try:
            submitted = self._builder.submit(origin, submission)
            version = await self._builder.version(origin, submission, submitted)
            status = await _status(repeat, version)
        finally:
            if repeat is not None:
                repeat.cancel()
        warnings = column_warnings(submission.request)
        return route.answer(Receipt(status, request_id, submitted.event_id, version, warnings))

    async def _is_unknown(self, origin: Origin, submission: Submission) -> bool:
        """Return whether this is feedback on an unknown request, and the caller takes known ones only."""
        if not (self._only_known or origin.caller.known_requests):
            return False
        if submission.op is not Op.MERGE or submission.request is not None:
            return False
        return await self._known_requests.is_certainly_unknown(origin.caller.tenant, submission.request_id)

    def _start_lookup(
        self, route: SingleRoute, tenant: str, submission: Submission
    ) -> asyncio.Task[int | None] | None:
        """Start to look for a repeat while the event is published, which does not depend on the result."""
        if route.repeats is None or submission.data is None or not self._find_repeats:
            return None
        lookup = self._known_requests.find_repeat(
            tenant, submission.request_id, submission.data, route.repeats
        )
        return asyncio.get_running_loop().create_task(lookup)


async def _status(repeat: asyncio.Task[int | None] | None, version: int | None) -> ReceiptStatus:
    """Return whether the event repeats an older row; a row of the same version may come from this event."""
    stored_version = await repeat if repeat is not None else None
    if stored_version is None or version is None or stored_version >= version:
        return ReceiptStatus.ACCEPTED
    return ReceiptStatus.REPEATED
