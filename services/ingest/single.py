"""Requests that carry one event."""

import asyncio

from schemas.events import Op
from services.ingest.core.event import unread
from services.ingest.dialects.dialect import Receipt, Reply, Route, Standing, Submission
from services.ingest.erase_log import EraseLog
from services.ingest.event_builder import Intake, Origin
from services.ingest.known_requests import Knowledge
from services.runtime.http.keys import Scope


class Singles:
    """Takes one event, and answers as its dialect does."""

    def __init__(
        self,
        intake: Intake,
        knowledge: Knowledge,
        erase_log: EraseLog,
        *,
        known_requests: bool,
        find_repeats: bool,
    ) -> None:
        self._intake = intake
        self._knowledge = knowledge
        self._erase_log = erase_log
        self._known_requests = known_requests
        self._find_repeats = find_repeats

    async def take(self, route: Route, origin: Origin, submission: Submission) -> Reply:
        """Publish a submission and answer it; raise what `Intake` raises."""
        if submission.op is Op.ERASE:
            return await self._erase(route, origin, submission)
        return await self._take(route, origin, submission)

    async def _erase(self, route: Route, origin: Origin, submission: Submission) -> Reply:
        """Take it between two lines of the audit log."""
        caller, ids = origin.caller, [submission.request_id]
        if not caller.may(Scope.ADMIN):
            await self._erase_log.refused(caller, ids)
            return await self._take(route, origin, submission)  # which refuses it
        await self._erase_log.begun(caller, ids)
        outcome = "failed"
        try:
            reply = await self._take(route, origin, submission)
            outcome = "done"
        finally:
            await self._erase_log.ended(outcome, caller, ids)
        return reply

    async def _take(self, route: Route, origin: Origin, submission: Submission) -> Reply:
        tenant, request_id = origin.caller.tenant, submission.request_id
        if await self._must_refuse(origin, submission):
            return route.answer(Receipt(Standing.UNKNOWN, request_id))
        repeat = self._look_for_repeat(route, tenant, submission)
        try:
            submitted = self._intake.submit(origin, submission)
            version = await self._intake.version(origin, submission, submitted)
            standing = await _standing(repeat, version)
        finally:
            if repeat is not None:
                repeat.cancel()
        warnings = unread(submission.request)
        return route.answer(Receipt(standing, request_id, submitted.event_id, version, warnings))

    async def _must_refuse(self, origin: Origin, submission: Submission) -> bool:
        """Tell whether feedback on a request that nobody has described is to be refused, and this is some."""
        if not (self._known_requests or origin.caller.known_requests):
            return False
        if submission.op is not Op.MERGE or submission.request is not None:
            return False
        return await self._knowledge.certainly_unknown(origin.caller.tenant, submission.request_id)

    def _look_for_repeat(
        self, route: Route, tenant: str, submission: Submission
    ) -> asyncio.Task[int | None] | None:
        """Begin to look, while the event is on its way: it is published whatever is found."""
        if route.repeats is None or submission.data is None or not self._find_repeats:
            return None
        looking = self._knowledge.repeated(tenant, submission.request_id, submission.data, route.repeats)
        return asyncio.get_running_loop().create_task(looking)


async def _standing(repeat: asyncio.Task[int | None] | None, version: int | None) -> Standing:
    """Tell a repeat from news.  A row as new as the event itself may be the event's own work."""
    stored_version = await repeat if repeat is not None else None
    if stored_version is None or version is None or stored_version >= version:
        return Standing.ACCEPTED
    return Standing.REPEATED
