"""Refusals of merger and sink, stored in ClickHouse: they survive restarts, and every service reads them.

A refusal that shows a log without records it once had does not end because new records pass the old end.  It
ends with another generation of the topics, or when the record of its mark is in the log again.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import structlog
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError
from prometheus_client import Gauge

from schemas.tables import DEPLOYMENTS, REFUSALS
from services.pipeline.core.continuity import LOST, ContinuityError, ContinuityProblem, HeldPosition
from services.runtime.clickhouse.client import INSERT_SETTINGS, connect
from services.runtime.kafka.core.log_mark import parse
from services.runtime.settings import ClickHouseSettings

log = structlog.get_logger()

AGAIN_SECONDS = 10.0
"""Between two looks of a service that refuses at whether it may work now."""
_CLICKHOUSE_SECONDS = 5.0
AWAY = (ClickHouseError, OSError, TimeoutError)

CURRENT = (
    f"SELECT service, kind, text, mend FROM {REFUSALS} FINAL WHERE is_over = 0"  # noqa: S608 (our names)
    f" AND generation = (SELECT max(generation) FROM {DEPLOYMENTS}) ORDER BY service, topic, partition, kind"
)
"""What is refused now in the newest generation."""


class Refusals:
    """Why one service does not work, while it waits for an operator."""

    def __init__(self, settings: ClickHouseSettings, service: str, gauge: Gauge) -> None:
        self._settings, self._service, self._gauge = settings, service, gauge
        self._problems: tuple[ContinuityProblem, ...] = ()
        self._clearing: asyncio.Task[None] | None = None
        gauge.set(0)

    def complaint(self) -> str | None:
        """Return what is refused and what ends it, or None."""
        return "; ".join(f"{problem.text} {problem.mend}" for problem in self._problems) or None

    async def note(self, error: ContinuityError, generation: int) -> None:
        """Write down why the service refuses; raise the error unless it is a log that lost records.

        Only that is fixed by something else than a restart: services move to a new generation by themselves.
        """
        if self._clearing is not None:
            await self._clearing
        await write(self._settings, self._service, generation, error.problems)
        if not all(problem.kind in LOST for problem in error.problems):
            raise error
        if error.problems != self._problems:
            for problem in error.problems:
                log.error("refused to continue", problem=problem.kind, text=problem.text, mend=problem.mend)
        self._problems = error.problems
        self._gauge.set(len(error.problems))

    def clear(self, generation: int) -> asyncio.Task[None]:
        """Note that the service works, which need not wait for ClickHouse; the task is kept here."""
        self._problems = ()
        self._gauge.set(0)
        self._clearing = asyncio.create_task(write(self._settings, self._service, generation, ()))
        return self._clearing


async def standing(client: AsyncClient, database: str, generation: int) -> list[ContinuityProblem]:
    """Return the refusals of a generation that show a log without records it once had, of any service."""
    return [problem for _, problem in await _open(client, database, generation) if problem.kind in LOST]


async def lost(settings: ClickHouseSettings, generation: int) -> list[ContinuityProblem]:
    """The same by settings; the errors of ClickHouse's client when it is away."""
    client = await connect(settings, database="default", timeout_seconds=_CLICKHOUSE_SECONDS)
    try:
        return await standing(client, settings.clickhouse_database, generation)
    finally:
        await client.close()


async def write(
    settings: ClickHouseSettings, service: str, generation: int, problems: Iterable[ContinuityProblem]
) -> None:
    """Make these the refusals of a service; a ClickHouse that is away, or has no such table, is logged."""
    try:
        async with asyncio.timeout(2 * _CLICKHOUSE_SECONDS):
            await _write(settings, service, generation, tuple(problems))
    except AWAY as error:
        log.warning("refusals not written", reason=repr(error)[:300])


async def _write(
    settings: ClickHouseSettings, service: str, generation: int, problems: Sequence[ContinuityProblem]
) -> None:
    database = settings.clickhouse_database
    client = await connect(settings, database="default", timeout_seconds=_CLICKHOUSE_SECONDS)
    try:
        found = await _open(client, database, generation)
        before = {_key(problem): problem for owner, problem in found if owner == service}
        now = {_key(problem): problem for problem in problems}
        lines = [
            orjson.dumps(_row(service, generation, problem, is_over=is_over))
            for ours, others, is_over in ((now, before, 0), (before, now, 1))
            for key, problem in ours.items()
            if key not in others
        ]
        if lines:
            await client.raw_insert(
                f"{database}.{REFUSALS}", None, b"\n".join(lines), dict(INSERT_SETTINGS), "JSONEachRow"
            )
    finally:
        await client.close()


def _key(problem: ContinuityProblem) -> tuple[str, str, str, int]:
    one = problem.position
    return (problem.kind, one.holder, one.topic, one.partition) if one else (problem.kind, "", "", 0)


def _row(service: str, generation: int, problem: ContinuityProblem, *, is_over: int) -> dict[str, Any]:
    kind, holder, topic, partition = _key(problem)
    return {
        "generation": generation,
        "service": service,
        "kind": kind,
        "holder": holder,
        "topic": topic,
        "partition": partition,
        "position": problem.position.offset if problem.position else 0,
        "mark": str((problem.position and problem.position.mark) or ""),
        "text": problem.text,
        "mend": problem.mend,
        "is_over": is_over,
    }


async def _open(client: AsyncClient, database: str, generation: int) -> list[tuple[str, ContinuityProblem]]:
    exists = await client.query(
        "SELECT count() FROM system.tables WHERE database = {database:String} AND name = {table:String}",
        {"database": database, "table": REFUSALS},
    )
    if not exists.result_rows[0][0]:
        return []
    found = await client.query(
        "SELECT service, kind, text, mend, holder, topic, partition, position, mark"  # noqa: S608
        f" FROM {database}.{REFUSALS} FINAL WHERE generation = {generation} AND is_over = 0"
    )
    return [
        (service, ContinuityProblem(kind, text, mend, _position(*held)))
        for service, kind, text, mend, *held in found.result_rows
    ]


def _position(holder: str, topic: str, partition: int, offset: int, mark: str) -> HeldPosition | None:
    return HeldPosition(holder, topic, partition, offset, parse(mark)) if holder else None
