"""The sink on a real Kafka and a real ClickHouse engine: in this process, or as one of its own."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import REGISTRY

from schemas.tables import FEEDBACK, SINK_POSITIONS
from schemas.topics import Topology
from services.local.ports import free_port
from services.local.processes import Command, python_module
from services.operations.migrate.run import migration_steps as migrate
from services.operations.migrate.settings import MigrateSettings
from services.runtime.settings import MASK, ClickHouseSettings, KafkaSettings, describe
from services.sink.app import run
from services.sink.settings import SinkSettings
from tests.support.clickhouse import tables
from tests.support.merger.state_log import ends
from tests.support.stack.restartable import Program


async def migrated(kafka: KafkaSettings, clickhouse: ClickHouseSettings, **changes: Any) -> SinkSettings:
    """Migrate, and return settings for a sink that is quick to write."""
    await tables.create_migrated(clickhouse)
    both = {**kafka.model_dump(), **clickhouse.model_dump()}
    steps = [step async for step in migrate(MigrateSettings(**both, kafka_partitions=4), None, 60)]
    assert "wrong" not in {step.mark for step in steps}, steps
    quick = {
        "sink_flush_seconds": 0.2,
        "sink_watch_seconds": 0.5,
        "sink_reconcile_events_per_second": 0,
        "sink_metrics_port": free_port(),
    }
    return SinkSettings(**both, **{**quick, **changes})


@asynccontextmanager
async def running(settings: SinkSettings) -> AsyncIterator[asyncio.Task[bool]]:
    """Run a sink in this process; leaving stops it in the orderly way."""
    stop = asyncio.Event()
    task = asyncio.create_task(run(settings, stop))
    try:
        yield task
    finally:
        stop.set()
        await asyncio.wait({task})
    await task


class SinkProgram(Program):
    """A sink in a process of its own, to be killed and stopped."""

    def __init__(self, settings: SinkSettings, directory: Path) -> None:
        self.settings = settings
        super().__init__(self._command, self._answers_probes, directory / "sink.log")

    def _command(self) -> Command:
        password = self.settings.clickhouse_password.get_secret_value()
        given = {
            one.variable: password if one.value == MASK else one.value for one in describe(self.settings)
        }
        return python_module("services.sink", environment={**os.environ, **given})

    async def _answers_probes(self) -> bool:
        try:
            return (await probe(self.settings, "livez")).status_code == 200
        except httpx.HTTPError:
            return False


async def probe(settings: SinkSettings, name: str) -> httpx.Response:
    """Ask a sink for `livez` or `readyz`; httpx.HTTPError when it does not answer."""
    url = f"http://{settings.sink_metrics_host}:{settings.sink_metrics_port}/{name}"
    async with httpx.AsyncClient(timeout=2) as client:
        return await client.get(url)


async def is_ready(settings: SinkSettings) -> bool:
    """Return whether a sink says that it stores what comes."""
    try:
        return (await probe(settings, "readyz")).status_code == 200
    except httpx.HTTPError:
        return False


async def failing(settings: SinkSettings, name: str) -> dict[str, str]:
    """Return what a probe finds wrong, by name of the check."""
    found: dict[str, str] = (await probe(settings, name)).json()["failing"]
    return found


async def count(settings: SinkSettings) -> int:
    """Return how many requests have a row."""
    ((number,),) = await tables.rows(settings, f"SELECT count() FROM {FEEDBACK}")
    return int(number)


async def is_stored(settings: SinkSettings) -> bool:
    """Return whether the positions of the state route have reached the end of its log."""
    topic = Topology(settings.kafka_topic_generation).state
    stored = await tables.rows(
        settings,
        f"SELECT position FROM {SINK_POSITIONS} FINAL WHERE topic = '{topic.name}' ORDER BY partition",
    )
    return [position for (position,) in stored] == await ends(settings, topic)


def counted(name: str, **labels: str) -> float:
    """Return what one of the sink's counters says in this process."""
    return REGISTRY.get_sample_value(name, labels) or 0.0
