"""Publishes the items of a body in another system's format, in order; they are awaited together."""

from collections.abc import Sequence
from typing import NamedTuple

from services.ingest.accumulator import NOT_WRITTEN
from services.ingest.bulk import settled
from services.ingest.core.errors import Rejection
from services.ingest.core.event import column_warnings
from services.ingest.dialects.dialect import Item, ItemOutcome, Receipt, ReceiptStatus, Submission
from services.ingest.event_builder import EventBuilder, Origin, SubmittedEvent
from services.ingest.event_log import LogUnavailable
from services.ingest.metrics import REJECTED, SKIPPED
from services.runtime.fairness import FairQueue, TimeSlices


class _PendingItem(NamedTuple):
    position: int
    submission: Submission
    submitted: SubmittedEvent


class ItemEvents:
    """Publishes items.  `queue` gives time slices to whatever occupies the event loop for long."""

    def __init__(self, builder: EventBuilder, queue: FairQueue) -> None:
        self._builder, self._queue = builder, queue

    async def publish(self, origin: Origin, items: Sequence[Item]) -> list[ItemOutcome]:
        """Return the outcome of each item.

        Raises LogUnavailable or Overloaded if the log did not take one that is valid: what follows it is not
        queued, and clients of these formats repeat whole requests, not items.
        """
        outcomes = [ItemOutcome(item.id, _not_published(item)) for item in items]
        if skipped := sum(item.content is None for item in items):
            SKIPPED.labels(origin.source).inc(skipped)
        slices = TimeSlices(self._queue, origin.caller.tenant)
        async with slices:
            pending = await self._submit(origin, items, outcomes, slices)
        async with slices:
            for position, submission, submitted in pending:
                await settled(submitted.offset, slices)
                version = await self._builder.version(origin, submission, submitted)
                warnings = column_warnings(submission.request)
                receipt = Receipt(
                    ReceiptStatus.ACCEPTED, submission.request_id, submitted.event_id, version, warnings
                )
                outcomes[position] = outcomes[position]._replace(result=receipt)
        return outcomes

    async def _submit(
        self, origin: Origin, items: Sequence[Item], outcomes: list[ItemOutcome], slices: TimeSlices
    ) -> list[_PendingItem]:
        pending, epoch = [], self._builder.log.epoch
        for position, (_, content, once) in enumerate(items):
            if not isinstance(content, Submission):
                continue
            await slices.pause()
            if self._builder.log.epoch != epoch:
                raise LogUnavailable(NOT_WRITTEN, unknown=False)
            key = once or origin.idempotency_key
            try:
                submitted = self._builder.submit(
                    origin._replace(idempotency_key=key), content, 0 if once else position
                )
            except Rejection as rejection:
                REJECTED.labels(rejection.code).inc()
                outcomes[position] = outcomes[position]._replace(result=rejection)
            else:
                pending.append(_PendingItem(position, content, submitted))
        return pending


def _not_published(item: Item) -> Rejection | None:
    if isinstance(item.content, Rejection):
        REJECTED.labels(item.content.code).inc()
        return item.content
    return None
