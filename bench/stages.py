"""What a stage of `make bench` is given, and what it gives back.

A stage is a module `bench.<name>.stage` with one function:

    async def measure(size: Size, stack: Stack, say: Callable[[str], None]) -> list[Figure]

Beside it, `page.md` is what docs/performance.md says about the stage: what is measured, and how.

It measures itself against its baselines, in turns, round by round (a b, a b, ...), so that whatever else the
machine does meanwhile falls on both.  `say` prints a line of progress.  Alone it runs as
`python -m bench <name> [--quick] [--unrecorded]`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeAlias

from bench.targets import NONE, Target
from schemas.topics import Topology
from services.runtime.clickhouse.client import connect
from services.runtime.settings import ClickHouseSettings, KafkaSettings
from tests.support.clickhouse.tables import create_tables
from tests.support.kafka.topics import create_topics, delete_topics
from tests.support.stack.local_servers import OwnKafka, OwnWarehouse

PARTITIONS = 4
POINTS = 240

Samples: TypeAlias = Sequence[float]
Say: TypeAlias = Callable[[str], None]


class Size(NamedTuple):
    """How much is measured."""

    quick: bool
    """All stages together take less than five minutes; what takes long to show itself is left out."""
    rounds: int
    """How often each contender has its turn."""

    @property
    def long_rounds(self) -> int:
        """How often, in a stage whose turns take long."""
        return 1 if self.quick else self.rounds


QUICK = Size(quick=True, rounds=2)
FULL = Size(quick=False, rounds=3)


class Budget(NamedTuple):
    """How many seconds a stage may take on a machine of two cores, what it starts and makes included."""

    quick: float
    full: float

    def at(self, size: Size) -> float:
        """Return the seconds at a size."""
        return self.quick if size.quick else self.full


STAGES: Mapping[str, Budget] = {
    "ingest": Budget(quick=35, full=420),
    "merger": Budget(quick=60, full=1200),
    "sink": Budget(quick=45, full=360),
    "whole": Budget(quick=55, full=1320),
    "scale": Budget(quick=65, full=300),
}
"""Every stage, in the order of the flow."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of `bench/results.json`."""

    stage: str
    figure: str
    """What was measured, in words: `single events, 256 connections`."""
    unit: str
    value: float
    """The median over all rounds."""
    baseline: float | None
    """The same of what it is compared with."""
    ratio: float | None
    """`value` over `baseline`."""
    target: str
    """In words; empty where there is none."""
    met: bool | None
    samples: list[float]
    """One a round."""
    baseline_samples: list[float]
    series: dict[str, list[list[float]]] = field(default_factory=dict)
    """What went on with time, by name, as pairs of seconds and value: the memory of each service, say."""
    bound: float | None = None
    """What the target asks for, in figures."""
    bound_of: str = ""
    """What the bound is for: `ratio` or `value`."""


def compared(
    stage: str,
    figure: str,
    unit: str,
    samples: Samples,
    baseline_samples: Samples = (),
    *,
    target: Target = NONE,
    series: Mapping[str, Sequence[tuple[float, float]]] | None = None,
) -> Figure:
    """Return the figure that the samples of all rounds make, judged by its target."""
    value = median(samples)
    baseline = median(baseline_samples) if baseline_samples else None
    ratio = value / baseline if baseline else None
    return Figure(
        stage=stage,
        figure=figure,
        unit=unit,
        value=value,
        baseline=baseline,
        ratio=ratio,
        target=target.words,
        met=target.judge(value, ratio),
        samples=list(samples),
        baseline_samples=list(baseline_samples),
        series={name: thinned(line) for name, line in (series or {}).items()},
        bound=target.bound,
        bound_of=target.bound_of,
    )


def thinned(line: Sequence[tuple[float, float]]) -> list[list[float]]:
    """Return at most so many points of a line as a plot can show, evenly chosen, its end among them."""
    step = -(-len(line) // POINTS) or 1
    return [[round(at, 1), float(f"{level:.4g}")] for at, level in line[::-1][::step][::-1]]


class Stack:
    """A Kafka and a ClickHouse engine, as the local stack runs them: a stage starts what it asks for.

    Each stage gets new ones, in an empty directory, which end with it.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        """An empty directory, for the stage's own files, too; it is removed after the stage."""
        self._kafka = OwnKafka(home / "kafka")
        self._warehouse = OwnWarehouse(home / "warehouse")
        self._numbers = count(1)

    async def kafka(self) -> OwnKafka:
        """Return the Kafka, running: `settings` lead to it, `child.pid` is its process."""
        if self._kafka.child is None:
            await self._kafka.start()
        return self._kafka

    async def warehouse(self) -> OwnWarehouse:
        """Return the ClickHouse engine, running: `settings` lead to it, `child.pid` is its process."""
        if self._warehouse.child is None:
            await self._warehouse.start()
        return self._warehouse

    @asynccontextmanager
    async def topics(self, partitions: int = PARTITIONS) -> AsyncIterator[KafkaSettings]:
        """Make topics of an unused generation; yield settings that select them."""
        settings = (await self.kafka()).settings.replace(kafka_topic_generation=next(self._numbers))
        topology = Topology(settings.kafka_topic_generation)
        await create_topics(settings, topology, partitions=partitions)
        yield settings
        await delete_topics(settings, [topic.name for topic in topology.topics])

    @asynccontextmanager
    async def database(self) -> AsyncIterator[ClickHouseSettings]:
        """Make a database with all tables; yield settings that lead to it."""
        name = f"bench_{next(self._numbers)}"
        settings = (await self.warehouse()).settings.replace(clickhouse_database=name)
        client = await connect(settings, database="default")
        try:
            await client.command(f"CREATE DATABASE {name}")
            await create_tables(settings)
            yield settings
            await client.command(f"DROP DATABASE {name}")
        finally:
            await client.close()

    async def kill(self) -> None:
        """End both at once: their data is not read again."""
        await self._kafka.kill()
        await self._warehouse.kill()


Measure: TypeAlias = Callable[[Size, Stack, Say], Awaitable[list[Figure]]]
