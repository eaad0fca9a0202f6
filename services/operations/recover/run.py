"""What `afterword recover` does, step by step.  Each looks at what is there, so that any may be repeated.

    tables      the SQL files that this release brings
    create      the next generation's topics, which take no events yet
    record      that ClickHouse's rows belong to it
    close       Kafka refuses events for the old generation, if it still has that; the pause begins
    fence       no earlier merger can write states any more
    carry over  events and dead letters that the old log has and ClickHouse does not
    fill        each request's state, from events, rows and old states; again until nothing is to be written
    abandon     the old log is not compared with the tables any more: it may lack what they have
    open        services work on the new generation; the pause ends

What is carried over before the states are filled may be in both, if the old sink still stores it: events that
count at the version of their place change nothing the second time.

Nothing is deleted: the old topics stay as they are.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import ProducerFenced

from schemas.topics import Topic, Topology
from services.operations.confirm import Agree
from services.operations.database import Database, connected
from services.operations.exits import DONE, CommandError
from services.operations.migrate.servers import apply_migrations, connect_clickhouse, record_deployment
from services.operations.progress import ProgressBar
from services.operations.rebuild.core.compare import StateVerdict
from services.operations.rebuild.core.scope import EVERYTHING
from services.operations.rebuild.log import RebuildLog
from services.operations.rebuild.requests import STATES, ComparedState, Requests, copy_states
from services.operations.rebuild.run import INSERT_SECONDS, audited, errors, held, say
from services.operations.rebuild.shadow_table import Checkpoint, RebuildTools, pass_all
from services.operations.recover.core.plan import (
    SOUND,
    RecoverPlan,
    plan,
    plan_as_json,
    plan_lines,
    report_lines,
)
from services.operations.recover.leftovers import CLIENT, Leftovers, carry_letters, digest
from services.operations.recover.request_states import OLDER, RequestStates
from services.operations.recover.settings import RecoverSettings
from services.operations.resize.switch import create, fence, set_limit, wait_until
from services.operations.transfer import Transfer, TransferRecord, unread
from services.pipeline import refusals
from services.pipeline.core.continuity import Recorded, abandoned, is_abandoned
from services.pipeline.core.generation_states import CLOSED, FILLING, GenerationState
from services.pipeline.generations import generations
from services.pipeline.offsets import Offsets, offsets
from services.pipeline.survey import admin, cluster_id
from services.runtime.clickhouse.insert import ClickHouseWriter
from services.runtime.kafka.log_reader import read

ACT = "recover"
ROUNDS = 3
"""So often the states are written and read back, before something else must be writing them."""
CHUNK_ROWS = 1_000


@dataclass(frozen=True)
class RecoverOptions:
    """What the options ask for."""

    partitions: int | None = None
    adopt: bool = False
    again: bool = False
    json: bool = False


@dataclass
class RecoverReport:
    """What was done."""

    to: int
    states: int = 0
    carried: int = 0
    letters: int = 0


async def recover(
    settings: RecoverSettings, options: RecoverOptions, agree: Agree, passed: Checkpoint = pass_all
) -> int:
    """Show what would be done, and do it if that is agreed to."""
    given = settings.kafka_topic_generation if settings.is_generation_given else None
    async with connected(settings) as database, admin(settings, CLIENT) as client:
        recorded, cluster = await database.deployments(), await cluster_id(client)
        found = plan(
            await generations(client), recorded, cluster, options.partitions, given=given, adopt=options.adopt
        )
        counts = await _counts(database)
        if not options.again and await _is_sound(settings, found, recorded):
            say(options.json, [SOUND.format(number=found.recorded.generation)], {"plan": None})
            return DONE
        say(options.json, plan_lines(found, counts), {"plan": plan_as_json(found, counts)})
        if not agree(f"Fill generation {found.to}, and move to it?"):
            return DONE
        facts = {"generation": found.recorded.generation, "to": found.to, "partitions": found.partitions}
        with (
            held(settings),
            audited(settings, ACT, facts) as outcome,
            ProgressBar("Looking", None, errors) as bar,
        ):
            run = _Recovery(settings, found, database, client, bar, passed)
            try:
                report = await run.go()
            except ProducerFenced as error:
                raise CommandError(
                    "Another recovery or resize has begun; this one leaves it all to it."
                ) from error
            outcome |= {"states": report.states, "events": report.carried, "letters": report.letters}
    done = {"to": report.to, "states": report.states, "events": report.carried, "letters": report.letters}
    say(options.json, report_lines(found, report.states, report.carried, report.letters), done)
    return DONE


async def _counts(database: Database) -> Mapping[str, int]:
    return {name: rows for name, (_, rows) in (await database.sizes()).items()}


async def _is_sound(settings: RecoverSettings, found: RecoverPlan, recorded: Sequence[Recorded]) -> bool:
    """Return whether the newest generation was filled by this command, and nothing of it is lost since."""
    last = found.recorded
    if (
        found.old is None
        or found.old.standing is not GenerationState.OPEN
        or last.cluster_id != found.cluster
    ):
        return False
    if not any(is_abandoned(one) for one in recorded):
        return False
    if await refusals.lost(settings, last.generation):
        return False  # new records may have passed every position since
    topology = Topology(last.generation)
    names = [topic.name for topic in topology.topics]
    writer = ClickHouseWriter(settings, INSERT_SECONDS)
    try:
        stored = await writer.positions(names)
    finally:
        await writer.close()
    async with offsets(settings, CLIENT) as known:
        ends = await known.ends(await known.partitions(names))
        merged = await known.committed(topology.merger_group)
    held = [*merged.items(), *((place, one.position) for place, one in stored.items())]
    return {name for name, _ in ends} == {*names} and all(
        place in ends and position <= ends[place] for place, position in held
    )


class _Recovery:
    """One run.  Whatever it remembers can be found out again by the next."""

    def __init__(
        self,
        settings: RecoverSettings,
        found: RecoverPlan,
        database: Database,
        client: AIOKafkaAdminClient,
        bar: ProgressBar,
        passed: Checkpoint,
    ) -> None:
        self._settings, self._plan, self._database = settings, found, database
        self._client, self._bar, self._passed = client, bar, passed
        self._old, self._new = Topology(found.recorded.generation), Topology(found.to)
        self._report = RecoverReport(found.to)

    async def go(self) -> RecoverReport:
        """Take every step."""
        await self._step("Bringing the tables up to date", self._tables)
        await self._step("Making the topics", self._create)
        await self._step("Recording them", self._record)
        if self._plan.old is not None:
            await self._step("Pausing: Kafka refuses events from now on", self._close)
            await self._step("Fencing the old merger", self._fence)
        async with offsets(self._settings, CLIENT, committed=True) as known:
            await self._step("Reading the old states", lambda: self._read_states(known))
            await self._step("Carrying over what was not stored", lambda: self._carry(known))
            await self._step("Filling the states", lambda: self._fill(known))
        await self._step("Leaving the old log", self._abandon)
        await self._step("Opening the new generation", self._open)
        return self._report

    async def _step(self, doing: str, act: Callable[[], Awaitable[None]]) -> None:
        self._bar.begin(doing, None)
        await self._passed(doing)
        await act()

    async def _tables(self) -> None:
        deadline = asyncio.get_running_loop().time()
        async with connect_clickhouse(self._settings, deadline) as client:
            async for _ in apply_migrations(client, self._settings.clickhouse_database):
                pass

    async def _create(self) -> None:
        await create(self._client, self._settings, self._old, self._new, self._plan.partitions)

    async def _record(self) -> None:
        await self._written(Recorded(self._plan.to, self._plan.cluster, self._plan.partitions))

    async def _written(self, record: Recorded) -> None:
        if record in await self._database.deployments():
            return
        deadline = asyncio.get_running_loop().time()
        async with connect_clickhouse(self._settings, deadline) as client:
            client.database = self._settings.clickhouse_database
            await record_deployment(client, record)

    async def _close(self) -> None:
        await set_limit(self._client, self._old.events.name, CLOSED)
        await wait_until(self._settings, self._old.events.name, refuses=True)

    async def _fence(self) -> None:
        assert self._plan.old is not None  # noqa: S101 (asked before)
        await fence(self._settings, self._old, self._plan.old.partitions)

    async def _read_states(self, known: Offsets) -> None:
        async with self._tools(known) as tools:
            await self._clean(OLDER)
            await copy_states(tools, self._old, EVERYTHING, OLDER)

    @asynccontextmanager
    async def _tools(self, known: Offsets) -> AsyncIterator[RebuildTools]:
        writer = ClickHouseWriter(self._settings, INSERT_SECONDS)
        try:
            yield RebuildTools(self._database, RebuildLog(self._settings, known, []), writer, self._bar)
        finally:
            await writer.close()

    async def _fill(self, known: Offsets) -> None:
        async with self._tools(known) as tools, self._transfer(self._new.state) as transfer:
            for _ in range(ROUNDS):
                await self._clean(STATES)
                await copy_states(tools, self._new, EVERYTHING)
                if not await self._fill_once(transfer):
                    await self._clean(OLDER, STATES)
                    return
        raise CommandError(
            f"{self._new.state.name} does not hold what was written: is a merger writing to it?"
        )

    async def _fill_once(self, transfer: Transfer) -> int:
        recorded = {
            deployment.generation: deployment.partitions for deployment in await self._database.deployments()
        }
        requests = await RequestStates.open(self._database, self._new, recorded, [], EVERYTHING)
        self._bar.begin(f"{self._new.state.name}: writing states", None)
        waiting: list[TransferRecord] = []
        written = count = 0
        async for one in requests.judged():
            count += one.should is not None
            if one.verdict is not StateVerdict.SAME:
                waiting.append(_entry(one))
            if len(waiting) >= CHUNK_ROWS:
                written += await self._put(transfer, waiting)
                waiting = []
        written += await self._put(transfer, waiting)
        self._report.states = count
        return written

    async def _put(self, transfer: Transfer, entries: Sequence[TransferRecord]) -> int:
        if entries:
            await transfer.put(entries)
            await self._passed("states written")
            self._bar.moved(len(entries))
        return len(entries)

    async def _clean(self, *scratch: str) -> None:
        for table in scratch:
            await self._database.change(Requests.drop_states(table))

    async def _carry(self, known: Offsets) -> None:
        await set_limit(self._client, self._new.events.name, FILLING)
        await wait_until(self._settings, self._new.events.name, refuses=False)
        async with self._transfer(self._new.events) as transfer:
            done = await self._done(known, self._new.events)
            leftovers = Leftovers(self._settings, self._database, self._old, transfer.put, done)
            stretches = await unread(known, self._old.events.name)
            self._report.carried = await leftovers.carry(stretches, self._bar.moved)
        letters = ((self._old.events_dlq, self._new.events_dlq), (self._old.state_dlq, self._new.state_dlq))
        for old, new in letters:
            async with self._transfer(new) as transfer:
                done, stretches = await self._done(known, new), await unread(known, old.name)
                self._report.letters += await carry_letters(
                    self._settings, self._database, old, stretches, transfer.put, done
                )

    async def _done(self, known: Offsets, topic: Topic) -> Counter[bytes]:
        """Return what a run that was cut off has appended: no other producer can write there yet."""
        done: Counter[bytes] = Counter()
        async for part in read(self._settings, CLIENT, [topic], await unread(known, topic.name)):
            done.update(digest(record) for record in part.records)
        return done

    @asynccontextmanager
    async def _transfer(self, topic: Topic) -> AsyncIterator[Transfer]:
        # In a log of events every offset is an event: none may be the end of a transaction.
        group = None if topic == self._new.events else self._new.filling_group
        partitions = topic.partitions(self._plan.partitions)
        transfer = await Transfer.open(self._settings, topic.name, partitions, group)
        try:
            yield transfer
        finally:
            await transfer.close()

    async def _abandon(self) -> None:
        for deployment in await self._database.deployments():
            if deployment.generation < self._plan.to:
                await self._written(abandoned(deployment))

    async def _open(self) -> None:
        await set_limit(self._client, self._new.events.name, self._new.events.max_message_bytes)
        await wait_until(self._settings, self._new.events.name, refuses=False)


def _entry(one: ComparedState) -> TransferRecord:
    assert one.should is not None  # noqa: S101 (only what is known is written)
    return TransferRecord(one.key, one.should.value, one.should.timestamp)
