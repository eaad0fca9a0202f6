"""One turn of each part: so many processes of it get the same work, on topics and tables of their own."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from itertools import count
from typing import NamedTuple, TypeAlias

from bench.events import published
from bench.filling import fill
from bench.scale.groups import drained, settled
from bench.scale.load import Plan
from bench.scale.processes import IngestProcess, Meter, Used, mergers, running, sinks
from bench.sink.rows import states
from bench.stages import PARTITIONS, Stack
from bench.whole.bodies import EVENTS
from schemas.topics import STATE_ROUTE, Topology
from services.runtime.clickhouse.client import connect
from services.sink.settings import SinkSettings
from tests.support.sink.runs import migrated

_AS_DEPLOYED = {name: SinkSettings.model_fields[name].default for name in ("sink_flush_seconds",)}
_names = count(1)
Go: TypeAlias = Callable[[], Awaitable[dict[str, float]]]
"""Sends what was planned; how many events it was, and how many seconds it took."""


class Turn(NamedTuple):
    """What one turn took."""

    rate: float
    """Events or rows a second."""
    cost: float
    """Microseconds of the part's own processes for each."""
    cores: float
    """How many cores the machine had busy."""
    least_share: float
    """How much of the work the least busy process did, in percent."""


@dataclass(frozen=True)
class Work:
    """How much each turn has to do."""

    events: int
    seconds: float
    """Of load on the whole."""


@asynccontextmanager
async def deployed(stack: Stack) -> AsyncIterator[SinkSettings]:
    """Make topics and a database of their own; settings that lead to both."""
    name = f"scale_{next(_names)}"
    async with stack.topics(PARTITIONS) as kafka:
        clickhouse = (await stack.warehouse()).settings.replace(clickhouse_database=name)
        yield await migrated(kafka, clickhouse, **_AS_DEPLOYED)
        client = await connect(clickhouse, database="default")
        await client.command(f"DROP DATABASE {name}")
        await client.close()


async def ingest(stack: Stack, work: Work, processes: int) -> Turn:
    """Let ingests take batches."""
    async with stack.topics() as settings:
        programs = [IngestProcess(settings, stack.home / f"ingest-{one}") for one in range(processes)]
        async with running(programs), _load(programs, bodies=work.events // EVENTS) as go:
            meter = Meter(ingest=programs)
            sent = await go()
            return _turn("ingest", sent["events"], meter.used(), sent["seconds"])


async def merger(stack: Stack, work: Work, processes: int) -> Turn:
    """Let mergers of one group merge what is appended once all have their partitions."""
    records = [*published(work.events)]
    async with stack.topics() as settings:
        topology = Topology(settings.kafka_topic_generation)
        programs = mergers(settings, stack.home / f"mergers-{topology.generation}", processes)
        async with running(programs):
            await settled(settings, topology.merger_group, processes)
            meter = Meter(merger=programs)
            await fill(settings, topology.events.name, records, PARTITIONS)
            await drained(settings, topology.merger_group, topology.events)
            return _turn("merger", work.events, meter.used())


async def sink(stack: Stack, work: Work, processes: int) -> Turn:
    """Let sinks of one group store what is appended once all have their partitions."""
    records = [*states(work.events)]
    async with deployed(stack) as settings:
        topology = Topology(settings.kafka_topic_generation)
        programs = sinks(settings, stack.home / f"sinks-{topology.generation}", processes)
        async with running(programs):
            await settled(settings, topology.sink_group(STATE_ROUTE), processes)
            meter = Meter(sink=programs)
            await fill(settings, topology.state.name, records, PARTITIONS)
            await drained(settings, topology.sink_group(STATE_ROUTE), topology.state)
            return _turn("sink", work.events, meter.used())


async def whole(stack: Stack, work: Work, processes: int) -> Turn:
    """Load all parts at once, so many processes of each, and wait until everything is stored."""
    async with deployed(stack) as settings:
        topology = Topology(settings.kafka_topic_generation)
        home = stack.home / f"whole-{topology.generation}"
        ingests = [IngestProcess(settings, home / f"ingest-{one}") for one in range(processes)]
        others = [*mergers(settings, home, processes), *sinks(settings, home, processes)]
        groups = {
            topology.merger_group: topology.events,
            topology.sink_group(STATE_ROUTE): topology.state,
        }
        async with running([*ingests, *others]), _load(ingests, seconds=work.seconds) as go:
            await asyncio.gather(*(settled(settings, group, processes) for group in groups))
            meter = Meter(whole=[*ingests, *others])
            sent = await go()
            for group, topic in groups.items():
                await drained(settings, group, topic)
            return _turn("whole", sent["events"], meter.used())


def _turn(part: str, events: float, used: Used, seconds: float | None = None) -> Turn:
    rate = events / (seconds or used.seconds)
    return Turn(rate, used.cost(part, events), used.cores, used.least_share(part))


@asynccontextmanager
async def _load(programs: Sequence[IngestProcess], **amount: float) -> AsyncIterator[Go]:
    plan = Plan([program.port for program in programs], **amount)  # type: ignore[arg-type]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.scale.load",
        json.dumps(asdict(plan)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readline()

    async def go() -> dict[str, float]:
        output, _ = await process.communicate(b"\n")
        if process.returncode:
            raise RuntimeError(f"the load ended with {process.returncode}")
        found: dict[str, float] = json.loads(output)
        return found

    try:
        yield go
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
