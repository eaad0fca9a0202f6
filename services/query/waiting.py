"""Waits until an event has passed all stages (`min_version`, `wait`), and returns its outcome."""

import asyncio
import re
import time
from dataclasses import dataclass
from typing import Any

from schemas.identity import event_key, split_version, version_of
from services.pipeline.core.barrier import EventBarrier
from services.query.core.problems import ParamFault, ProblemCode, QueryProblem, invalid
from services.query.metrics import WAIT_SECONDS, WAITS
from services.query.positions import Positions
from services.query.reads.core.history import (
    NO_EVENT,
    EventOutcome,
    EventResult,
    known_dead_lettered,
    outcome_of,
    pending,
)
from services.query.reads.history import StoredHistory, stored_history
from services.query.store import QueryStore

_DURATION = re.compile(r"([0-9]{1,9}(?:[.][0-9]{1,9})?)(ms|s)", re.ASCII)
_VERSION = re.compile(r"[0-9]{1,20}", re.ASCII)

NOT_A_DURATION = "a number of seconds or milliseconds with its unit, such as 2s or 500ms"
NOT_A_VERSION = "the `version` of an acknowledgement: a whole number below 2^64"


@dataclass(frozen=True)
class Wait:
    """The version of the event to wait for, and the longest wait in seconds."""

    version: int
    seconds: float

    @property
    def generation(self) -> int:
        """The topic generation of the event."""
        return split_version(self.version)[0]

    @property
    def offset(self) -> int:
        """The offset of the event in that generation."""
        return split_version(self.version)[1]


def parse_version(text: str) -> int:
    """Return the version in a text; raise QueryProblem if it is not one."""
    if not _VERSION.fullmatch(text) or int(text) >= 2**64:
        raise invalid(ParamFault("min_version", NOT_A_VERSION))
    return int(text)


def parse_wait(text: str, most: float) -> float:
    """Return the seconds of a duration; raise QueryProblem if it is invalid or longer than `most` seconds."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise invalid(ParamFault("wait", NOT_A_DURATION))
    seconds = float(match[1]) / (1000 if match[2] == "ms" else 1)
    if seconds > most:
        raise invalid(ParamFault("wait", f"at most {most:g}s here; ask again to wait longer"))
    return seconds


def check_generation(wait: Wait, current: int) -> None:
    """Raise QueryProblem for a version of a later topic generation than `current`."""
    if wait.generation > current:
        raise invalid(
            ParamFault(
                "min_version",
                f"it belongs to topic generation {wait.generation}, and this service reads generation "
                f"{current}: no acknowledgement of this installation contains it",
            )
        )


_NO_KAFKA = "Kafka is unreachable, so the outcome is unknown"


@dataclass(frozen=True)
class WaitAnswer:
    """The current row, None if there is none, and the outcome of the event.

    `reached`: the row contains everything of the request up to the event, whatever its outcome.
    """

    row: dict[str, Any] | None
    result: EventResult
    reached: bool

    def members(self) -> dict[str, Any]:
        """Return the members that are added to the row."""
        return {
            "reached": self.reached,
            "outcome": self.result.outcome,
            "outcome_reason": self.result.reason,
            "outcome_detail": self.result.detail,
        }


async def answer(
    store: QueryStore, positions: Positions, tenant: str, request_id: str, wait: Wait
) -> WaitAnswer:
    """Return the row once the event has passed all stages, or after the longest wait; raise QueryProblem.

    While Kafka is unreachable, the outcome is `pending` unless ClickHouse alone determines it.
    """
    began = time.monotonic()
    current = positions.topology.generation
    if wait.generation < current:
        waited = _earlier_generation(await stored_history(store, tenant, request_id), wait.version, current)
    else:
        waited = await _waited(store, positions, tenant, request_id, wait)
        WAIT_SECONDS.observe(time.monotonic() - began)
    WAITS.labels(waited.result.outcome).inc()
    return waited


async def _waited(
    store: QueryStore, positions: Positions, tenant: str, request_id: str, wait: Wait
) -> WaitAnswer:
    barrier = EventBarrier(event_key(tenant, request_id), wait.offset, generation=wait.generation)
    trouble = ""
    try:
        async with asyncio.timeout(wait.seconds or None):
            with positions.waiter(tenant):
                while not barrier.is_decided:
                    barrier, trouble = await _updated(positions, barrier)
                    if barrier.is_beyond:
                        raise _beyond(wait.version)
                    if not wait.seconds or positions.is_closed:
                        break
    except TimeoutError:
        # Perhaps before the first reading: an unreachable Kafka is not asked again at once.
        if positions.problem is not None:
            trouble = _NO_KAFKA
    stored = await stored_history(store, tenant, request_id)
    return _answer_of(stored, barrier, wait, trouble)


async def _updated(positions: Positions, barrier: EventBarrier) -> tuple[EventBarrier, str]:
    """Return the barrier after another reading of positions, and why they could not be read, if so."""
    try:
        return barrier.after(await positions.read()), ""
    except QueryProblem as problem:
        if problem.code is not ProblemCode.LOG_UNAVAILABLE:
            raise
        return barrier, _NO_KAFKA


def _answer_of(stored: StoredHistory, barrier: EventBarrier, wait: Wait, trouble: str) -> WaitAnswer:
    row_version, version = stored.row_version, wait.version
    consumed = version_of(wait.generation, 0) + barrier.consumed
    if barrier.is_decided:
        became = outcome_of(
            version, stored.events, stored.letters, row_version=row_version, consumed=consumed
        )
    else:
        sure = known_dead_lettered(version, stored.events, stored.letters, consumed)
        became = sure or pending(trouble or barrier.waits_for)
    return WaitAnswer(stored.row, became, barrier.is_reached or _has(row_version, version))


def _earlier_generation(stored: StoredHistory, version: int, current: int) -> WaitAnswer:
    """Return the answer for an event of an earlier topic generation, of which nothing more will be stored."""
    became = outcome_of(version, stored.events, stored.letters, row_version=stored.row_version)
    reached = _has(stored.row_version, version)
    if became is NO_EVENT and not reached:
        generation = split_version(version)[0]
        became = pending(
            f"it belongs to topic generation {generation}, and the pipeline now uses {current}: "
            "what is not stored yet will not be"
        )
    return WaitAnswer(stored.row, became, reached or became.outcome is not EventOutcome.PENDING)


def _has(row_version: int | None, version: int) -> bool:
    return row_version is not None and row_version >= version


def _beyond(version: int) -> QueryProblem:
    return invalid(
        ParamFault(
            "min_version", f"the log does not reach {version}: no acknowledgement of this request contains it"
        )
    )
