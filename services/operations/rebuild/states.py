"""`afterword rebuild --state`: puts the state topic right from the events that are known.

The events come from the retained log, and from `feedback_events` for what lies before its start.  They are
sorted by request in a scratch table, and so are the records of the state topic, so that memory stays the same
however many requests there are.  What is written goes through the merger's own transactional id: Kafka fences
a merger that was started meanwhile, and the local copies of mergers read it as they read everything else.
"""

import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from schemas.identity import partition_of, version_of
from schemas.topics import Topology
from services.merger.core.state import Stored
from services.merger.settings import MergerSettings
from services.merger.transaction import Writer
from services.operations.audit.core.expected_state import ExpectedState
from services.operations.confirm import Agree
from services.operations.exits import DONE, FOUND, CommandError
from services.operations.progress import Bar
from services.operations.rebuild.core.compare import WRITTEN, Bounds, Verdict
from services.operations.rebuild.core.kinds import EVENTS
from services.operations.rebuild.engine import Engine, engine
from services.operations.rebuild.log import Log, log
from services.operations.rebuild.requests import Judged, Requests, copy_states
from services.operations.rebuild.run import (
    INSERT_SECONDS,
    Wanted,
    audited,
    errors,
    held,
    in_use,
    say,
)
from services.operations.rebuild.settings import RebuildSettings
from services.operations.rebuild.shadow_table import Bench, build, carry_over
from services.operations.rebuild.swapping import Passed, clean, nobody
from services.runtime.clickhouse.insert import ClickHouseWriter

ACT = "rebuild --state"
CHUNK_ROWS = 1_000
MOST_EXAMPLES = 5


@dataclass
class Counted:
    """How many requests there are of each verdict, and some of those that are not the same."""

    drops: bool = False
    """Whether states of requests without events are removed."""
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    examples: dict[Verdict, list[str]] = field(default_factory=dict)

    def add(self, one: Judged) -> None:
        """Count a request."""
        self.verdicts[one.verdict] += 1
        named = self.examples.setdefault(one.verdict, [])
        if one.verdict is not Verdict.SAME and len(named) < MOST_EXAMPLES:
            named.append(one.key.decode())

    @property
    def to_write(self) -> int:
        """How many records are to be written."""
        return sum(self.verdicts[verdict] for verdict in self.written)

    @property
    def written(self) -> frozenset[Verdict]:
        """Which verdicts call for another record."""
        return WRITTEN | {Verdict.INVENTED} if self.drops else WRITTEN

    def lines(self, topic: str) -> list[str]:
        """Return the counts in words."""
        told = [f"{self.verdicts[Verdict.SAME]:,} states in {topic} are what their events come to"]
        for verdict, what in _WORDS.items():
            if self.verdicts[verdict]:
                removed = verdict is Verdict.INVENTED and self.drops
                does = "are of requests of which no event is known: removed for good" if removed else what
                shown = ", ".join(self.examples[verdict])
                told.append(
                    f"{self.verdicts[verdict]:,} {does}: {shown}{' …' * (self.verdicts[verdict] > 5)}"
                )
        return told


_WORDS = {
    Verdict.MISSING: "are missing, and will be written",
    Verdict.DAMAGED: "are no states, and will be written anew",
    Verdict.DIFFERS: "differ, and will be written anew",
    Verdict.INVENTED: "are of requests of which no event is known, and stay: --drop-unknown removes them",
    Verdict.INCOMPLETE: "differ, but rest on events that nobody has any more, and are left as they are",
}


async def rebuild_states(
    settings: RebuildSettings, wanted: Wanted, agree: Agree, passed: Passed = nobody
) -> int:
    """Show which states are not what their events come to, and write those if that is agreed to."""
    settings = await in_use(settings)
    topology = Topology(settings.kafka_topic_generation)
    async with (
        engine(settings) as store,
        log(settings, await store.deployments()) as known,
        _writer(settings) as rows,
    ):
        await _check(known, topology)
        with held(settings), Bar("Reading", None, errors) as bar:
            bench = Bench(store, known, rows, bar)
            await _clean(store)
            requests = await _prepared(bench, topology, wanted)
            counted = Counted(drops=wanted.drop_unknown)
            async for one in requests.judged():
                counted.add(one)
            say(wanted.json, counted.lines(topology.state.name), {"plan": _as_json(counted)})
            written = 0
            if counted.to_write and agree(f"Write {counted.to_write:,} states to {topology.state.name}?"):
                with audited(settings, ACT, {"scope": str(wanted.scope), "states": counted.to_write}):
                    bar.begin("writing states", counted.to_write)
                    written = await _write(bench, topology, requests, counted.written, passed)
                say(wanted.json, [f"{written:,} states written"], {"written": written})
            await _clean(store)
    return FOUND if counted.verdicts[Verdict.INCOMPLETE] else DONE


