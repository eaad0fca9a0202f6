"""Handles requests that carry many events: each is answered by itself, all are awaited together."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from schemas.events import Op
from services.ingest.accumulator import NOT_WRITTEN
from services.ingest.core.content import BatchItem, check_size, read_run, runs
from services.ingest.core.errors import Rejection, item_error
from services.ingest.core.event import column_warnings
from services.ingest.dialects.dialect import Reply, Submission
from services.ingest.dialects.native import read_event
from services.ingest.erase_log import EraseLog
from services.ingest.event_builder import EventBuilder, Origin, SubmittedEvent, SubmittedRun
from services.ingest.event_log import EventRange, LogUnavailable, Overloaded, rejection_of
from services.ingest.metrics import REJECTED
from services.runtime.fairness import FairQueue, TimeSlices
from services.runtime.http.keys import Scope


class _PendingEvent(NamedTuple):
    """An event that was queued by itself."""

    item: BatchItem
    submission: Submission
    submitted: SubmittedEvent


class _PendingRun(NamedTuple):
    """A run whose events were queued together."""

    items: list[BatchItem]
    submissions: list[Submission]
    submitted: SubmittedRun


@dataclass
class _BulkResult:
    events: list[_PendingEvent] = field(default_factory=list)
    runs: list[_PendingRun] = field(default_factory=list)
    answers: dict[int, dict[str, Any]] = field(default_factory=dict)
    accepted: int = 0
    erasures: list[str] = field(default_factory=list)
    """Ids of the requests to erase, whether or not the caller may."""
    refusal: Rejection | None = None
    """The latest reason for which the log did not accept an event."""

    def reject(self, item: BatchItem, rejection: Rejection) -> None:
        REJECTED.labels(rejection.code).inc()
        self.answers[item.position] = {
            "index": item.position,
            "status": "rejected",
            "error": item_error(rejection),
        }

    def refuse(self, item: BatchItem, error: LogUnavailable | Overloaded) -> None:
        self.refusal = rejection_of(error)
        self.reject(item, self.refusal)

    def accept(self, item: BatchItem, submission: Submission, event_id: str, version: int | None) -> None:
        self.accepted += 1
        position = item.position
        answer = self.answers[position] = {
            "index": position,
            "status": "accepted",
            "request_id": submission.request_id,
            "event_id": event_id,
        }
        if version is not None:
            answer["version"] = str(version)
        if warnings := column_warnings(submission.request):
            answer["warnings"] = warnings

    def accept_all(self, run: _PendingRun, offsets: EventRange, first_version: int | None) -> None:
        event_ids = run.submitted.event_ids
        for version, index in enumerate(offsets.indexes, first_version or 0):
            known = None if first_version is None else version
            self.accept(run.items[index], run.submissions[index], event_ids[index], known)


class BulkEvents:
    """Publishes the events of a batch.

    Once the log refuses an event, or loses one, it refuses the remaining ones too: so no event of a request
    can overtake an earlier one of the same batch, and the client can send them again in order.
    """

    def __init__(self, builder: EventBuilder, erase_log: EraseLog, queue: FairQueue) -> None:
        self._builder, self._erase_log, self._queue = builder, erase_log, queue

    async def take(self, origin: Origin, items: list[BatchItem]) -> Reply:
        """Publish the valid events, and answer for each item; raise Rejection if the log accepted none."""
        result = _BulkResult()
        slices = TimeSlices(self._queue, origin.caller.tenant)
        async with slices:
            await self._submit_all(origin, items, result, slices)
        async with slices:
            await self._await_all(origin, result, slices)
        await self._end_erasures(origin, result)
        if result.refusal is not None and not result.accepted:
            raise result.refusal
        return _reply(result)

    async def _begin_erasure(
        self, origin: Origin, submission: Submission, result: _BulkResult, slices: TimeSlices
    ) -> None:
        """Record the erasures in the audit log before the first of them is queued; raise Rejection."""
        if not result.erasures and origin.caller.may(Scope.ADMIN):
            slices.leave()
            try:
                await self._erase_log.begun(origin.caller)
            finally:
                await slices.enter()
        result.erasures.append(submission.request_id)

    async def _end_erasures(self, origin: Origin, result: _BulkResult) -> None:
        if not result.erasures:
            return
        if not origin.caller.may(Scope.ADMIN):
            await self._erase_log.refused(origin.caller, result.erasures)
            return
        outcome = "done" if result.refusal is None else "failed"
        await self._erase_log.ended(outcome, origin.caller, result.erasures)

    async def _await_all(self, origin: Origin, result: _BulkResult, slices: TimeSlices) -> None:
        for run in result.runs:
            for offsets in run.submitted.ranges:
                await settled(offsets.first, slices)
                await self._await_range(origin, run, offsets, result)
        for event in result.events:
            await settled(event.submitted.offset, slices)
            try:
                version = await self._builder.version(origin, event.submission, event.submitted)
            except (LogUnavailable, Overloaded) as error:
                result.refuse(event.item, error)
            else:
                result.accept(event.item, event.submission, event.submitted.event_id, version)

    async def _await_range(
        self, origin: Origin, run: _PendingRun, offsets: EventRange, result: _BulkResult
    ) -> None:
        try:
            first_version = await self._builder.first_version(origin, run.submitted, offsets)
        except (LogUnavailable, Overloaded) as error:
            for index in offsets.indexes:
                result.refuse(run.items[index], error)
        else:
            result.accept_all(run, offsets, first_version)

    async def _submit_all(
        self, origin: Origin, items: list[BatchItem], result: _BulkResult, slices: TimeSlices
    ) -> None:
        epoch = self._builder.log.epoch
        for run in runs(items):
            await slices.pause()
            unbroken = result.refusal is None and self._builder.log.epoch == epoch
            if not (unbroken and self._submit_run(origin, run, result)):
                await self._submit_each(origin, run, result, slices, epoch)

    def _submit_run(self, origin: Origin, run: list[BatchItem], result: _BulkResult) -> bool:
        """Queue a whole run and return True, or queue nothing: `_submit_each` then finds the error."""
        try:
            submissions = read_run(run)
            if submissions is None:
                return False
            submitted = self._builder.submit_all(origin, submissions, [item.position for item in run])
        except (Rejection, LogUnavailable, Overloaded):
            return False
        result.runs.append(_PendingRun(run, submissions, submitted))
        return True

    async def _submit_each(
        self, origin: Origin, run: list[BatchItem], result: _BulkResult, slices: TimeSlices, epoch: int
    ) -> None:
        for item in run:
            await slices.pause()
            try:
                check_size(item)
                submission = read_event(item.body)
                if submission.op is Op.ERASE:
                    await self._begin_erasure(origin, submission, result, slices)
                _check_unbroken(result, self._builder.log.epoch == epoch)
                submitted = self._builder.submit(origin, submission, item.position)
            except Rejection as rejection:
                result.reject(item, rejection)
            except (LogUnavailable, Overloaded) as error:
                result.refuse(item, error)
            else:
                result.events.append(_PendingEvent(item, submission, submitted))


async def settled(offset: asyncio.Future[int], slices: TimeSlices) -> None:
    """Wait for Kafka's answer while other batches are worked on."""
    if not offset.done():
        slices.leave()
        await asyncio.wait([offset])
        await slices.enter()
    await slices.pause()


def _check_unbroken(result: _BulkResult, same_epoch: bool) -> None:  # noqa: FBT001
    if result.refusal is not None or not same_epoch:
        raise LogUnavailable(NOT_WRITTEN, unknown=False)


def _reply(result: _BulkResult) -> Reply:
    answers = [result.answers[position] for position in sorted(result.answers)]
    counts = {"accepted": result.accepted, "rejected": len(answers) - result.accepted}
    return Reply(207, orjson.dumps({**counts, "items": answers}))
