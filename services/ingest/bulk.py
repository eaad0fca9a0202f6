"""Requests that carry many events: each is judged alone, all are awaited together."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from schemas.events import Op
from services.ingest.accumulator import NOT_WRITTEN
from services.ingest.core.content import Item, check_size, read_run, runs
from services.ingest.core.errors import Rejection, error_of
from services.ingest.core.event import unread
from services.ingest.dialects.dialect import Reply, Submission
from services.ingest.dialects.native import read_event
from services.ingest.erase_log import EraseLog
from services.ingest.event_builder import Flight, Intake, Origin, Submitted
from services.ingest.event_log import LogUnavailable, Overloaded, Stretch, rejection_of
from services.ingest.fair_queue import Desk, Turns
from services.ingest.metrics import REJECTED
from services.runtime.http.keys import Scope


class _Waiting(NamedTuple):
    item: Item
    submission: Submission
    submitted: Submitted


class _Flying(NamedTuple):
    """A run that was queued at once."""

    run: list[Item]
    submissions: list[Submission]
    flight: Flight


@dataclass
class _Outcome:
    waiting: list[_Waiting] = field(default_factory=list)
    flying: list[_Flying] = field(default_factory=list)
    answers: dict[int, dict[str, Any]] = field(default_factory=dict)
    accepted: int = 0
    erasing: list[str] = field(default_factory=list)
    """Requests that are to be erased, or were to be without the right to."""
    refusal: Rejection | None = None
    """The latest reason for which the log did not take an event."""

    def reject(self, item: Item, rejection: Rejection) -> None:
        REJECTED.labels(rejection.code).inc()
        self.answers[item.place] = {"index": item.place, "status": "rejected", "error": error_of(rejection)}

    def refuse(self, item: Item, error: LogUnavailable | Overloaded) -> None:
        self.refusal = rejection_of(error)
        self.reject(item, self.refusal)

    def accept(self, item: Item, submission: Submission, event_id: str, version: int | None) -> None:
        self.accepted += 1
        place = item.place
        answer = self.answers[place] = {
            "index": place,
            "status": "accepted",
            "request_id": submission.request_id,
            "event_id": event_id,
        }
        if version is not None:
            answer["version"] = str(version)
        if warnings := unread(submission.request):
            answer["warnings"] = warnings

    def accept_all(self, flying: _Flying, stretch: Stretch, first_version: int | None) -> None:
        event_ids = flying.flight.event_ids
        for version, index in enumerate(stretch.places, first_version or 0):
            known = None if first_version is None else version
            self.accept(flying.run[index], flying.submissions[index], event_ids[index], known)


class Batches:
    """Takes many events.

    As soon as the log refuses one, or gives one up, the rest is refused too: so no event of a request
    can overtake an earlier one of the same batch, and the caller can send them again in order.
    """

    def __init__(self, intake: Intake, erase_log: EraseLog) -> None:
        self._intake, self._erase_log = intake, erase_log
        self._desk = Desk()

    async def take(self, origin: Origin, items: list[Item]) -> Reply:
        """Publish what is valid, and answer item by item; raise Rejection if the log took none at all."""
        outcome = _Outcome()
        turns = Turns(self._desk, origin.caller.tenant)
        async with turns:
            await self._submit_all(origin, items, outcome, turns)
        async with turns:
            await self._hear_of_all(origin, outcome, turns)
        await self._end_erasures(origin, outcome)
        if outcome.refusal is not None and not outcome.accepted:
            raise outcome.refusal
        return _reply(outcome)

    async def _note(self, origin: Origin, submission: Submission, outcome: _Outcome, turns: Turns) -> None:
        """Have the audit log say that erasing begins, before the first event that does; raise Rejection."""
        if not outcome.erasing and origin.caller.may(Scope.ADMIN):
            turns.leave()
            try:
                await self._erase_log.begun(origin.caller)
            finally:
                await turns.enter()
        outcome.erasing.append(submission.request_id)

    async def _end_erasures(self, origin: Origin, outcome: _Outcome) -> None:
        if not outcome.erasing:
            return
        if not origin.caller.may(Scope.ADMIN):
            await self._erase_log.refused(origin.caller, outcome.erasing)
            return
        ended = "done" if outcome.refusal is None else "failed"
        await self._erase_log.ended(ended, origin.caller, outcome.erasing)

    async def _hear_of_all(self, origin: Origin, outcome: _Outcome, turns: Turns) -> None:
        for flying in outcome.flying:
            for stretch in flying.flight.stretches:
                await _settled(stretch.first, turns)
                await self._hear_of_stretch(origin, flying, stretch, outcome)
        for one in outcome.waiting:
            await _settled(one.submitted.offset, turns)
            try:
                version = await self._intake.version(origin, one.submission, one.submitted)
            except (LogUnavailable, Overloaded) as error:
                outcome.refuse(one.item, error)
            else:
                outcome.accept(one.item, one.submission, one.submitted.event_id, version)

    async def _hear_of_stretch(
        self, origin: Origin, flying: _Flying, stretch: Stretch, outcome: _Outcome
    ) -> None:
        try:
            first_version = await self._intake.first_version(origin, flying.flight, stretch)
        except (LogUnavailable, Overloaded) as error:
            for index in stretch.places:
                outcome.refuse(flying.run[index], error)
        else:
            outcome.accept_all(flying, stretch, first_version)

    async def _submit_all(self, origin: Origin, items: list[Item], outcome: _Outcome, turns: Turns) -> None:
        epoch = self._intake.log.epoch
        for run in runs(items):
            await turns.pause()
            unbroken = outcome.refusal is None and self._intake.log.epoch == epoch
            if not (unbroken and self._submit_at_once(origin, run, outcome)):
                await self._submit_each(origin, run, outcome, turns, epoch)

    def _submit_at_once(self, origin: Origin, run: list[Item], outcome: _Outcome) -> bool:
        """Queue a whole run, or nothing: then it is told event by event what is the matter."""
        try:
            submissions = read_run(run)
            if submissions is None:
                return False
            flight = self._intake.submit_all(origin, submissions, [item.place for item in run])
        except (Rejection, LogUnavailable, Overloaded):
            return False
        outcome.flying.append(_Flying(run, submissions, flight))
        return True

    async def _submit_each(
        self, origin: Origin, run: list[Item], outcome: _Outcome, turns: Turns, epoch: int
    ) -> None:
        for item in run:
            await turns.pause()
            try:
                check_size(item)
                submission = read_event(item.body)
                if submission.op is Op.ERASE:
                    await self._note(origin, submission, outcome, turns)
                _check_unbroken(outcome, self._intake.log.epoch == epoch)
                submitted = self._intake.submit(origin, submission, item.place)
            except Rejection as rejection:
                outcome.reject(item, rejection)
            except (LogUnavailable, Overloaded) as error:
                outcome.refuse(item, error)
            else:
                outcome.waiting.append(_Waiting(item, submission, submitted))


async def _settled(offset: asyncio.Future[int], turns: Turns) -> None:
    """Wait for Kafka's answer while others work."""
    if not offset.done():
        turns.leave()
        await asyncio.wait([offset])
        await turns.enter()
    await turns.pause()


def _check_unbroken(outcome: _Outcome, same_epoch: bool) -> None:  # noqa: FBT001
    if outcome.refusal is not None or not same_epoch:
        raise LogUnavailable(NOT_WRITTEN, unknown=False)


def _reply(outcome: _Outcome) -> Reply:
    answers = [outcome.answers[index] for index in sorted(outcome.answers)]
    counts = {"accepted": outcome.accepted, "rejected": len(answers) - outcome.accepted}
    return Reply(207, orjson.dumps({**counts, "items": answers}))
