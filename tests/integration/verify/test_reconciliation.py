"""The walk that looks for stored events, on a real Kafka and a real ClickHouse engine."""

import time
from collections.abc import Sequence
from typing import Any

import orjson

from schemas.identity import event_key
from schemas.tables import FEEDBACK_EVENTS
from schemas.topics import Topology
from services.reconciliation.continuous import Reconciliation
from services.sink.core.rows import event_line
from services.sink.settings import SinkSettings
from tests.support.clickhouse import tables as sql
from tests.support.eventually import eventually
from tests.support.merger.records import an_event
from tests.support.merger.state_log import write
from tests.support.sink.runs import counted, running

NAMES = ("acknowledged", "stored", "missing")


def totals() -> list[float]:
    """Return what was looked for, found and not found so far."""
    return [counted(f"reconciliation_{name}_total") for name in NAMES]


async def test_a_stored_event_that_is_gone_is_counted_once(settings: SinkSettings) -> None:
    """What is late is not, nor what is no event; a new walk continues where the last one was."""
    topology = Topology(settings.kafka_topic_generation)

    def some(first: int, number: int) -> list[tuple[bytes | None, bytes | None]]:
        events = [an_event(n, request_id=f"r{n}", data={"n": n}) for n in range(first, first + number)]
        return [(event_key("default", str(event["request_id"])), orjson.dumps(event)) for event in events]

    async def looked() -> list[float]:
        async def ask(statement: str) -> Sequence[Sequence[Any]]:
            return await sql.rows(settings, statement)

        before = totals()
        await Reconciliation(settings, event_line, 1_000, time.time).step(ask)
        return [now - then for now, then in zip(totals(), before, strict=True)]

    async with running(settings):
        await write(settings, topology.events, [(b"x/y", b"no event"), *some(0, 6)])
        count = f"SELECT count() FROM {FEEDBACK_EVENTS}"
        await eventually(lambda: _is(settings, count, 6), within=90)
    await sql.run(
        settings, f"ALTER TABLE {FEEDBACK_EVENTS} DELETE WHERE request_id = 'r4' SETTINGS mutations_sync = 2"
    )
    await write(settings, topology.events, some(6, 2))

    assert await looked() == [6, 5, 1]
    assert counted("reconciliation_age_seconds") == 0
    assert await looked() == [0, 0, 0]


async def _is(settings: SinkSettings, query: str, number: int) -> bool:
    return await sql.rows(settings, query) == [(number,)]
