"""Reads where every stage stands: once for all who wait, and not at all while nobody does."""

import asyncio
import time
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from datetime import UTC, datetime
from typing import TypeVar

import structlog
from aiokafka.errors import KafkaError

from schemas.tables import SINK_POSITIONS
from schemas.topics import Topology
from services.pipeline.core.barrier import Snapshot
from services.pipeline.core.generation_states import in_use
from services.pipeline.generations import LOOK_SECONDS
from services.pipeline.offsets import Offsets, Place, offsets
from services.query.core.marks import Marks
from services.query.core.places import Full, Places
from services.query.core.problems import Code, Problem
from services.query.metrics import POSITION_READS, WAITING
from services.query.settings import QuerySettings
from services.query.store import Store
from services.runtime.clickhouse.core.statement import Statement

log = structlog.get_logger()

T = TypeVar("T")

AGAIN_SECONDS = 0.1
"""Between two readings while somebody waits."""
BACKOFF_SECONDS = 0.5
"""The same while Kafka does not answer."""
ANSWER_SECONDS = 5.0
"""What one answer of Kafka may take."""

UNREACHABLE = (KafkaError, OSError, TimeoutError)
NO_KAFKA = "Kafka does not answer; try again in a moment"


class Positions:
    """Positions of all stages, shared: everybody who asks while one reading runs gets the next one."""

    def __init__(self, settings: QuerySettings, store: Store) -> None:
        self._settings, self._store = settings, store
        self.topology = Topology(settings.kafka_topic_generation)
        """The topics that were in use at the latest reading."""
        self._looked_at = float("-inf")
        self._waiting: list[asyncio.Future[Snapshot]] = []
        self._taken = 0
        self._places = Places(settings.query_max_waiting)
        self.is_closed = False
        """The service stops: nobody waits for what is not stored yet."""
        self._reading: asyncio.Task[None] | None = None
        self._kafka = AsyncExitStack()
        self._connecting = asyncio.Lock()
        self._offsets: Offsets | None = None
        self.marks = Marks()
        """Where the watermark is, as far as anybody asked."""
        self.problem: str | None = None
        """What is wrong with the connection to Kafka, or None."""

    @contextmanager
    def place(self, tenant: str = "") -> Iterator[None]:
        """Have a place among those who wait, for as long as the block, however often it reads.

        Problem when too many wait already (`overloaded`), or too many of this tenant (`rate_limited`).
        """
        self._check_room(tenant)
        self._places.take(tenant)
        self._taken += 1
        WAITING.set(self._taken)
        try:
            yield
        finally:
            self._taken -= 1
            self._places.leave(tenant)
            WAITING.set(self._taken)

    async def read(self) -> Snapshot:
        """Return positions read after this call.

        Problem when a server does not answer (`log_unavailable`, `store_unavailable`).
        """
        future: asyncio.Future[Snapshot] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_for_all(), name="positions")
        return await future

    def _check_room(self, tenant: str) -> None:
        match self._places.full(tenant):
            case Full.ALL:
                detail = "too many readers wait already; ask without `wait`, or again later"
                raise Problem(Code.OVERLOADED, detail)
            case Full.OWN:
                detail = "too many readers of this tenant wait already; ask without `wait`, or again later"
                raise Problem(Code.RATE_LIMITED, detail)

    async def members(self) -> dict[str, int]:
        """Return how many consumers each stage's group has now; Problem `log_unavailable`."""
        try:
            kafka = await _in_time(self._connected())
            return await _in_time(kafka.members([stage.group for stage in self.topology.stages]))
        except UNREACHABLE as error:
            raise Problem(Code.LOG_UNAVAILABLE, NO_KAFKA) from error

    async def generation(self, at_least: int) -> int:
        """Return the generation of the topics in use; Kafka is asked only if a newer one is expected."""
        if at_least > self.topology.generation and not self._settings.is_generation_given:
            with suppress(*UNREACHABLE):
                await self._turn(await _in_time(self._connected()), patience=0)
        return self.topology.generation

    def close(self) -> None:
        """Let all who wait have the answer that there is now; positions are read until `stop`."""
        self.is_closed = True

    async def stop(self) -> None:
        """Disconnect, and tell who still waits for a reading."""
        self.close()
        waiting, self._waiting = self._waiting, []
        _fail(waiting, _stopping())
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self._disconnect()

    async def _read_for_all(self) -> None:
        while self._waiting:
            asking, self._waiting = self._waiting, []
            pause = AGAIN_SECONDS
            try:
                seen = await self._read()
            except Problem as problem:
                pause = BACKOFF_SECONDS
                _fail(asking, problem)
            except BaseException as error:
                asking += self._waiting
                self._waiting = []
                _fail(asking, error if isinstance(error, Exception) else _stopping())
                raise
            else:
                self.marks = self.marks.after(seen)
                for future in asking:
                    if not future.done():
                        future.set_result(seen)
            await asyncio.sleep(pause)

    async def _read(self) -> Snapshot:
        try:
            seen = await self._in_order(await _in_time(self._connected()))
        except UNREACHABLE as error:
            await self._disconnect()
            self.problem = f"Kafka: {error!r}"
            POSITION_READS.labels("failed").inc()
            log.warning("positions not read", error=repr(error))
            raise Problem(Code.LOG_UNAVAILABLE, NO_KAFKA) from error
        self.problem = None
        POSITION_READS.labels("read").inc()
        return seen

    async def _in_order(self, kafka: Offsets) -> Snapshot:
        """Read everything in the order that `Snapshot` promises."""
        at = datetime.fromtimestamp(time.time(), UTC)
        await self._turn(kafka, patience=LOOK_SECONDS)
        topology, group = self.topology, self.topology.merger_group
        events, states = topology.events.name, topology.state.name
        letters = [topic.name for topic in (topology.events_dlq, topology.state_dlq)]
        places = await _in_time(kafka.places([events, states, *letters]))
        logged = await _in_time(kafka.ends(_of(places, events)))
        merged = await _in_time(kafka.committed(group))
        ends = await _in_time(kafka.ends(_of(places, states)))
        stored = await self._stored([events, states])
        letter_ends = await _in_time(kafka.ends(_of(places, *letters)))
        stored_letters = await self._stored(letters)
        return Snapshot(
            at=at,
            logged=_numbered(logged, events),
            merged=_numbered(merged, events),
            states=_numbered(ends, states),
            stored_states=_numbered(stored, states),
            stored_events=_numbered(stored, events),
            letters={topic: end for (topic, _), end in letter_ends.items()},
            stored_letters={topic: position for (topic, _), position in stored_letters.items()},
            generation=topology.generation,
        )

    async def _turn(self, kafka: Offsets, patience: float) -> None:
        """Turn to the topics in use, if they were not looked for within so many seconds."""
        if self._settings.is_generation_given or time.monotonic() - self._looked_at < patience:
            return
        number = in_use(await _in_time(kafka.generations()))
        self._looked_at = time.monotonic()
        if number > self.topology.generation:
            log.info("generation found", generation=number)
            self.topology, self.marks = Topology(number), Marks()

    async def _stored(self, topics: list[str]) -> dict[Place, int]:
        rows = await self._store.rows(Statement(STORED, {"topics": topics}))
        return {(row["topic"], row["partition"]): row["position"] for row in rows}

    async def _connected(self) -> Offsets:
        async with self._connecting:
            if self._offsets is None:
                connection = offsets(self._settings, "afterword-query")
                self._offsets = await self._kafka.enter_async_context(connection)
            return self._offsets

    async def _disconnect(self) -> None:
        self._offsets = None
        await self._kafka.aclose()


STORED = (
    f"SELECT topic, partition, max(position) AS position FROM {SINK_POSITIONS} "
    "WHERE topic IN {topics:Array(String)} GROUP BY topic, partition"
)


async def _in_time(answer: Awaitable[T]) -> T:
    """Return an answer of Kafka's; TimeoutError when it takes too long."""
    async with asyncio.timeout(ANSWER_SECONDS):
        return await answer


def _of(places: list[Place], *topics: str) -> list[Place]:
    return [place for place in places if place[0] in topics]


def _numbered(found: Mapping[Place, int], topic: str) -> dict[int, int]:
    return {partition: offset for (name, partition), offset in found.items() if name == topic}


def _stopping() -> Problem:
    return Problem(Code.OVERLOADED, "the service is stopping; ask again")


def _fail(asking: list[asyncio.Future[Snapshot]], error: BaseException) -> None:
    for future in asking:
        if not future.done():
            future.set_exception(error)
