"""Events and states of one request after the other, from scratch tables that are sorted by request."""

from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple, Self

import orjson
from aiokafka.errors import KafkaError

from schemas.identity import event_key, partition_of, split_key, split_version
from schemas.tables import ERASED_REQUESTS
from schemas.topics import Topology
from services.merger.core.state import NEVER
from services.operations.audit.core.expected_state import (
    ExpectedState,
    FoldContext,
    erased_state,
    folded_rows,
)
from services.operations.audit.core.joined_state import joined
from services.operations.audit.core.row_to_event import COLUMNS_SQL, EventRow
from services.operations.database import Database
from services.operations.errors import kafka_unreachable
from services.operations.exits import UnreachableError
from services.operations.rebuild.core import statements
from services.operations.rebuild.core.compare import StateVerdict, VersionBounds, judge, judge_alone
from services.operations.rebuild.core.scope import EVENTS, STATE, RebuildScope
from services.operations.rebuild.log import CLIENT
from services.operations.rebuild.shadow_table import RebuildTools
from services.runtime.clickhouse.core.statement import Statement
from services.runtime.clickhouse.insert import UnavailableError
from services.runtime.kafka.log_reader import OffsetRange, read

STATES = f"{STATE.table}_records_scope"
PAGE_EVENTS = 5_000
_BATCH_ROWS = 20_000

Key = tuple[str, str]
"""Tenant and request id, in whose order everything is."""


class ComparedState(NamedTuple):
    """A request, how its state compares, and what it should be."""

    key: bytes
    verdict: StateVerdict
    should: ExpectedState | None


async def copy_states(
    tools: RebuildTools, topology: Topology, scope: RebuildScope, table: str = STATES
) -> None:
    """Copy the records of the state topic into a scratch table, byte for byte."""
    await tools.database.change(
        f"CREATE TABLE {table} (tenant String, request_id String, place UInt64, timestamp Int64,"
        " value Nullable(String)) ENGINE = ReplacingMergeTree(place) ORDER BY (tenant, request_id)"
    )
    whole = await tools.log.whole(topology.state)
    stretches = [
        OffsetRange(whole.topic, number, start, end)
        for number, (start, end) in enumerate(zip(whole.starts, whole.ends, strict=True))
    ]
    tools.bar.begin(f"{whole.topic}: reading", whole.records)
    lines: list[bytes] = []
    try:
        async for part in read(tools.log.settings, CLIENT, [topology.state], stretches):
            lines += [
                line
                for record in part.records
                if scope.has(record.key) and (line := _line(record.key, record))
            ]
            tools.bar.moved(len(part.records))
            if len(lines) >= _BATCH_ROWS:
                await tools.writer.insert(table, lines)
                lines = []
        if lines:
            await tools.writer.insert(table, lines)
    except KafkaError as error:
        raise kafka_unreachable(tools.log.settings) from error
    except UnavailableError as error:
        raise UnreachableError(f"ClickHouse does not take rows: {error}") from error


def _line(key: bytes | None, record: object) -> bytes | None:
    try:
        tenant, request_id = split_key(key or b"")
    except ValueError:
        return None
    value: bytes | None = getattr(record, "value", None)
    return orjson.dumps(
        {
            "tenant": tenant,
            "request_id": request_id,
            "place": getattr(record, "offset", 0),
            "timestamp": getattr(record, "timestamp", 0),
            "value": None if value is None else b64encode(value).decode(),
        }
    )


