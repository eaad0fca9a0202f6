"""Waits until an event has passed all stages, and tells what became of it."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from schemas.identity import event_key, split_version, version_of
from services.pipeline.core.barrier import EventBarrier
from services.query.core.problems import Code, Fault, Problem, invalid
from services.query.core.waits import Wait
from services.query.metrics import WAIT_SECONDS, WAITS
from services.query.positions import Positions
from services.query.reads.core.outcomes import NO_EVENT, Became, Outcome, outcome_of, pending, surely_given_up
from services.query.reads.requests import Evidence, evidence
from services.query.store import Store

_NO_KAFKA = "Kafka does not answer, so the outcome is not known"


@dataclass(frozen=True)
class Answer:
    """The row as it is now, None where there is none, and what became of the event that was asked about.

    `reached`: the row has everything of the request up to the event, whatever became of that.
    """

    row: dict[str, Any] | None
    became: Became
    reached: bool

    def members(self) -> dict[str, Any]:
        """Return what is said beside the row."""
        return {
            "reached": self.reached,
            "outcome": self.became.outcome,
            "outcome_reason": self.became.reason,
            "outcome_detail": self.became.detail,
        }


async def answer(store: Store, positions: Positions, tenant: str, request_id: str, wait: Wait) -> Answer:
    """Return the row once the event has passed everything, or the time is over; raise Problem.

    While Kafka does not answer, what ClickHouse tells by itself is told, and else the outcome is pending.
    """
    began = time.monotonic()
    current = positions.topology.generation
    if wait.generation < current:
        found = _of_the_past(await evidence(store, tenant, request_id), wait.version, current)
    else:
        found = await _waited(store, positions, tenant, request_id, wait)
        WAIT_SECONDS.observe(time.monotonic() - began)
    WAITS.labels(found.became.outcome).inc()
    return found


async def _waited(store: Store, positions: Positions, tenant: str, request_id: str, wait: Wait) -> Answer:
    barrier = EventBarrier(event_key(tenant, request_id), wait.offset, generation=wait.generation)
    trouble = ""
    try:
        async with asyncio.timeout(wait.seconds or None):
            with positions.waiter(tenant):
                while not barrier.is_decided:
                    barrier, trouble = await _looked(positions, barrier)
                    if barrier.is_beyond:
                        raise _beyond(wait.version)
                    if not wait.seconds or positions.is_closed:
                        break
    except TimeoutError:
        # Before the first look, maybe: a Kafka that did not answer is not asked again at once.
        if positions.problem is not None:
            trouble = _NO_KAFKA
    stored = await evidence(store, tenant, request_id)
    return _told(stored, barrier, wait, trouble)


async def _looked(positions: Positions, barrier: EventBarrier) -> tuple[EventBarrier, str]:
    """Return the barrier after another look, and what keeps us from looking, in words."""
    try:
        return barrier.after(await positions.read()), ""
    except Problem as problem:
        if problem.code is not Code.LOG_UNAVAILABLE:
            raise
        return barrier, _NO_KAFKA


def _told(stored: Evidence, barrier: EventBarrier, wait: Wait, trouble: str) -> Answer:
    row_version, version = stored.row_version, wait.version
    consumed = version_of(wait.generation, 0) + barrier.consumed
    if barrier.is_decided:
        became = outcome_of(
            version, stored.events, stored.letters, row_version=row_version, consumed=consumed
        )
    else:
        sure = surely_given_up(version, stored.events, stored.letters, consumed)
        became = sure or pending(trouble or barrier.waits_for)
    return Answer(stored.row, became, barrier.is_reached or _has(row_version, version))


def _of_the_past(stored: Evidence, version: int, current: int) -> Answer:
    """Tell of an event of an earlier generation of the topics, of which nothing will be stored any more."""
    became = outcome_of(version, stored.events, stored.letters, row_version=stored.row_version)
    reached = _has(stored.row_version, version)
    if became is NO_EVENT and not reached:
        generation = split_version(version)[0]
        became = pending(
            f"it is of generation {generation} of the topics, and the pipeline now works on {current}: "
            "what was not stored before will not be"
        )
    return Answer(stored.row, became, reached or became.outcome is not Outcome.PENDING)


def _has(row_version: int | None, version: int) -> bool:
    return row_version is not None and row_version >= version


def _beyond(version: int) -> Problem:
    return invalid(
        Fault(
            "min_version", f"the log has not come to {version}: no acknowledgement of this request named it"
        )
    )
