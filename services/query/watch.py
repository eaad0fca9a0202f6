"""Asks the store, whoever else does, whether it is there: a service that nobody has asked yet is ready."""

import asyncio
from collections.abc import Iterator

from schemas.tables import FEEDBACK_STATE
from services.query.core.problems import Problem
from services.query.store import Store
from services.runtime.clickhouse.core.statement import Statement
from services.runtime.core.backoff import delays

STEADY_SECONDS = 2.0
"""Between two looks at a store that answers."""

QUESTION = Statement(f"SELECT revision FROM {FEEDBACK_STATE} LIMIT 0")


async def watch(store: Store) -> None:
    """Look at the store for as long as this runs; it notes by itself what is wrong with it."""
    tries = _tries()
    while True:
        try:
            await store.rows(QUESTION)
        except Problem:
            await asyncio.sleep(next(tries))
        else:
            tries = _tries()
            await asyncio.sleep(STEADY_SECONDS)


def _tries() -> Iterator[float]:
    return delays(first=0.2, longest=STEADY_SECONDS)
