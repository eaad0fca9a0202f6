"""Topics and tables for tests of `afterword rebuild`: a log with all kinds of records, and calls of it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from schemas.deadletters import headers_of
from schemas.identity import event_key
from schemas.topics import Topic, Topology
from services.operations.rebuild.settings import RebuildSettings
from services.pipeline.survey import admin
from services.runtime.settings import MASK, describe
from services.sink.settings import SinkSettings
from tests.support.clickhouse import tables
from tests.support.merger.state_log import write
from tests.support.operations.command import afterword
from tests.support.sink.doubles import EVENT, LETTER

SECOND_RATER: dict[str, Any] = {
    "event_id": "01890a5d-ac96-774b-bcce-b302099a8058",
    "data": {"rating": 2, "ü": None, "user_id": "ann"},
}
TABLES = ("feedback_events", "dead_letters", "feedback_state")


def environ(settings: SinkSettings, home: Path) -> dict[str, str]:
    """Return the variables that lead the command to the same servers, topics and tables."""
    known = {name.upper() for name in RebuildSettings.model_fields}
    given = {one.variable: one.value for one in describe(settings) if one.variable in known}
    return {
        **{name: value for name, value in given.items() if value != MASK},
        "AFTERWORD_HOME": str(home),
    }


async def rebuild(variables: dict[str, str], *arguments: str, expect: int = 0) -> str:
    """Call `afterword rebuild`; what it printed, errors behind the rest."""
    ended = await asyncio.to_thread(afterword, "rebuild", *arguments, environ=variables)
    assert ended.code == expect, ended.out + ended.err
    return ended.out + ended.err


def a_state(tenant: str, request_id: str, **fields: Any) -> tuple[bytes, bytes]:
    """Return a record of the state topic."""
    value = {
        "tenant": tenant,
        "request_id": request_id,
        "version": 1,
        "first_received_at": "2026-11-22T08:00:00.000001Z",
        "last_received_at": "2026-11-22T08:00:00.000001Z",
        "sources": ["native"],
        "data": {"rating": 5, "nested": {"a": ["ü", None, 1e-05]}},
        "request": {},
        **fields,
    }
    return event_key(tenant, request_id), orjson.dumps(value)


def an_event(tenant: str, request_id: str, **fields: Any) -> tuple[bytes, bytes]:
    """Return a record of the events topic."""
    body = {**EVENT, "tenant": tenant, "request_id": request_id, **fields}
    return event_key(tenant, request_id), orjson.dumps(body)


def a_letter(tenant: str, request_id: str) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
    """Return a record of a dead-letter topic."""
    return event_key(tenant, request_id), b"\xff poison", headers_of(LETTER)


async def fill(settings: SinkSettings, tenants: Sequence[str] = ("acme", "other"), count: int = 40) -> None:
    """Write a log: states (some twice, some erased), events of two raters, dead letters of each tenant."""
    topology = Topology(settings.kafka_topic_generation)
    ids = [(tenant, f"r{number}") for tenant in tenants for number in range(count)]
    await write(settings, topology.events, [an_event(*one) for one in ids])
    second = {**SECOND_RATER, "item_id": "score-1", "at": "2026-11-22T07:59:58.250000Z"}
    await write(settings, topology.events, [an_event(*one, **second) for one in ids])
    states = [a_state(*one) for one in ids] + [a_state(*one, data={"rating": 1}) for one in ids[::3]]
    gone: list[tuple[bytes, bytes | None]] = [(event_key(*one), None) for one in ids[::10]]
    await write(settings, topology.state, [*states, *gone], transactional=True)
    await write(settings, topology.events_dlq, [a_letter(*one) for one in ids[:5]])


async def delete_records(settings: SinkSettings, topic: Topic, before: dict[int, int]) -> None:
    """Let a topic's partitions begin at later offsets, as retention does."""
    places = {TopicPartition(topic.name, number): RecordsToDelete(at) for number, at in before.items()}
    async with admin(settings, "test") as client:
        await client.delete_records(places)


async def content(settings: SinkSettings, table: str, where: str = "1") -> list[tuple[Any, ...]]:
    """Return all that a table says, but for when it was stored."""
    names = [
        name
        for (name,) in await tables.rows(
            settings,
            "SELECT name FROM system.columns WHERE database = currentDatabase()"
            f" AND table = '{table}' AND default_kind NOT IN ('EPHEMERAL', 'ALIAS') AND name != 'stored_at'",
        )
    ]
    return await tables.rows(
        settings, f"SELECT {', '.join(names)} FROM {table} FINAL WHERE {where} ORDER BY ALL"
    )


async def contents(settings: SinkSettings, where: str = "1") -> dict[str, list[tuple[Any, ...]]]:
    """Return what each table says."""
    return {table: await content(settings, table, where) for table in TABLES}


async def raters(settings: SinkSettings, where: str) -> list[tuple[Any, ...]]:
    """Return the latest values of the raters, and how far they agree."""
    asked = (
        "SELECT * FROM feedback_raters WHERE {0} ORDER BY ALL",
        "SELECT * FROM feedback_agreement WHERE {0} ORDER BY ALL",
    )
    return [row for query in asked for row in await tables.rows(settings, query.format(where))]


async def raw(settings: SinkSettings, table: str, where: str) -> list[tuple[Any, ...]]:
    """Return some rows whole, down to when each was stored."""
    return await tables.rows(settings, f"SELECT * FROM {table} FINAL WHERE {where} ORDER BY ALL")
