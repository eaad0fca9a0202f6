"""Groups events into record batches: those that arrive during a produce request form the next batch.

There is no linger: with one client an event is sent at once, with many the time of a request collects them.
aiokafka has one produce request in flight for each broker, so there is one accumulator for each.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.structs import TopicPartition

from services.ingest.event_log import NO_OFFSET, EventRange, LogUnavailable, Overloaded, Record
from services.ingest.metrics import BATCH_RECORDS, PRODUCE_SECONDS
from services.runtime.core.quota import ByteQuota

UNKNOWN = 0


def send_count(producer: Any, topic: str, partition: int) -> Callable[[], int]:
    """Return a function that returns how often the batch was sent that `send_batch` has just accepted.

    Only a batch that was sent once is certainly not written when Kafka refuses it.  Call this before anything
    else is awaited.  aiokafka has no public API for it, so private attributes are read, which a contract test
    pins.
    """
    accumulator = getattr(producer, "_message_accumulator", None)
    if accumulator is None:
        return lambda: UNKNOWN
    batch = accumulator._batches[TopicPartition(topic, partition)][-1]  # noqa: SLF001
    return lambda: int(batch.retry_count)


RECORD_OVERHEAD_BYTES = 200
"""Memory of an event in addition to key and value: its record, its future, its waiting request."""

NOT_WRITTEN = "Kafka does not accept events at the moment; the event was not written"
MAYBE_WRITTEN = (
    "Kafka did not acknowledge the event in time; it may still be written, once: "
    "send it again with the same Idempotency-Key"
)

MAX_BATCH_BYTES = 900_000
"""Less than the topic's max.message.bytes, more than the largest event."""

MOVING = "the topics are moving to a new generation; the event was not written: send it again in a moment"


class RecordBatch:
    """Events of one partition that are written, acknowledged and counted together.

    Each waiter has its own future, because a task that is cancelled while it awaits a shared future cancels
    it for all.  A caller with consecutive events waits for the offset of the first.
    """

    __slots__ = ("_count", "_waiters", "builder", "charges", "handed_over_at", "partition", "timer")

    def __init__(self, partition: int, builder: Any) -> None:
        self.partition = partition
        self.charges: dict[bytes, int] = {}
        """Bytes taken from the quota, by tenant."""
        self.handed_over_at: float | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.builder = builder
        self._waiters: list[tuple[int, asyncio.Future[int]]] = []
        """The index of a record, and the future of its offset."""
        self._count = 0

    def add(self, key: bytes, value: bytes, tenant: bytes, size: int, waiter: asyncio.Future[int]) -> bool:
        """Append an event; return False if the batch is full.  The first event always fits."""
        if self.builder.append(timestamp=None, key=key, value=value) is None:
            return False
        self._expect(tenant, size, waiter, 1)
        return True

    def add_all(
        self, records: Sequence[Record], indexes: Sequence[int], tenant: bytes, waiter: asyncio.Future[int]
    ) -> int:
        """Append the records at `indexes` that fit, for one waiter; return how many were appended."""
        append, size, taken = self.builder.append, 0, 0
        for index in indexes:
            key, value = records[index]
            if append(timestamp=None, key=key, value=value) is None:
                break
            size += len(key) + len(value) + RECORD_OVERHEAD_BYTES
            taken += 1
        if taken:
            self._expect(tenant, size, waiter, taken)
        return taken

    def _expect(self, tenant: bytes, size: int, waiter: asyncio.Future[int], count: int) -> None:
        self._waiters.append((self._count, waiter))
        self._count += count
        self.charges[tenant] = self.charges.get(tenant, 0) + size

    def __len__(self) -> int:
        return self._count

    def hand_over(self, now: float) -> None:
        """Close the batch and pass it to the producer, which retries it without limit.

        It must be closed first: aiokafka counts the records when it accepts a batch, and builds it an
        iteration of the event loop later.  A record appended in between would break the sequence numbers.
        """
        self.builder.close()
        self.handed_over_at = now

    def acknowledge(self, first_offset: int) -> None:
        """Set the offsets of all waiters; a negative `first_offset` means that Kafka returned none."""
        for index, waiter in self._settled():
            if not waiter.done():
                waiter.set_result(first_offset + index if first_offset >= 0 else NO_OFFSET)

    def fail(self) -> None:
        """Fail all waiters with LogUnavailable; a batch that was handed over may still be written."""
        unknown = self.handed_over_at is not None
        for _, waiter in self._settled():
            if not waiter.done():
                waiter.set_exception(
                    LogUnavailable(MAYBE_WRITTEN if unknown else NOT_WRITTEN, unknown=unknown)
                )
                waiter.exception()  # marks it as retrieved: asyncio would log it if the request was cancelled

    def refuse(self) -> None:
        """Fail all waiters with Overloaded: nothing was written, because the topic generation is closed."""
        for _, waiter in self._settled():
            if not waiter.done():
                waiter.set_exception(Overloaded(MOVING))
                waiter.exception()

    @property
    def is_ordinary(self) -> bool:
        """Whether the batch is small enough for any open topic."""
        return int(self.builder.size()) <= MAX_BATCH_BYTES

    @property
    def expired(self) -> bool:
        """Whether no waiter remains."""
        return not self._waiters

    def _settled(self) -> list[tuple[int, asyncio.Future[int]]]:
        if self.timer is not None:
            self.timer.cancel()
        waiters, self._waiters = self._waiters, []
        return waiters


