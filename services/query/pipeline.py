"""Asks where the pipeline stands."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from services.query.positions import Positions
from services.query.problems import Code, Problem
from services.query.standing import Standing, standing
from services.query.store import ClickHouseStore


@dataclass(frozen=True)
class Pipeline:
    """The pipeline as it is now.  `standing` None: a server does not answer, and `problems` says which.

    `problems` is by server, `Kafka` and `ClickHouse`; None: it answers.
    """

    standing: Standing | None
    problems: dict[str, str | None]


async def pipeline(positions: Positions, store: ClickHouseStore) -> Pipeline:
    """Return how everything is now, whatever of it answers."""
    try:
        found = await stands(positions)
    except Problem as problem:
        if problem.code not in (Code.LOG_UNAVAILABLE, Code.STORE_UNAVAILABLE):
            raise
        return Pipeline(None, {"Kafka": positions.problem, "ClickHouse": store.problem})
    return Pipeline(found, {"Kafka": None, "ClickHouse": None})


async def stands(positions: Positions, seconds: float = 0.0) -> Standing:
    """Return where the pipeline stands, once all that was acknowledged before this can be queried.

    Or, after so many seconds, as it is then.  Problem when a server does not answer.
    """
    with positions.place():
        first = seen = await positions.read()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds or None):
                while seconds and not _is_past(positions, first.at):
                    seen = await positions.read()
    consumers = await positions.members()
    return standing(seen, positions.marks, positions.topology, asked_at=first.at, consumers=consumers)


def _is_past(positions: Positions, moment: datetime) -> bool:
    return positions.marks.moment is not None and positions.marks.moment >= moment
