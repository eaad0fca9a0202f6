"""Carries out changed retentions: what deletes nothing at once, the rest once somebody agrees to the loss."""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from clickhouse_connect.driver.asyncclient import AsyncClient

from schemas.tables import FEEDBACK_STATE
from schemas.topics import Topology
from services.operations.migrate import topics
from services.operations.migrate.core.plan import Existing
from services.operations.migrate.core.retention import (
    RETENTION,
    TIMES,
    TOMBSTONES,
    Change,
    table_changes,
    topic_changes,
)
from services.operations.migrate.settings import MigrateSettings
from services.runtime.kafka.clients import connect, consumer
from services.runtime.settings import KafkaSettings

Agree = Callable[[str], bool]
"""Asked before anything is deleted: is told what, and answers whether it may be."""


class Kept(NamedTuple):
    """A change, whether it was made, and what it deletes."""

    change: Change
    made: bool
    loss: str = ""


async def keep_topics(
    admin: AIOKafkaAdminClient,
    client: AsyncClient,
    settings: MigrateSettings,
    topology: Topology,
    existing: dict[str, Existing],
    agree: Agree,
) -> AsyncIterator[Kept]:
    """Change the retention of topics as the settings say."""
    for change in topic_changes(settings.given(), topology, existing):
        found = existing[change.place]
        loss = ""
        if change.deletes:
            loss = await _loss(client, settings, change, found, is_state=change.place == topology.state.name)
        made = not loss or agree(f"{change.text}: {loss}.")
        if made:
            await topics.alter(admin, found, {change.setting: str(change.after)})
            # The next change of the same topic adds to this one.
            overrides = {**found.overrides, change.setting: str(change.after)}
            existing[change.place] = replace(found, overrides=overrides)
        yield Kept(change, made, loss)


async def keep_tables(client: AsyncClient, settings: MigrateSettings, agree: Agree) -> AsyncIterator[Kept]:
    """Change the retention of tables as the settings say; ClickHouse deletes old rows by and by."""
    for change in table_changes(settings.given(), await _engines(client)):
        loss = ""
        if change.deletes:
            rows = await _count(client, change.place, TIMES[change.place], change.after)
            loss = _told(rows, "rows are older and are deleted")
        made = not loss or agree(f"{change.text}: {loss}.")
        if made:
            await client.command(change.statement)
        yield Kept(change, made, loss)


async def _loss(
    client: AsyncClient, settings: KafkaSettings, change: Change, found: Existing, *, is_state: bool
) -> str:
    if change.setting == TOMBSTONES:
        return "a merger or sink that was away for longer misses what was deleted meanwhile"
    if is_state and change.setting == RETENTION:
        rows = await _count(client, f"{FEEDBACK_STATE} FINAL", "last_received_at", change.after)
        return (
            f"{rows:,} requests have no newer event, and the merger removes them everywhere" if rows else ""
        )
    records = await _older(settings, found, _now_ms() - change.after)
    return _told(records, "records are older and are deleted")


def _told(count: int, what: str) -> str:
    """Return what is lost, in words; nothing where that is nothing."""
    return f"{count:,} {what}" if count else ""


async def _older(settings: KafkaSettings, found: Existing, before_ms: int) -> int:
    """Return how many records of a topic were appended before a time."""
    places = [TopicPartition(found.name, number) for number in range(found.partitions)]
    asking = consumer(settings, "afterword-migrate")
    try:
        await connect(asking)
        starts = await asking.beginning_offsets(places)
        ends = await asking.end_offsets(places)
        firsts = await asking.offsets_for_times(dict.fromkeys(places, before_ms))
    finally:
        await asking.stop()
    kept = {place: first.offset if (first := firsts[place]) else ends[place] for place in places}
    return sum(max(0, kept[place] - starts[place]) for place in places)


async def _engines(client: AsyncClient) -> dict[str, str]:
    answer = await client.query(
        "SELECT name, engine_full FROM system.tables"
        " WHERE database = currentDatabase() AND name IN {names:Array(String)}",
        {"names": [*TIMES]},
    )
    return {name: engine for name, engine in answer.result_rows}  # noqa: C416 (rows are sequences)


async def _count(client: AsyncClient, table: str, column: str, milliseconds: int) -> int:
    answer = await client.query(
        f"SELECT count() FROM {table} WHERE {column} < now() - toIntervalSecond({milliseconds // 1000})"  # noqa: S608
    )
    return int(answer.result_rows[0][0])


def _now_ms() -> int:
    return int(time.time() * 1000)
