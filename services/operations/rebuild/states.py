"""`afterword rebuild --state`: rewrites states that differ from what their known events yield.

The events come from the retained log, and from `feedback_events` for what is before its start.  They are
sorted by request in a scratch table, and so are the records of the state topic, so that memory stays the same
however many requests there are.  What is written goes through the merger's own transactional id: Kafka fences
a merger that was started meanwhile, and the local copies of mergers read it as they read everything else.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from schemas.identity import partition_of, version_of
from schemas.topics import Topology
from services.merger.core.state import StoredRow
from services.merger.settings import MergerSettings
from services.merger.transaction import TransactionWriter
from services.operations.audit.core.expected_state import ExpectedState
from services.operations.confirm import Agree
from services.operations.database import Database, connected
from services.operations.exits import DONE, FOUND, CommandError
from services.operations.progress import ProgressBar
from services.operations.rebuild.core.compare import WRITTEN, StateVerdict, VersionBounds
from services.operations.rebuild.core.scope import EVENTS
from services.operations.rebuild.log import RebuildLog, log
from services.operations.rebuild.requests import ComparedState, Requests, copy_states
from services.operations.rebuild.run import (
    INSERT_SECONDS,
    RebuildOptions,
    audited,
    errors,
    held,
    in_use,
    say,
)
from services.operations.rebuild.settings import RebuildSettings
from services.operations.rebuild.shadow_table import (
    Checkpoint,
    RebuildTools,
    build,
    carry_over,
    clean,
    pass_all,
)
from services.runtime.clickhouse.insert import ClickHouseWriter

ACT = "rebuild --state"
CHUNK_ROWS = 1_000
MOST_EXAMPLES = 5
LEFT_SECONDS = 25.0
"""How long a merger that was killed may stay in its consumer group: longer than the longest session."""
LEFT_POLL_SECONDS = 0.5


@dataclass
class StateCounts:
    """The number of requests by verdict, and examples of those that differ."""

    drops: bool = False
    """Whether states of requests without events are removed."""
    verdicts: Counter[StateVerdict] = field(default_factory=Counter)
    examples: dict[StateVerdict, list[str]] = field(default_factory=dict)

    def add(self, one: ComparedState) -> None:
        """Count a request."""
        self.verdicts[one.verdict] += 1
        named = self.examples.setdefault(one.verdict, [])
        if one.verdict is not StateVerdict.SAME and len(named) < MOST_EXAMPLES:
            named.append(one.key.decode())

    @property
    def to_write(self) -> int:
        """How many records are to be written."""
        return sum(self.verdicts[verdict] for verdict in self.written)

    @property
    def written(self) -> frozenset[StateVerdict]:
        """Which verdicts call for another record."""
        return WRITTEN | {StateVerdict.INVENTED} if self.drops else WRITTEN

    def lines(self, topic: str) -> list[str]:
        """Return the counts in words."""
        lines = [f"{self.verdicts[StateVerdict.SAME]:,} states in {topic} are what their events come to"]
        for verdict, what in _WORDS.items():
            if self.verdicts[verdict]:
                removed = verdict is StateVerdict.INVENTED and self.drops
                does = "are of requests without a known event: removed for good" if removed else what
                shown = ", ".join(self.examples[verdict])
                lines.append(
                    f"{self.verdicts[verdict]:,} {does}: {shown}{' …' * (self.verdicts[verdict] > 5)}"
                )
        return lines


_WORDS = {
    StateVerdict.MISSING: "are missing, and will be written",
    StateVerdict.DAMAGED: "are no states, and will be rewritten",
    StateVerdict.DIFFERS: "differ, and will be rewritten",
    StateVerdict.INVENTED: "are of requests without a known event, and are kept: --drop-unknown removes them",
    StateVerdict.LACKING: "lack known events, which will be merged into them",
    StateVerdict.INCOMPLETE: "also hold keys of events that are not known any more, and are not changed",
    StateVerdict.LOST: "are no states, and no events of them are known: they are not changed",
}


async def rebuild_states(
    settings: RebuildSettings, options: RebuildOptions, agree: Agree, passed: Checkpoint = pass_all
) -> int:
    """Show which states differ from what their events yield, and write those once confirmed."""
    settings = await in_use(settings)
    topology = Topology(settings.kafka_topic_generation)
    async with (
        connected(settings) as database,
        log(settings, await database.deployments()) as known,
        _writer(settings) as rows,
    ):
        await _check(known, topology)
        with held(settings), ProgressBar("Reading", None, errors) as bar:
            tools = RebuildTools(database, known, rows, bar)
            await _clean(database)
            requests = await _prepared(tools, topology, options)
            counted = StateCounts(drops=options.drop_unknown)
            async for one in requests.judged():
                counted.add(one)
            say(options.json, counted.lines(topology.state.name), {"plan": _as_json(counted)})
            written = 0
            if counted.to_write and agree(f"Write {counted.to_write:,} states to {topology.state.name}?"):
                with audited(settings, ACT, {"scope": str(options.scope), "states": counted.to_write}):
                    bar.begin("writing states", counted.to_write)
                    written = await _write(tools, topology, requests, counted.written, passed)
                say(options.json, [f"{written:,} states written"], {"written": written})
            await _clean(database)
    return FOUND if counted.verdicts[StateVerdict.LOST] else DONE


@asynccontextmanager
async def _writer(settings: RebuildSettings) -> AsyncIterator[ClickHouseWriter]:
    writer = ClickHouseWriter(settings, INSERT_SECONDS)
    try:
        yield writer
    finally:
        await writer.close()


async def _clean(database: Database) -> None:
    await clean(database, EVENTS)
    await database.change(Requests.drop_states())


async def _check(known: RebuildLog, topology: Topology) -> None:
    """Refuse to write where there is no topic, or beside a merger that does not leave its group."""
    if not await known.places([topology.state]):
        raise CommandError(
            f"Kafka has lost {topology.state.name}.  A topic is never made again under its name: its offsets"
            " would begin again, and new rows would lose against stored ones.  Run `afterword recover`."
        )
    if members := await members_left(partial(known.members, topology.merger_group), LEFT_SECONDS):
        raise CommandError(
            f"{members} merger{' is' if members == 1 else 's are'} running: stop every merger first, and"
            " start them again afterwards.  Ingest may keep running: events wait in the log."
        )


async def members_left(members: Callable[[], Awaitable[int]], seconds: float) -> int:
    """Return how many members a consumer group has: 0 as soon as all have left, else after `seconds`."""
    clock = asyncio.get_running_loop().time
    until = clock() + seconds
    count = await members()
    if count:
        errors.print(f"Waiting at most {seconds:g} s until every merger has left its consumer group.")
    while count and clock() < until:
        await asyncio.sleep(LEFT_POLL_SECONDS)
        count = await members()
    return count


async def _prepared(tools: RebuildTools, topology: Topology, options: RebuildOptions) -> Requests:
    """Sort events and states by request, in scratch tables."""
    names = await tools.database.columns(EVENTS.table)
    bounds = await _bounds(tools.log, topology)
    await tools.database.change(f"CREATE TABLE {EVENTS.scratch} AS {EVENTS.table}")
    built = await build(tools, EVENTS, EVENTS.scratch, options.scope)
    # What the log lacks may be the only copy of what Kafka lost: states are made with it, never without.
    await carry_over(tools, built, names, options.scope, unknown=True)
    await copy_states(tools, topology, options.scope)
    recorded = {
        deployment.generation: deployment.partitions for deployment in await tools.database.deployments()
    }
    tools.bar.begin("comparing states with their events", None)
    return await Requests.open(tools.database, topology, recorded, bounds, options.scope)


async def _bounds(known: RebuildLog, topology: Topology) -> list[VersionBounds]:
    """Return, for each partition, from where on the log has events, and up to where they are merged."""
    committed = await known.committed(topology.merger_group)
    events, state = [await known.whole(topic) for topic in (topology.events, topology.state)]
    bounds = []
    for number, start in enumerate(events.starts):
        # Where no event of this generation was ever written, all states come from this command.
        is_new = state.ends[number] == 0 or events.ends[number] == 0
        position = committed.get((topology.events.name, number))
        if position is None and not is_new:
            raise CommandError(
                f"it is unknown how far {topology.events.name}/{number} is merged: {topology.merger_group}"
                " has committed nothing.  Start the merger, wait until it has caught up, and stop it again."
            )
        if position is not None and position > events.ends[number]:
            raise CommandError(
                f"{topology.events.name}/{number} ends at {events.ends[number]}, and {position} of it were"
                " merged: its log was cut short, and states may be the only copy of what it lost.  Run"
                " `afterword recover`."
            )
        first = 0 if is_new else version_of(topology.generation, start)
        bounds.append(VersionBounds(first, version_of(topology.generation, position or 0)))
    return bounds


async def _write(
    tools: RebuildTools,
    topology: Topology,
    requests: Requests,
    verdicts: Collection[StateVerdict],
    passed: Checkpoint,
) -> int:
    """Write what is missing or wrong, in transactions of `CHUNK_ROWS` of one partition."""
    waiting: dict[int, dict[bytes, StoredRow]] = {}
    written, now = 0, time.time_ns() // 1_000_000
    async with AsyncExitStack() as stack:
        writers: dict[int, TransactionWriter] = {}
        async for one in requests.judged():
            if one.verdict not in verdicts:
                continue
            number = partition_of(one.key, len(requests.bounds))
            if number not in writers:
                writers[number] = await _opened(tools, topology, number, requests.bounds[number], stack)
                await passed("fenced")
            several = waiting.setdefault(number, {})
            several[one.key] = _stored(one.should, now)
            written += 1
            if len(several) >= CHUNK_ROWS:
                await _commit(tools, writers[number], waiting.pop(number))
                await passed("written")
        for number, several in waiting.items():
            await _commit(tools, writers[number], several)
            await passed("written")
    return written


def _stored(should: ExpectedState | None, now: int) -> StoredRow:
    """Return the record to write: a tombstone if no event is known; `now` if the events have no timestamp."""
    return StoredRow(None, now) if should is None else StoredRow(should.value, should.timestamp or now)


async def _commit(tools: RebuildTools, writer: TransactionWriter, rows: Mapping[bytes, StoredRow]) -> None:
    await writer.commit(rows)
    tools.bar.moved(len(rows))


async def _opened(
    tools: RebuildTools, topology: Topology, number: int, bounds: VersionBounds, stack: AsyncExitStack
) -> TransactionWriter:
    """Fence every merger of a partition; CommandError when one has merged since the comparison."""
    settings = tools.log.settings
    merger = MergerSettings(
        kafka_bootstrap_servers=settings.kafka_bootstrap_servers,
        kafka_topic_generation=topology.generation,
    )
    writer = await TransactionWriter.open(merger, topology, number)
    stack.push_async_callback(writer.close)
    committed = await tools.log.committed(topology.merger_group)
    position = committed.get((topology.events.name, number), 0)
    members = await tools.log.members(topology.merger_group)
    if members or version_of(topology.generation, position) != bounds.end:
        raise CommandError("a merger was started meanwhile: stop it, and run the same call again")
    return writer


def _as_json(counted: StateCounts) -> dict[str, object]:
    return {verdict.value: counted.verdicts[verdict] for verdict in StateVerdict}
