"""The pipeline as pages and `/v1/watermark` report it: lag, watermark, refusals, servers that are down."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from services.pipeline.core.watermark import PipelineStatus, pipeline_status
from services.pipeline.refusals import CURRENT
from services.query.core.problems import ProblemCode, QueryProblem
from services.query.positions import Positions
from services.query.store import ClickHouseStore
from services.runtime.clickhouse.core.statement import Statement


class ServiceRefusal(NamedTuple):
    """Why a service does not work, and what fixes that."""

    service: str
    text: str
    mend: str


@dataclass(frozen=True)
class PipelineReport:
    """The pipeline as it is now.  `status` None: a server does not answer, and `problems` names it.

    `problems` is by server, `Kafka` and `ClickHouse`; None: it answers.
    """

    status: PipelineStatus | None
    problems: dict[str, str | None]
    refusals: Sequence[ServiceRefusal] = ()
    """Why merger or sink do not work."""


async def pipeline(positions: Positions, store: ClickHouseStore) -> PipelineReport:
    """Return the pipeline as it is now, also while servers do not answer."""
    refusals = await _refusals(store)
    try:
        status = await read_status(positions)
    except QueryProblem as problem:
        if problem.code not in (ProblemCode.LOG_UNAVAILABLE, ProblemCode.STORE_UNAVAILABLE):
            raise
        return PipelineReport(None, {"Kafka": positions.problem, "ClickHouse": store.problem}, refusals)
    return PipelineReport(status, {"Kafka": None, "ClickHouse": None}, refusals)


async def _refusals(store: ClickHouseStore) -> list[ServiceRefusal]:
    """Return why merger or sink do not work; nothing while ClickHouse does not answer."""
    with suppress(QueryProblem):
        rows = await store.rows(Statement(CURRENT))
        return [ServiceRefusal(row["service"], row["text"], row["mend"]) for row in rows]
    return []


async def read_status(positions: Positions, seconds: float = 0.0) -> PipelineStatus:
    """Return the status once all that was acknowledged before the call can be queried.

    After `seconds` it is returned as it is then.  QueryProblem when a server does not answer.
    """
    with positions.waiter():
        first = snapshot = await positions.read()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds or None):
                while seconds and not positions.is_closed and not _is_past(positions, first.at):
                    snapshot = await positions.read()
    consumers = await positions.members()
    return pipeline_status(
        snapshot, positions.watermark, positions.topology, asked_at=first.at, consumers=consumers
    )


def _is_past(positions: Positions, moment: datetime) -> bool:
    return positions.watermark.moment is not None and positions.watermark.moment >= moment