class AccumulatorListener(Protocol):
    """Is notified of failures in an accumulator."""

    def lost(self) -> None:
        """Queued events were dropped, or may have been."""
        ...

    def refused(self, producer: Any) -> None:
        """Kafka no longer accepts events on this topic."""
        ...

    def broken(self, producer: Any, reason: str) -> None:
        """The producer failed and must not be used again."""
        ...


class Accumulator:
    """Queues events for the partitions of one broker.

    The bytes of a batch count against its tenants' quota until Kafka has answered, or certainly never will,
    even after its waiters have timed out.
    """

    def __init__(
        self,
        producer: Any,
        topic: str,
        quota: ByteQuota,
        deadline_seconds: float,
        listener: AccumulatorListener,
    ) -> None:
        self._producer, self._topic, self._quota = producer, topic, quota
        self._deadline, self._listener = deadline_seconds, listener
        self._loop = asyncio.get_running_loop()
        self._open: dict[int, RecordBatch] = {}
        self._queue: deque[RecordBatch] = deque()
        self._unanswered: set[RecordBatch] = set()
        self.draining: asyncio.Task[None] | None = None
        """Done when no batch is queued or unanswered."""
        self.stuck = False
        """A batch has passed its deadline unanswered, so new events are refused."""

    def oldest(self) -> float | None:
        """Return when the oldest unanswered batch was handed over, in monotonic seconds."""
        times = [batch.handed_over_at for batch in self._unanswered if batch.handed_over_at is not None]
        return min(times, default=None)

    def add(self, partition: int, key: bytes, value: bytes, tenant: bytes, size: int) -> asyncio.Future[int]:
        """Queue an event whose bytes were taken from the quota."""
        if self.stuck:
            raise LogUnavailable(NOT_WRITTEN, unknown=False)
        waiter = self._loop.create_future()
        batch = self._open.get(partition)
        if batch is None or not batch.add(key, value, tenant, size, waiter):
            self._start_batch(partition).add(key, value, tenant, size, waiter)
        return waiter

    def add_all(
        self, partition: int, records: Sequence[Record], indexes: list[int], tenant: bytes
    ) -> list[EventRange]:
        """Queue the records at `indexes`, whose bytes were taken from the quota."""
        ranges = []
        while indexes:
            waiter, batch = self._loop.create_future(), self._open.get(partition)
            taken = 0 if batch is None else batch.add_all(records, indexes, tenant, waiter)
            if not taken:  # no open batch, or a full one; in a new batch the first record always fits
                taken = self._start_batch(partition).add_all(records, indexes, tenant, waiter)
            ranges.append(EventRange(waiter, indexes[:taken]))
            indexes = indexes[taken:]
        return ranges

    def _start_batch(self, partition: int) -> RecordBatch:
        batch = RecordBatch(partition, self._producer.create_batch())
        batch.timer = self._loop.call_later(self._deadline, self._expire, batch)
        self._open[partition] = batch
        self._queue.append(batch)
        if self.draining is None or self.draining.done():
            self.draining = self._loop.create_task(self._drain(), name="accumulator")
            self.draining.add_done_callback(self._drained)
        return batch

    async def _drain(self) -> None:
        while self._queue:
            handed_over = [await self._hand_over(batch) for batch in self._round()]
            answers = [answer for answer in handed_over if answer is not None]
            if answers:
                await asyncio.wait(answers)

    def _drained(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._listener.broken(self._producer, f"{error!r}")

    def _round(self) -> list[RecordBatch]:
        """Close at most one batch per partition: aiokafka accepts a second only after the first is done."""
        taken: dict[int, RecordBatch] = {}
        later: list[RecordBatch] = []
        while self._queue:
            batch = self._queue.popleft()
            if taken.setdefault(batch.partition, batch) is not batch:
                later.append(batch)
        self._queue.extend(later)
        for batch in taken.values():
            self._close(batch)
            batch.hand_over(time.monotonic())
            self._unanswered.add(batch)
        return list(taken.values())

    def _close(self, batch: RecordBatch) -> None:
        if self._open.get(batch.partition) is batch:
            del self._open[batch.partition]

    async def _hand_over(self, batch: RecordBatch) -> asyncio.Future[Any] | None:
        if batch.expired:  # while an earlier batch was handed over
            self._release(batch)
            return None
        BATCH_RECORDS.observe(len(batch))
        try:
            answer: asyncio.Future[Any] = await self._producer.send_batch(
                batch.builder, self._topic, partition=batch.partition
            )
        except Exception as error:  # noqa: BLE001 (after any error the producer is replaced)
            self._release(batch)
            self._fail(batch)
            self._listener.broken(self._producer, f"{error!r}")
            return None
        times = send_count(self._producer, self._topic, batch.partition)
        answer.add_done_callback(lambda done: self._answered(batch, done, times))
        return answer

    def _answered(self, batch: RecordBatch, answer: asyncio.Future[Any], times: Callable[[], int]) -> None:
        """Settle a batch that Kafka has answered, in time or after its deadline."""
        error = answer.exception() if not answer.cancelled() else asyncio.CancelledError()
        if batch not in self._unanswered:
            return
        if batch.handed_over_at is not None:
            PRODUCE_SECONDS.observe(time.monotonic() - batch.handed_over_at)
        self._release(batch)
        self.stuck = False
        if error is None:
            batch.acknowledge(answer.result().offset)
        elif isinstance(error, MessageSizeTooLargeError) and batch.is_ordinary:
            # A batch that was sent twice may have been written the first time, before the topic was closed.
            self._fail(batch, refused=times() == 1)
            self._listener.refused(self._producer)
        else:
            self._fail(batch)
            self._listener.broken(self._producer, f"{error!r}")

    def _release(self, batch: RecordBatch) -> None:
        self._unanswered.discard(batch)
        self._give_back(batch)

    def _give_back(self, batch: RecordBatch) -> None:
        for tenant, size in batch.charges.items():
            self._quota.give(tenant, size)

    def _expire(self, batch: RecordBatch) -> None:
        """Fail the waiters.  A batch that was handed over may still be written, so its bytes stay counted."""
        if batch.handed_over_at is None:
            self._drop(batch)
            return
        self.stuck = True
        self._fail(batch)

    def _drop(self, batch: RecordBatch, *, refused: bool = False) -> None:
        self._queue.remove(batch)
        self._close(batch)
        self._give_back(batch)
        self._fail(batch, refused=refused)

    def _fail(self, batch: RecordBatch, *, refused: bool = False) -> None:
        if refused:
            batch.refuse()
        else:
            batch.fail()
        self._listener.lost()

    def drop_queue(self, *, refused: bool = False) -> None:
        """Drop all batches that were not handed over: they are certainly not written.

        `refused`: fail the waiters with Overloaded, because the topic generation is closed.
        """
        while self._queue:
            self._drop(self._queue[0], refused=refused)

    def abandon(self) -> None:
        """Drop all batches: the producer has ended, and will not answer."""
        self.drop_queue()
        if self.draining is not None:
            self.draining.cancel()
        for batch in list(self._unanswered):
            self._release(batch)
            self._fail(batch)
