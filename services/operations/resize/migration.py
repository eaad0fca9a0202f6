"""Moves from one generation to the next: gathers the facts, and has the act of each step."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from aiokafka.admin import AIOKafkaAdminClient
from clickhouse_connect.driver.asyncclient import AsyncClient

from schemas.identity import partition_of
from schemas.tables import SINK_POSITIONS
from schemas.topics import STATE_ROUTE, Topology
from services.operations.migrate.servers import record_deployment
from services.operations.resize.core.plan import ResizeFacts, ResizePlan
from services.operations.resize.ledger import Side, StateLedger
from services.operations.resize.settings import ResizeSettings
from services.operations.resize.switch import create, fence, set_limit, wait_until
from services.operations.transfer import Transfer, TransferRecord, unread
from services.pipeline.core.continuity import Recorded
from services.pipeline.core.generation_states import CLOSED, Generation, GenerationState
from services.pipeline.generations import generations
from services.pipeline.offsets import Offsets, offsets
from services.pipeline.survey import admin, cluster_id, partition_counts, recorded
from services.runtime.clickhouse.insert import ClickHouseWriter
from services.runtime.kafka.core.records import Partition
from services.runtime.kafka.log_reader import OffsetRange, ReadRecords, read
from services.sink.core.rows import position_line

CLIENT = "afterword-resize"
INSERT_SECONDS = 30.0

Moved = Callable[[int], None]


@dataclass(frozen=True)
class Lag:
    """Records of the old generation that the stages have not dealt with yet."""

    merger: int
    sink: int


@dataclass
class ResizeServers:
    """The connections that every step uses.  `ends` are those of everything written, `final` of committed."""

    admin: AIOKafkaAdminClient
    written: Offsets
    committed: Offsets
    clickhouse: AsyncClient
    rows: ClickHouseWriter


@asynccontextmanager
async def servers(settings: ResizeSettings, clickhouse: AsyncClient) -> AsyncIterator[ResizeServers]:
    """Connect to Kafka for the block; KafkaError when it does not answer."""
    async with AsyncExitStack() as stack:
        rows = ClickHouseWriter(settings, INSERT_SECONDS)
        stack.push_async_callback(rows.close)
        yield ResizeServers(
            await stack.enter_async_context(admin(settings, CLIENT)),
            await stack.enter_async_context(offsets(settings, CLIENT)),
            await stack.enter_async_context(offsets(settings, CLIENT, committed=True)),
            clickhouse,
            rows,
        )


@dataclass
class ResizeMigration:
    """One run.  Whatever it remembers can be found or done again by the next."""

    settings: ResizeSettings
    plan: ResizePlan
    servers: ResizeServers
    ledger: StateLedger
    compared: dict[Partition, int] = field(default_factory=dict)
    """Up to where the ledger has each partition of the states, old and new."""
    transfer: Transfer | None = None
    is_fenced: bool = False

    @property
    def old(self) -> Topology:
        """The generation in use."""
        return Topology(self.plan.from_.number)

    @property
    def new(self) -> Topology:
        """The one to come."""
        return Topology(self.plan.to)

    async def facts(self) -> ResizeFacts:
        """Return how far the migration is."""
        found = {generation.number: generation for generation in await generations(self.servers.admin)}
        exists = await self._exists(found)
        known = exists and await self._is_recorded()
        if not known:
            return ResizeFacts(exists=exists, is_recorded=False)
        is_open = found[self.plan.to].standing is GenerationState.OPEN
        is_closed = found[self.plan.from_.number].standing is GenerationState.CLOSED
        if is_open:
            return ResizeFacts(exists=True, is_recorded=True, is_closed=is_closed, is_open=True)
        if not is_closed:
            self.is_fenced = False
        lag = await self.lag()
        return ResizeFacts(
            exists=True,
            is_recorded=True,
            is_closed=is_closed,
            unmerged=lag.merger,
            unstored=lag.sink,
            uncopied=_length(await self.uncopied()),
            unchecked=_length(await self.unchecked()),
            differing=self.ledger.differing,
            is_fenced=self.is_fenced,
            is_handed_over=await self._is_handed_over(),
        )

    async def _exists(self, found: Mapping[int, Generation]) -> bool:
        counts = await partition_counts(self.servers.admin, [topic.name for topic in self.new.topics])
        wanted = {topic.name: topic.partitions(self.plan.partitions) for topic in self.new.topics}
        return counts == wanted and self.plan.to in found

    async def _is_recorded(self) -> bool:
        return await self._record() in await recorded(
            self.servers.clickhouse, self.settings.clickhouse_database
        )

    async def _record(self) -> Recorded:
        return Recorded(self.plan.to, await cluster_id(self.servers.admin), self.plan.partitions)

    async def lag(self) -> Lag:
        """Return what merger and sink have still to do in the old generation."""
        written = self.servers.written
        names = [topic.name for topic in self.old.topics]
        places = await written.partitions(names)
        events = [place for place in places if place[0] == self.old.events.name]
        # In the order of the flow: what is merged has its states below the ends that are read after that.
        starts, logged = await written.starts(places), await written.ends(events)
        merged = await written.committed(self.old.merger_group)
        ends = await written.ends(places)
        stored = {place: one.position for place, one in (await self.servers.rows.positions(names)).items()}
        return Lag(_behind(starts, logged, merged), _behind(starts, ends, stored))

    async def uncopied(self) -> list[OffsetRange]:
        """Return the stretches of the old states that the new topic lacks."""
        copied = await self.servers.committed.committed(self.new.filling_group)
        return await unread(self.servers.committed, self.old.state.name, copied)

    async def unchecked(self) -> list[OffsetRange]:
        """Return the stretches of old and new states that the ledger lacks."""
        return [
            *await unread(self.servers.committed, self.old.state.name, self.compared),
            *await unread(self.servers.committed, self.new.state.name, self.compared),
        ]

    async def create(self) -> None:
        """Make the topics, closed, with what an operator set for the old ones."""
        await create(self.servers.admin, self.settings, self.old, self.new, self.plan.partitions)

    async def record(self) -> None:
        """Write down which Kafka has the new generation."""
        await record_deployment(self.servers.clickhouse, await self._record())

    async def copy(self, moved: Moved) -> None:
        """Append the old states that the new topic lacks."""
        transfer = await self._filling()
        async for part in read(self.settings, CLIENT, [self.old.state], await self.uncopied()):
            await transfer.put(_entries(part), {(part.topic, part.partition): part.position})
            moved(len(part.records))

    async def _filling(self) -> Transfer:
        if self.transfer is None:
            new = self.new
            self.transfer = await Transfer.open(
                self.settings, new.state.name, self.plan.partitions, new.filling_group
            )
        return self.transfer

    async def check(self, moved: Moved) -> None:
        """Compare what was not compared yet: read back from both topics."""
        both = [self.old.state, self.new.state]
        async for part in read(self.settings, CLIENT, both, await self.unchecked()):
            is_old = part.topic == self.old.state.name
            count = self.plan.from_.partitions if is_old else self.plan.partitions
            # A record in a partition where its key does not belong would never be found again.
            placed = [entry for entry in _entries(part) if partition_of(entry.key, count) == part.partition]
            await asyncio.to_thread(self.ledger.note, Side.OLD if is_old else Side.NEW, placed)
            self.compared[part.topic, part.partition] = part.position
            moved(len(part.records))

    async def close(self) -> None:
        """Let Kafka refuse events of every client."""
        await self._still_ours()
        await set_limit(self.servers.admin, self.old.events.name, CLOSED)
        await wait_until(self.settings, self.old.events.name, refuses=True)

    async def fence(self) -> None:
        """Let no earlier merger write states any more."""
        await fence(self.settings, self.old, self.plan.from_.partitions)
        self.is_fenced = True

    async def hand_over(self) -> None:
        """Store positions past the copied states: their rows are there, from the old topic."""
        stored = await self.servers.rows.positions([self.old.state.name])
        newest = max((one.newest_ms for one in stored.values()), default=0)
        lines = [
            position_line(STATE_ROUTE, topic, partition, end, newest)
            for (topic, partition), end in (await self._new_ends()).items()
        ]
        await self.servers.rows.insert(SINK_POSITIONS, lines)

    async def _is_handed_over(self) -> bool:
        stored = await self.servers.rows.positions([self.new.state.name])
        positions = {place: one.position for place, one in stored.items()}
        return positions == await self._new_ends()

    async def _new_ends(self) -> dict[Partition, int]:
        written = self.servers.written
        return await written.ends(await written.partitions([self.new.state.name]))

    async def open(self) -> None:
        """Let events come into the new generation."""
        await self._still_ours()
        await set_limit(self.servers.admin, self.new.events.name, self.new.events.max_message_bytes)
        await wait_until(self.settings, self.new.events.name, refuses=False)

    async def _still_ours(self) -> None:
        """Raise ProducerFenced if another run has begun meanwhile: what it does is not to be disturbed."""
        place = (self.old.state.name, 0)
        copied = await self.servers.committed.committed(self.new.filling_group)
        await (await self._filling()).put([], {place: copied.get(place, 0)})

    async def absent(self) -> list[str]:
        """Return the groups of the new generation that no consumer has joined yet."""
        groups = [stage.group for stage in self.new.stages]
        members = await self.servers.written.members(groups)
        return [group for group in groups if not members.get(group)]

    async def end(self) -> None:
        """Let go of everything but the servers."""
        if self.transfer is not None:
            await self.transfer.close()
        self.ledger.close()


async def reopen(settings: ResizeSettings, connected: ResizeServers, number: int) -> None:
    """Let events come into a generation again, unless a newer one was opened."""
    found = await generations(connected.admin)
    if any(one.number > number and one.standing is not GenerationState.NEW for one in found):
        return
    events = Topology(number).events
    await set_limit(connected.admin, events.name, events.max_message_bytes)
    await wait_until(settings, events.name, refuses=False)


def _entries(part: ReadRecords) -> list[TransferRecord]:
    return [
        TransferRecord(record.key, record.value, record.timestamp)
        for record in part.records
        if record.key is not None
    ]


def _length(stretches: Sequence[OffsetRange]) -> int:
    return sum(stretch.end - stretch.start for stretch in stretches)


def _behind(
    starts: Mapping[Partition, int], ends: Mapping[Partition, int], done: Mapping[Partition, int]
) -> int:
    return sum(max(0, end - max(done.get(place, 0), starts[place])) for place, end in ends.items())
