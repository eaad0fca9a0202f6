"""A pipeline for tests of erasure: a merger, a sink, and a ClickHouse whose files can be searched."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from schemas.deadletters import REPLAY_VERSION_HEADER
from schemas.identity import event_key
from schemas.tables import DEAD_LETTERS, FEEDBACK_EVENTS, FEEDBACK_STATE, SINK_POSITIONS
from schemas.topics import Topology
from services.pipeline.offsets import offsets
from services.sink.settings import SinkSettings
from tests.support.clickhouse import tables
from tests.support.eventually import eventually
from tests.support.merger.records import an_event
from tests.support.merger.state_log import ends, write
from tests.support.operations.command import Ended, afterword
from tests.support.operations.dead_letters import environ
from tests.support.sink.runs import SinkProgram
from tests.support.stack.local_servers import OwnWarehouse

PARTITIONS = 4
"""Of the events topic."""


@dataclass
class Pipeline:
    """Servers and settings; each test writes as a tenant of its own."""

    settings: SinkSettings
    warehouse: OwnWarehouse
    sink: SinkProgram
    home: Path
    _number: int = 0

    @property
    def topology(self) -> Topology:
        """The topics."""
        return Topology(self.settings.kafka_topic_generation)

    @property
    def variables(self) -> dict[str, str]:
        """What leads commands here."""
        return {**environ(self.settings), "AFTERWORD_HOME": str(self.home)}

    async def send(
        self, tenant: str, *events: dict[str, Any], replays: int | None = None, stored: bool = True
    ) -> None:
        """Append events, as `request_id` and fields; return once everything is stored."""
        headers = [] if replays is None else [(REPLAY_VERSION_HEADER, str(replays).encode())]
        entries = []
        for event in events:
            self._number += 1
            body = an_event(self._number, tenant=tenant, **event)
            entries.append((event_key(tenant, event["request_id"]), orjson.dumps(body), headers))
        await write(self.settings, self.topology.events, entries)
        if stored:
            await self.stored()

    async def stored(self) -> None:
        """Wait until everything that is logged has been merged and stored."""
        await eventually(self._is_stored, within=60, every=0.1)

    async def _is_stored(self) -> bool:
        positions = {
            (topic, partition): position
            for topic, partition, position in await tables.rows(
                self.settings, f"SELECT topic, partition, position FROM {SINK_POSITIONS} FINAL"
            )
        }
        for topic in self.topology.topics:
            for partition, end in enumerate(await ends(self.settings, topic)):
                if positions.get((topic.name, partition), 0) < end:
                    return False
        # The merger's rows are in the state topic once it has read the events that are stored.
        return bool(await self._is_merged())

    async def _is_merged(self) -> bool:
        async with offsets(self.settings, "test") as kafka:
            committed = await kafka.committed(self.topology.merger_group)
        found = await ends(self.settings, self.topology.events)
        name = self.topology.events.name
        return all(committed.get((name, number), 0) >= end for number, end in enumerate(found))

    async def erase(self, *arguments: str | Path, expect: int = 0) -> Ended:
        """Call `afterword erase`."""
        ended = await asyncio.to_thread(afterword, "erase", *arguments, environ=self.variables)
        assert ended.code == expect, ended.out + ended.err
        return ended

    async def requests(self, tenant: str) -> dict[str, set[str]]:
        """Return whose rows each table has: request ids, erase events and hidden rows left out."""
        conditions = {FEEDBACK_STATE: "is_deleted = 0", FEEDBACK_EVENTS: "op != 'erase'", DEAD_LETTERS: "1"}
        found = {}
        for table, condition in conditions.items():
            query = f"SELECT DISTINCT request_id FROM {table} WHERE tenant = '{tenant}' AND {condition}"
            found[table] = {one for (one,) in await tables.rows(self.settings, query)}
        return found

    def on_disk(self, text: str) -> list[str]:
        """Return the files of ClickHouse that hold a text in clear.

        Columns are compressed, but a text that is met once is a literal in every one of these codecs.
        """
        found = []
        for path in sorted((self.warehouse.directory / "data").rglob("*")):
            try:
                if path.is_file() and text.encode() in path.read_bytes():
                    found.append(str(path.relative_to(self.warehouse.directory)))
            except FileNotFoundError:
                continue  # ClickHouse deletes old parts by itself
        return found
