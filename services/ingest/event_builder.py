"""Builds events from valid submissions, queues them in the log, and returns their versions."""

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
from services.ingest.event_log import NO_OFFSET, EventLog, EventRange
from services.ingest.metrics import event_count
from services.runtime.http.keys import Caller, Scope

TEXTS = ("prompt", "response", "messages")
"""Facts that are texts of people and models."""


def without_texts(submission: Submission) -> Submission:
    """Return a submission without the texts among its facts."""
    facts = submission.request
    if not facts or not any(name in facts for name in TEXTS):
        return submission
    return submission._replace(request={name: fact for name, fact in facts.items() if name not in TEXTS})


class Origin(NamedTuple):
    """The caller of a request, the name of its dialect, and its Idempotency-Key."""

    caller: Caller
    source: str
    idempotency_key: str | None = None


class SubmittedEvent(NamedTuple):
    """A queued event; it is accepted once its offset is known."""

    event_id: str
    offset: asyncio.Future[int]
    generation: int
    """The topic generation that the offset belongs to."""


class SubmittedRun(NamedTuple):
    """Events that were queued by one call."""

    event_ids: list[str]
    ranges: list[EventRange]
    generation: int


class EventBuilder:
    """Builds events and queues them in the log."""

    def __init__(
        self, log: EventLog, clock: Callable[[], int] = time.time_ns, *, store_texts: bool = True
    ) -> None:
        """`store_texts` counts for tenants that have no setting of their own."""
        self.log = log
        self._store_texts = store_texts
        self._clock = clock
        self._stamp = Stamp(os.urandom(9))

    def submit(self, origin: Origin, submission: Submission, index: int = 0) -> SubmittedEvent:
        """Queue one event; `index` is its position in its batch.

        Raises Rejection if the event may not be written, and what `EventLog.publish` raises.
        """
        caller = origin.caller
        if submission.op is Op.ERASE and not caller.may(Scope.ADMIN):
            raise Rejection(Code.FORBIDDEN, "op erase needs a key with the scope `admin`")
        if not self._stores_texts(caller):
            submission = without_texts(submission)
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
        return SubmittedEvent(event_id, offset, self.log.generation)

    def submit_all(
        self, origin: Origin, submissions: Sequence[Submission], indexes: Sequence[int]
    ) -> SubmittedRun:
        """Queue events with op merge, all of them or none; raise as `submit` does."""
        tenant, source, key = origin.caller.tenant, origin.source, origin.idempotency_key
        if not self._stores_texts(origin.caller):
            submissions = [without_texts(submission) for submission in submissions]
        now, stamp = self._clock(), self._stamp
        event_ids, records = [], []
        for submission, index in zip(submissions, indexes, strict=True):
            event_id, received_at = stamp(now)
            if key is not None:
                event_id = idempotent_id(tenant, submission.request_id, key, index)
            value = event_bytes(tenant, source, submission, event_id, received_at, idempotent=key is not None)
            event_ids.append(event_id)
            records.append((event_key(tenant, submission.request_id), value))
        return SubmittedRun(event_ids, self.log.publish_all(records), self.log.generation)

    def _stores_texts(self, caller: Caller) -> bool:
        return self._store_texts if caller.store_texts is None else caller.store_texts

    async def first_version(self, origin: Origin, run: SubmittedRun, offsets: EventRange) -> int | None:
        """Wait for Kafka; return the version of the first event of a range, as `version` does.

        The versions of the following events are consecutive.
        """
        offset = await offsets.first
        event_count(origin.source, Op.MERGE).inc(len(offsets.indexes))
        return None if offset == NO_OFFSET else version_of(run.generation, offset)

    async def version(self, origin: Origin, submission: Submission, submitted: SubmittedEvent) -> int | None:
        """Wait for Kafka; return the event's version, or None if Kafka did not return an offset.

        Raises what the future of `EventLog.publish` raises.
        """
        offset = await submitted.offset
        event_count(origin.source, submission.op).inc()
        return None if offset == NO_OFFSET else version_of(submitted.generation, offset)