@asynccontextmanager
async def _writer(settings: RebuildSettings) -> AsyncIterator[ClickHouseWriter]:
    writer = ClickHouseWriter(settings, INSERT_SECONDS)
    try:
        yield writer
    finally:
        await writer.close()


async def _clean(store: Engine) -> None:
    await clean(store, EVENTS)
    await store.change(Requests.drop_states())


async def _check(known: Log, topology: Topology) -> None:
    """Refuse to write where there is no topic, or beside a merger."""
    if not await known.places([topology.state]):
        raise CommandError(
            f"Kafka has lost {topology.state.name}.  A topic is never made again under its name: its offsets"
            " would begin again, and new rows would lose against stored ones.  Run `afterword recover`."
        )
    if members := await known.members(topology.merger_group):
        raise CommandError(
            f"{members} merger{' is' if members == 1 else 's are'} running: stop every merger first, and"
            " start them again afterwards.  Ingest may go on: events wait in the log."
        )


async def _prepared(bench: Bench, topology: Topology, wanted: Wanted) -> Requests:
    """Sort events and states by request, in scratch tables."""
    names = await bench.engine.columns(EVENTS)
    bounds = await _bounds(bench.log, topology)
    await bench.engine.change(f"CREATE TABLE {EVENTS.scratch} AS {EVENTS.table}")
    built = await build(bench, EVENTS, EVENTS.scratch, wanted.scope)
    # What the log lacks may be the only copy of what Kafka lost: states are made with it, never without.
    await carry_over(bench, built, names, wanted.scope, unknown=True)
    await copy_states(bench, topology, wanted.scope)
    recorded = {one.generation: one.partitions for one in await bench.engine.deployments()}
    bench.bar.begin("comparing states with their events", None)
    return await Requests.open(bench.engine, topology, recorded, bounds, wanted.scope)


async def _bounds(known: Log, topology: Topology) -> list[Bounds]:
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
                f"nobody knows how far {topology.events.name}/{number} is merged: {topology.merger_group} has"
                " committed nothing.  Start the merger, wait until it has caught up, and stop it again."
            )
        if position is not None and position > events.ends[number]:
            raise CommandError(
                f"{topology.events.name}/{number} ends at {events.ends[number]}, and {position} of it were"
                " merged: its log was cut short, and states may be the only copy of what it lost.  Run"
                " `afterword recover`."
            )
        first = 0 if is_new else version_of(topology.generation, start)
        bounds.append(Bounds(first, version_of(topology.generation, position or 0)))
    return bounds


async def _write(
    bench: Bench, topology: Topology, requests: Requests, verdicts: Collection[Verdict], passed: Passed
) -> int:
    """Write what is missing or wrong, in transactions of some of one partition each."""
    waiting: dict[int, dict[bytes, Stored]] = {}
    written, now = 0, time.time_ns() // 1_000_000
    async with AsyncExitStack() as stack:
        writers: dict[int, Writer] = {}
        async for one in requests.judged():
            if one.verdict not in verdicts:
                continue
            number = partition_of(one.key, len(requests.bounds))
            if number not in writers:
                writers[number] = await _opened(bench, topology, number, requests.bounds[number], stack)
                await passed("fenced")
            several = waiting.setdefault(number, {})
            several[one.key] = _stored(one.should, now)
            written += 1
            if len(several) >= CHUNK_ROWS:
                await _commit(bench, writers[number], waiting.pop(number))
                await passed("written")
        for number, several in waiting.items():
            await _commit(bench, writers[number], several)
            await passed("written")
    return written


def _stored(should: ExpectedState | None, now: int) -> Stored:
    """Return what is to be written: null for what nobody has ever said, and times for what has none."""
    return Stored(None, now) if should is None else Stored(should.value, should.timestamp or now)


async def _commit(bench: Bench, writer: Writer, rows: Mapping[bytes, Stored]) -> None:
    await writer.commit(rows)
    bench.bar.moved(len(rows))


async def _opened(
    bench: Bench, topology: Topology, number: int, bounds: Bounds, stack: AsyncExitStack
) -> Writer:
    """Fence every merger of a partition; CommandError when one has merged since the comparison."""
    settings = bench.log.settings
    merger = MergerSettings(
        kafka_bootstrap_servers=settings.kafka_bootstrap_servers,
        kafka_topic_generation=topology.generation,
    )
    writer = await Writer.open(merger, topology, number)
    stack.push_async_callback(writer.close)
    committed = await bench.log.committed(topology.merger_group)
    position = committed.get((topology.events.name, number), 0)
    members = await bench.log.members(topology.merger_group)
    if members or version_of(topology.generation, position) != bounds.end:
        raise CommandError("a merger was started meanwhile: stop it, and run the same call again")
    return writer


def _as_json(counted: Counted) -> dict[str, object]:
    return {verdict.value: counted.verdicts[verdict] for verdict in Verdict}