class Requests:
    """Every request of which an event is known, or an erasure."""

    events = EVENTS.scratch
    """The table that has the events."""

    def __init__(
        self,
        database: Database,
        topology: Topology,
        context: FoldContext,
        bounds: Sequence[VersionBounds],
        scope: RebuildScope,
    ) -> None:
        self._database, self._topology, self._context = database, topology, context
        self.bounds, self._scope = bounds, scope

    @classmethod
    async def open(
        cls,
        database: Database,
        topology: Topology,
        partitions: Mapping[int, int],
        bounds: Sequence[VersionBounds],
        scope: RebuildScope,
    ) -> Self:
        """Return them, with what their fold needs to know."""
        rows = await database.rows(statements.crashed())
        crashed = frozenset(
            (row["original_topic"], row["original_partition"], row["original_offset"]) for row in rows
        )
        return cls(database, topology, FoldContext(partitions, crashed), bounds, scope)

    @staticmethod
    def drop_states(table: str = STATES) -> str:
        """Drop the copy of a state topic."""
        return f"DROP TABLE IF EXISTS {table} SYNC SETTINGS max_table_size_to_drop = 0"

    async def judged(self) -> AsyncIterator[ComparedState]:
        """Yield each request with its verdict."""
        async for page in self._pages():
            several = {key: list(rows) for key, rows in groupby(page, key=key_of)}
            first, last = next(iter(several)), next(reversed(several))
            found, erased = await self._found(first, last), await self._erased(first, last)
            for key, rows in several.items():
                yield self._judge(key, rows, found.get(key), erased.get(key, NEVER))
        async for one in self._erased_alone():
            yield one
        async for one in self._states_alone():
            yield one

    def _judge(self, key: Key, rows: Sequence[EventRow], found: bytes | None, erased: int) -> ComparedState:
        name = event_key(*key)
        bounds = self.bounds[partition_of(name, len(self.bounds))]
        merged = [row for row in rows if self._is_merged(row, bounds)]
        should = folded_rows(merged, self._context, erased) if merged else None
        known = [row.version for row in merged]
        verdict = judge(found, should, known, erased, bounds)
        if verdict is StateVerdict.LACKING and found is not None and should is not None:
            should = should._replace(value=joined(found, should.value))
        return ComparedState(name, verdict, should)

    def _is_merged(self, row: EventRow, bounds: VersionBounds) -> bool:
        """Return whether the merger's position is past an event; of an older generation, all are."""
        generation, _ = split_version(row.log_offset)
        return generation != self._topology.generation or row.log_offset < bounds.end

    async def _pages(self) -> AsyncIterator[list[EventRow]]:
        """Yield events in the order of their requests, all of a request together."""
        after, limit = ("", ""), PAGE_EVENTS
        while rows := [
            EventRow(**row) for row in await self._database.rows(_events(self.events, after, limit))
        ]:
            if len(rows) == limit:
                last = key_of(rows[-1])
                whole = [row for row in rows if key_of(row) != last]
                if not whole:
                    limit *= 4
                    continue
                rows = whole
            after, limit = key_of(rows[-1]), PAGE_EVENTS
            yield rows

    async def _found(self, first: Key, last: Key) -> dict[Key, bytes | None]:
        rows = await self._database.rows(
            between(f"SELECT tenant, request_id, value FROM {STATES} FINAL", first, last)
        )
        return {
            (row["tenant"], row["request_id"]): None if row["value"] is None else b64decode(row["value"])
            for row in rows
        }

    async def _erased(self, first: Key, last: Key) -> dict[Key, int]:
        asked = f"SELECT tenant, request_id, version FROM {ERASED_REQUESTS}"
        upto: dict[Key, int] = {}
        for row in await self._database.rows(between(asked, first, last)):
            key = row["tenant"], row["request_id"]
            upto[key] = max(row["version"], upto.get(key, NEVER))
        return upto

    async def _erased_alone(self) -> AsyncIterator[ComparedState]:
        """Yield erased requests of which nothing else is known; only a lost topic gets them again."""
        after = ("", "")
        while rows := await self._database.rows(_erased_only(after, PAGE_EVENTS, self._scope)):
            for row in rows:
                after = row["tenant"], row["request_id"]
                key = event_key(*after)
                should = ExpectedState(erased_state(*after, row["upto"]), 0)
                bounds = self.bounds[partition_of(key, len(self.bounds))]
                yield ComparedState(key, judge(None, should, (), row["upto"], bounds), should)

    async def _states_alone(self) -> AsyncIterator[ComparedState]:
        """Yield states of requests of which no event is known."""
        after = ("", "")
        while rows := await self._database.rows(_states_only(after, PAGE_EVENTS)):
            keys = [(row["tenant"], row["request_id"]) for row in rows]
            erased = await self._erased(keys[0], keys[-1])
            for after, row in zip(keys, rows, strict=True):
                key = event_key(*after)
                bounds = self.bounds[partition_of(key, len(self.bounds))]
                verdict = judge_alone(b64decode(row["value"]), erased.get(after, NEVER), bounds)
                yield ComparedState(key, verdict, None)


def _states_only(after: Key, limit: int) -> Statement:
    return Statement(
        f"SELECT tenant, request_id, value FROM {STATES} FINAL"
        " WHERE (tenant, request_id) > ({tenant:String}, {request:String}) AND value IS NOT NULL"
        f" AND (tenant, request_id) NOT IN (SELECT tenant, request_id FROM {EVENTS.scratch})"
        f" ORDER BY tenant, request_id LIMIT {limit}",
        {"tenant": after[0], "request": after[1]},
    )


def key_of(row: EventRow) -> Key:
    """Return the request of an event."""
    return row.tenant, row.request_id


def _events(table: str, after: Key, limit: int) -> Statement:
    return Statement(
        f"SELECT {COLUMNS_SQL}"
        f" FROM {table} FINAL WHERE (tenant, request_id) > ({{tenant:String}}, {{request:String}})"
        f" ORDER BY tenant, request_id, version LIMIT {limit}",
        {"tenant": after[0], "request": after[1]},
    )


def between(asked: str, first: Key, last: Key) -> Statement:
    """Ask for the requests from one to another, both included."""
    return Statement(
        f"{asked} WHERE (tenant, request_id) >= ({{t0:String}}, {{r0:String}})"
        " AND (tenant, request_id) <= ({t1:String}, {r1:String})",
        {"t0": first[0], "r0": first[1], "t1": last[0], "r1": last[1]},
    )


def _erased_only(after: Key, limit: int, scope: RebuildScope) -> Statement:
    mine = "" if scope.tenant is None else " AND tenant = {only:String}"
    return Statement(
        f"SELECT tenant, request_id, max(version) AS upto FROM {ERASED_REQUESTS}"
        f" WHERE (tenant, request_id) > ({{tenant:String}}, {{request:String}}){mine}"
        f" AND (tenant, request_id) NOT IN (SELECT tenant, request_id FROM {EVENTS.scratch})"
        f" AND (tenant, request_id) NOT IN (SELECT tenant, request_id FROM {STATES} FINAL"
        " WHERE value IS NOT NULL)"
        f" GROUP BY tenant, request_id ORDER BY tenant, request_id LIMIT {limit}",
        {"tenant": after[0], "request": after[1], **({} if scope.tenant is None else {"only": scope.tenant})},
    )
