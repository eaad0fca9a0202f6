"""Asks where the pipeline stands."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from services.pipeline.refusals import CURRENT
from services.query.core.problems import Code, Problem
from services.query.core.standing import Standing, standing
from services.query.positions import Positions
from services.query.store import ClickHouseStore
from services.runtime.clickhouse.core.statement import Statement


class Refusal(NamedTuple):
    """What a service refuses, and what ends it."""

    service: str
    text: str
    mend: str


@dataclass(frozen=True)
class Pipeline:
    """The pipeline as it is now.  `standing` None: a server does not answer, and `problems` says which.

    `problems` is by server, `Kafka` and `ClickHouse`; None: it answers.
    """

    standing: Standing | None
    problems: dict[str, str | None]
    refusals: Sequence[Refusal] = ()
    """Why merger or sink do not work."""


async def pipeline(positions: Positions, store: ClickHouseStore) -> Pipeline:
    """Return how everything is now, whatever of it answers."""
    refusals = await _refusals(store)
    try:
        found = await stands(positions)
    except Problem as problem:
        if problem.code not in (Code.LOG_UNAVAILABLE, Code.STORE_UNAVAILABLE):
            raise
        return Pipeline(None, {"Kafka": positions.problem, "ClickHouse": store.problem}, refusals)
    return Pipeline(found, {"Kafka": None, "ClickHouse": None}, refusals)


async def _refusals(store: ClickHouseStore) -> list[Refusal]:
    """Return why merger or sink do not work, nothing while ClickHouse does not answer."""
    with suppress(Problem):
        rows = await store.rows(Statement(CURRENT))
        return [Refusal(row["service"], row["text"], row["mend"]) for row in rows]
    return []


async def stands(positions: Positions, seconds: float = 0.0) -> Standing:
    """Return where the pipeline stands, once all that was acknowledged before this can be queried.

    Or, after so many seconds, as it is then.  Problem when a server does not answer.
    """
    with positions.place():
        first = seen = await positions.read()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds or None):
                while seconds and not positions.is_closed and not _is_past(positions, first.at):
                    seen = await positions.read()
    consumers = await positions.members()
    return standing(seen, positions.marks, positions.topology, asked_at=first.at, consumers=consumers)


def _is_past(positions: Positions, moment: datetime) -> bool:
    return positions.marks.moment is not None and positions.marks.moment >= moment
