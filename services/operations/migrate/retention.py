"""Applies changed retentions: those that delete data only once that is confirmed."""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from clickhouse_connect.driver.asyncclient import AsyncClient

from schemas.tables import FEEDBACK_STATE
from schemas.topics import Topology
from services.operations.migrate.core.plan import ExistingTopic
from services.operations.migrate.core.retention import (
    RETENTION,
    TIMES,
    TOMBSTONES,
    RetentionChange,
    table_changes,
    topic_changes,
)
from services.operations.migrate.servers import alter_topic
from services.operations.migrate.settings import MigrateSettings
from services.runtime.kafka.clients import connect, consumer
from services.runtime.settings import KafkaSettings

Agree = Callable[[str], bool]
"""Takes what would be deleted, returns whether that is confirmed."""


class RetentionOutcome(NamedTuple):
    """A change, whether it was made, and what it deletes."""

    change: RetentionChange
    made: bool
    loss: str = ""


async def keep_topics(
    admin: AIOKafkaAdminClient,
    client: AsyncClient,
    settings: MigrateSettings,
    topology: Topology,
    existing: dict[str, ExistingTopic],
    agree: Agree,
) -> AsyncIterator[RetentionOutcome]:
    """Change the retention of topics to the settings."""
    for change in topic_changes(settings.given(), topology, existing):
        found = existing[change.place]
        loss = ""
        if change.deletes:
            loss = await _loss(client, settings, change, found, is_state=change.place == topology.state.name)
        made = not loss or agree(f"{change.text}: {loss}.")
        if made:
            await alter_topic(admin, found, {change.setting: str(change.after)})
            # The next change of the same topic adds to this one.
            overrides = {**found.overrides, change.setting: str(change.after)}
            existing[change.place] = replace(found, overrides=overrides)
        yield RetentionOutcome(change, made, loss)


async def keep_tables(
    client: AsyncClient, settings: MigrateSettings, agree: Agree
) -> AsyncIterator[RetentionOutcome]:
    """Change the retention of tables to the settings; ClickHouse deletes old rows later, in merges."""
    for change in table_changes(settings.given(), await _engines(client)):
        loss = ""
        if change.deletes:
            rows = await _count(client, change.place, TIMES[change.place], change.after)
            loss = _deleted(rows, "rows are older and are deleted")
        made = not loss or agree(f"{change.text}: {loss}.")
        if made:
            await client.command(change.statement)
        yield RetentionOutcome(change, made, loss)


async def _loss(
    client: AsyncClient,
    settings: KafkaSettings,
    change: RetentionChange,
    found: ExistingTopic,
    *,
    is_state: bool,
) -> str:
    if change.setting == TOMBSTONES:
        return "a merger or sink that was down for longer misses deletions"
    if is_state and change.setting == RETENTION:
        rows = await _count(client, f"{FEEDBACK_STATE} FINAL", "last_received_at", change.after)
        return (
            f"{rows:,} requests have no newer event, and the merger removes them everywhere" if rows else ""
        )
    records = await _older(settings, found, _now_ms() - change.after)
    return _deleted(records, "records are older and are deleted")


def _deleted(count: int, what: str) -> str:
    """Return what is deleted as text; empty if nothing is."""
    return f"{count:,} {what}" if count else ""


async def _older(settings: KafkaSettings, found: ExistingTopic, before_ms: int) -> int:
    """Return the number of records of a topic that were appended before a time."""
    places = [TopicPartition(found.name, number) for number in range(found.partitions)]
    client = consumer(settings, "afterword-migrate")
    try:
        await connect(client)
        starts = await client.beginning_offsets(places)
        ends = await client.end_offsets(places)
        firsts = await client.offsets_for_times(dict.fromkeys(places, before_ms))
    finally:
        await client.stop()
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
