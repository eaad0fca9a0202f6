"""From a judged submission to an event that is on its way into the log."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from schemas.events import Op
from schemas.identity import event_key, version_of
from services.ingest.core.errors import Code, Rejection
from services.ingest.core.event import Stamp, event_bytes, idempotent_id
from services.ingest.dialects.dialect import Submission
from services.ingest.event_log import NO_OFFSET, Log, Stretch
from services.ingest.metrics import event_count
from services.runtime.http.keys import Caller, Scope


class Origin(NamedTuple):
    """Who sent a request, through which dialect, and the Idempotency-Key it carried."""

    caller: Caller
    source: str
    idempotency_key: str | None = None


class Submitted(NamedTuple):
    """An event that was queued; it is accepted once its offset is known."""

    event_id: str
    offset: asyncio.Future[int]
    generation: int
    """Of the topics, in which the offset counts."""


class Flight(NamedTuple):
    """Events that were queued together."""

    event_ids: list[str]
    stretches: list[Stretch]
    generation: int


class Intake:
    """Stamps events and hands them to the log."""

    def __init__(self, log: Log, clock: Callable[[], int] = time.time_ns) -> None:
        self.log = log
        self._clock = clock
        self._stamp = Stamp(os.urandom(9))

    def submit(self, origin: Origin, submission: Submission, index: int = 0) -> Submitted:
        """Queue one event.

        Raises Rejection for what may not be written, and what `Log.publish` raises.
        """
        caller = origin.caller
        if submission.op is Op.ERASE and not caller.may(Scope.ADMIN):
            raise Rejection(Code.FORBIDDEN, "op erase needs a key with the scope `admin`")
        event_id, received_at = self._stamp(self._clock())
        if origin.idempotency_key is not None:
            event_id = idempotent_id(caller.tenant, submission.request_id, origin.idempotency_key, index)
        value = event_bytes(
            caller.tenant,
            origin.source,
            submission,
            event_id,
            received_at,
            idempotent=origin.idempotency_key is not None,
        )
        offset = self.log.publish(event_key(caller.tenant, submission.request_id), value)
        return Submitted(event_id, offset, self.log.generation)

    def submit_all(self, origin: Origin, submissions: Sequence[Submission], indexes: Sequence[int]) -> Flight:
        """Queue events with op merge, all of them or none.

        Raises as `submit` does when any of them may not be written.
        """
        tenant, source, key = origin.caller.tenant, origin.source, origin.idempotency_key
        now, stamp = self._clock(), self._stamp
        event_ids, records = [], []
        for submission, index in zip(submissions, indexes, strict=True):
            event_id, received_at = stamp(now)
            if key is not None:
                event_id = idempotent_id(tenant, submission.request_id, key, index)
            value = event_bytes(tenant, source, submission, event_id, received_at, idempotent=key is not None)
            event_ids.append(event_id)
            records.append((event_key(tenant, submission.request_id), value))
        return Flight(event_ids, self.log.publish_all(records), self.log.generation)

    async def first_version(self, origin: Origin, flight: Flight, stretch: Stretch) -> int | None:
        """Wait for Kafka; return the version of a stretch's first event, as `version` does.

        Each further one is greater by one.
        """
        offset = await stretch.first
        event_count(origin.source, Op.MERGE).inc(len(stretch.places))
        return None if offset == NO_OFFSET else version_of(flight.generation, offset)

    async def version(self, origin: Origin, submission: Submission, submitted: Submitted) -> int | None:
        """Wait for Kafka; return the event's version, or None if Kafka has it but did not say where.

        Raises what the future of `Log.publish` raises.
        """
        offset = await submitted.offset
        event_count(origin.source, submission.op).inc()
        return None if offset == NO_OFFSET else version_of(submitted.generation, offset)
