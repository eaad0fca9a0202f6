"""Reads the positions of all stages: one reading for all requests that wait, none while no request does."""

import asyncio
import time
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import TypeVar

import structlog
from aiokafka.errors import KafkaError

from schemas.topics import Topology
from services.pipeline.core.generation_states import in_use
from services.pipeline.core.snapshot import PipelineSnapshot
from services.pipeline.core.watermark import QueryableWatermark
from services.pipeline.generations import LOOK_SECONDS
from services.pipeline.offsets import Offsets, offsets, read_snapshot
from services.query.core.problems import ProblemCode, QueryProblem
from services.query.metrics import POSITION_READS, WAITING
from services.query.settings import QuerySettings
from services.query.store import QueryStore
from services.runtime.fairness import NoSlot, TenantSlots

log = structlog.get_logger()

T = TypeVar("T")

AGAIN_SECONDS = 0.1
"""Between two readings while requests wait."""
BACKOFF_SECONDS = 0.5
"""The same while Kafka does not answer."""
ANSWER_SECONDS = 5.0
"""Timeout of one answer of Kafka."""

UNREACHABLE = (KafkaError, OSError, TimeoutError)
NO_KAFKA = "Kafka does not answer; try again in a moment"


class Positions:
    """Positions of all stages, shared: a request that comes during a reading gets the next one."""

    def __init__(self, settings: QuerySettings, store: QueryStore) -> None:
        self._settings, self._store = settings, store
        self.topology = Topology(settings.kafka_topic_generation)
        """The topics that were in use at the latest reading."""
        self._looked_at = float("-inf")
        self._waiting: list[asyncio.Future[PipelineSnapshot]] = []
        self._taken = 0
        self._places = TenantSlots(settings.query_max_waiting)
        self.is_closed = False
        """The service stops: requests no longer wait for what is not stored yet."""
        self._reading: asyncio.Task[None] | None = None
        self._kafka = AsyncExitStack()
        self._connecting = asyncio.Lock()
        self._offsets: Offsets | None = None
        self.watermark = QueryableWatermark()
        """The watermark as of the latest reading."""
        self.problem: str | None = None
        """What is wrong with the connection to Kafka, or None."""

    @contextmanager
    def waiter(self, tenant: str = "") -> Iterator[None]:
        """Count the caller among those that wait, during the block, however often it reads.

        QueryProblem when too many requests wait already (`overloaded`), or of this tenant (`rate_limited`).
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

    async def read(self) -> PipelineSnapshot:
        """Return positions read after this call.

        QueryProblem when a server does not answer (`log_unavailable`, `store_unavailable`).
        """
        future: asyncio.Future[PipelineSnapshot] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_for_all(), name="positions")
        return await future

    def _check_room(self, tenant: str) -> None:
        match self._places.full(tenant):
            case NoSlot.ALL:
                detail = "too many readers wait already; ask without `wait`, or again later"
                raise QueryProblem(ProblemCode.OVERLOADED, detail)
            case NoSlot.OWN:
                detail = "too many readers of this tenant wait already; ask without `wait`, or again later"
                raise QueryProblem(ProblemCode.RATE_LIMITED, detail)

    async def members(self) -> dict[str, int]:
        """Return how many consumers each stage's group has now; QueryProblem `log_unavailable`."""
        try:
            kafka = await _in_time(self._connected())
            return await _in_time(kafka.members([stage.group for stage in self.topology.stages]))
        except UNREACHABLE as error:
            raise QueryProblem(ProblemCode.LOG_UNAVAILABLE, NO_KAFKA) from error

    async def generation(self, at_least: int) -> int:
        """Return the generation of the topics in use; Kafka is asked only if `at_least` is newer."""
        if at_least > self.topology.generation and not self._settings.is_generation_given:
            with suppress(*UNREACHABLE):
                await self._follow_generation(await _in_time(self._connected()), patience=0)
        return self.topology.generation

    def close(self) -> None:
        """Have waiting requests answered as of now; positions are read until `stop`."""
        self.is_closed = True

    async def stop(self) -> None:
        """Disconnect; readings that are still waited for fail with QueryProblem."""
        self.close()
        waiting, self._waiting = self._waiting, []
        _fail(waiting, _stopping())
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self._disconnect()

    async def _read_for_all(self) -> None:
        while self._waiting:
            futures, self._waiting = self._waiting, []
            pause = AGAIN_SECONDS
            try:
                seen = await self._read()
            except QueryProblem as problem:
                pause = BACKOFF_SECONDS
                _fail(futures, problem)
            except BaseException as error:
                futures += self._waiting
                self._waiting = []
                _fail(futures, error if isinstance(error, Exception) else _stopping())
                raise
            else:
                self.watermark = self.watermark.after(seen)
                for future in futures:
                    if not future.done():
                        future.set_result(seen)
            await asyncio.sleep(pause)

    async def _read(self) -> PipelineSnapshot:
        try:
            seen = await self._in_order(await _in_time(self._connected()))
        except UNREACHABLE as error:
            await self._disconnect()
            self.problem = f"Kafka: {error!r}"
            POSITION_READS.labels("failed").inc()
            log.warning("positions not read", error=repr(error))
            raise QueryProblem(ProblemCode.LOG_UNAVAILABLE, NO_KAFKA) from error
        self.problem = None
        POSITION_READS.labels("read").inc()
        return seen

    async def _in_order(self, kafka: Offsets) -> PipelineSnapshot:
        """Read everything in the order that `PipelineSnapshot` promises."""
        await self._follow_generation(kafka, patience=LOOK_SECONDS)
        return await read_snapshot(kafka, self.topology, self._store.rows, ANSWER_SECONDS)

    async def _follow_generation(self, kafka: Offsets, patience: float) -> None:
        """Switch to the topics in use, unless Kafka was asked within the last `patience` seconds."""
        if self._settings.is_generation_given or time.monotonic() - self._looked_at < patience:
            return
        number = in_use(await _in_time(kafka.generations()))
        self._looked_at = time.monotonic()
        if number > self.topology.generation:
            log.info("generation found", generation=number)
            self.topology, self.watermark = Topology(number), QueryableWatermark()

    async def _connected(self) -> Offsets:
        async with self._connecting:
            if self._offsets is None:
                connection = offsets(self._settings, "afterword-query")
                self._offsets = await self._kafka.enter_async_context(connection)
            return self._offsets

    async def _disconnect(self) -> None:
        self._offsets = None
        await self._kafka.aclose()


async def _in_time(answer: Awaitable[T]) -> T:
    """Return an answer of Kafka's; TimeoutError when it takes too long."""
    async with asyncio.timeout(ANSWER_SECONDS):
        return await answer


def _stopping() -> QueryProblem:
    return QueryProblem(ProblemCode.OVERLOADED, "the service is stopping; ask again")


def _fail(futures: list[asyncio.Future[PipelineSnapshot]], error: BaseException) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
