"""Natural group commit: whatever arrives while a produce request is in flight is the next one.

No linger and no timer: with one client an event leaves at once, with many the time of flight gathers
them.  aiokafka has one produce request in flight to each broker, so there is a lane for each.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.structs import TopicPartition

from services.ingest.core.quota import Shares
from services.ingest.event_log import NO_OFFSET, LogUnavailable, Overloaded, Record, Stretch
from services.ingest.metrics import BATCH_RECORDS, PRODUCE_SECONDS

UNKNOWN = 0


def sends(producer: Any, topic: str, partition: int) -> Callable[[], int]:
    """Return what tells how often the batch was sent that `send_batch` has just taken.

    Call it before anything else is awaited.  aiokafka does not tell, so its own books are read; a contract
    test pins their names.
    """
    accumulator = getattr(producer, "_message_accumulator", None)
    if accumulator is None:
        return lambda: UNKNOWN
    batch = accumulator._batches[TopicPartition(topic, partition)][-1]  # noqa: SLF001
    return lambda: int(batch.retry_count)


RECORD_OVERHEAD_BYTES = 200
"""What an event costs in memory beside its key and value: its record, its future, its waiting request."""

NOT_WRITTEN = "Kafka does not take events at the moment; the event was not written"
MAYBE_WRITTEN = (
    "Kafka did not acknowledge the event in time; it may still be written, once: "
    "send it again with the same Idempotency-Key"
)

MAX_BATCH_BYTES = 900_000
"""Below the topic's max.message.bytes, and above the largest event."""

MOVING = "the topics are moving to a new generation; the event was not written: send it again in a moment"


class Batch:
    """Events of one partition that are written, acknowledged and counted together.

    Each waiter has a future of its own: a task that is cancelled while it awaits a shared future cancels
    that for all.  Who waits for several that lie one behind the other waits for the first.
    """

    __slots__ = ("_count", "_waiters", "builder", "charges", "handed_over_at", "partition", "timer")

    def __init__(self, partition: int, builder: Any) -> None:
        self.partition = partition
        self.charges: dict[bytes, int] = {}
        """Bytes counted as in flight, by tenant."""
        self.handed_over_at: float | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.builder = builder
        self._waiters: list[tuple[int, asyncio.Future[int]]] = []
        """Who waits, and for which record."""
        self._count = 0

    def add(self, key: bytes, value: bytes, tenant: bytes, size: int, waiter: asyncio.Future[int]) -> bool:
        """Take one more event, unless the batch is full.  The first always fits."""
        if self.builder.append(timestamp=None, key=key, value=value) is None:
            return False
        self._expect(tenant, size, waiter, 1)
        return True

    def add_all(
        self, records: Sequence[Record], places: Sequence[int], tenant: bytes, waiter: asyncio.Future[int]
    ) -> int:
        """Take what is at these places, as far as it fits, for one waiter; return how many were taken."""
        append, size, taken = self.builder.append, 0, 0
        for place in places:
            key, value = records[place]
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
        """Close the batch for the producer, which may retry it for ever from now on.

        Closed first, because aiokafka counts the records when it takes a batch and builds it one step of
        the loop later: a record added between the two would upset the sequence numbers.
        """
        self.builder.close()
        self.handed_over_at = now

    def acknowledge(self, first_offset: int) -> None:
        """Tell everyone their offset; a negative one means that Kafka has the batch, but not where."""
        for index, waiter in self._settled():
            if not waiter.done():
                waiter.set_result(first_offset + index if first_offset >= 0 else NO_OFFSET)

    def fail(self) -> None:
        """Tell everyone that there is no acknowledgement, and whether there may still be a record."""
        unknown = self.handed_over_at is not None
        for _, waiter in self._settled():
            if not waiter.done():
                waiter.set_exception(
                    LogUnavailable(MAYBE_WRITTEN if unknown else NOT_WRITTEN, unknown=unknown)
                )
                waiter.exception()  # seen: a waiter whose request was cancelled is nothing to complain about

    def refuse(self) -> None:
        """Tell everyone that nothing was written, since Kafka takes no events at the moment."""
        for _, waiter in self._settled():
            if not waiter.done():
                waiter.set_exception(Overloaded(MOVING))
                waiter.exception()

    @property
    def is_ordinary(self) -> bool:
        """Tell that no open topic refuses the batch for its size."""
        return int(self.builder.size()) <= MAX_BATCH_BYTES

    @property
    def expired(self) -> bool:
        """Tell that everyone was told, or nobody waited."""
        return not self._waiters

    def _settled(self) -> list[tuple[int, asyncio.Future[int]]]:
        if self.timer is not None:
            self.timer.cancel()
        waiters, self._waiters = self._waiters, []
        return waiters


class Owner(Protocol):
    """Who is told what goes wrong in a lane."""

    def lost(self) -> None:
        """Some events were given up."""
        ...

    def refused(self, producer: Any) -> None:
        """Kafka takes no events on this topic any more."""
        ...

    def broken(self, producer: Any, reason: str) -> None:
        """This producer must not be used again."""
        ...


class Lane:
    """The way to one broker.

    A batch's bytes count against its tenants' shares until Kafka has answered for it, or until it is certain
    that Kafka never will: not until its waiters have given up.
    """

    def __init__(
        self, producer: Any, topic: str, shares: Shares, deadline_seconds: float, owner: Owner
    ) -> None:
        self._producer, self._topic, self._shares = producer, topic, shares
        self._deadline, self._owner = deadline_seconds, owner
        self._loop = asyncio.get_running_loop()
        self._open: dict[int, Batch] = {}
        self._queue: deque[Batch] = deque()
        self._unanswered: set[Batch] = set()
        self.draining: asyncio.Task[None] | None = None
        """Done when nothing is queued or unanswered."""
        self.stuck = False
        """A batch has passed its deadline unanswered: nobody else should wait for theirs."""

    def oldest(self) -> float | None:
        """Return when the oldest unanswered batch was handed over, in monotonic seconds."""
        times = [batch.handed_over_at for batch in self._unanswered if batch.handed_over_at is not None]
        return min(times, default=None)

    def add(self, partition: int, key: bytes, value: bytes, tenant: bytes, size: int) -> asyncio.Future[int]:
        """Queue an event whose bytes are taken from the tenant's share already."""
        if self.stuck:
            raise LogUnavailable(NOT_WRITTEN, unknown=False)
        waiter = self._loop.create_future()
        batch = self._open.get(partition)
        if batch is None or not batch.add(key, value, tenant, size, waiter):
            self._start_batch(partition).add(key, value, tenant, size, waiter)
        return waiter

    def add_all(
        self, partition: int, records: Sequence[Record], places: list[int], tenant: bytes
    ) -> list[Stretch]:
        """Queue the events at these places, whose bytes are taken from the tenant's share already."""
        stretches = []
        while places:
            waiter, batch = self._loop.create_future(), self._open.get(partition)
            taken = 0 if batch is None else batch.add_all(records, places, tenant, waiter)
            if not taken:  # there is none, or it is full: the first record always fits
                taken = self._start_batch(partition).add_all(records, places, tenant, waiter)
            stretches.append(Stretch(waiter, places[:taken]))
            places = places[taken:]
        return stretches

    def _start_batch(self, partition: int) -> Batch:
        batch = Batch(partition, self._producer.create_batch())
        batch.timer = self._loop.call_later(self._deadline, self._expire, batch)
        self._open[partition] = batch
        self._queue.append(batch)
        if self.draining is None or self.draining.done():
            self.draining = self._loop.create_task(self._drain(), name="lane")
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
            self._owner.broken(self._producer, f"{error!r}")

    def _round(self) -> list[Batch]:
        """Take at most one batch of each partition: aiokafka waits for the first before it takes a second."""
        taken: dict[int, Batch] = {}
        later: list[Batch] = []
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

    def _close(self, batch: Batch) -> None:
        if self._open.get(batch.partition) is batch:
            del self._open[batch.partition]

    async def _hand_over(self, batch: Batch) -> asyncio.Future[Any] | None:
        if batch.expired:  # while the one before it was handed over
            self._release(batch)
            return None
        BATCH_RECORDS.observe(len(batch))
        try:
            answer: asyncio.Future[Any] = await self._producer.send_batch(
                batch.builder, self._topic, partition=batch.partition
            )
        except Exception as error:  # noqa: BLE001 (whatever it is, this producer is not to be trusted again)
            self._release(batch)
            self._fail(batch)
            self._owner.broken(self._producer, f"{error!r}")
            return None
        times = sends(self._producer, self._topic, batch.partition)
        answer.add_done_callback(lambda done: self._answered(batch, done, times))
        return answer

    def _answered(self, batch: Batch, answer: asyncio.Future[Any], times: Callable[[], int]) -> None:
        """Settle a batch that Kafka has answered for, in time or long after the deadline."""
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
            # What was sent twice may have been written the first time, before the topic was closed.
            self._fail(batch, refused=times() == 1)
            self._owner.refused(self._producer)
        else:
            self._fail(batch)
            self._owner.broken(self._producer, f"{error!r}")

    def _release(self, batch: Batch) -> None:
        self._unanswered.discard(batch)
        self._give_back(batch)

    def _give_back(self, batch: Batch) -> None:
        for tenant, size in batch.charges.items():
            self._shares.give(tenant, size)

    def _expire(self, batch: Batch) -> None:
        """End the waiting.  What was handed over may be written at any time, so its bytes stay counted."""
        if batch.handed_over_at is None:
            self._forget(batch)
            return
        self.stuck = True
        self._fail(batch)

    def _forget(self, batch: Batch, *, refused: bool = False) -> None:
        self._queue.remove(batch)
        self._close(batch)
        self._give_back(batch)
        self._fail(batch, refused=refused)

    def _fail(self, batch: Batch, *, refused: bool = False) -> None:
        if refused:
            batch.refuse()
        else:
            batch.fail()
        self._owner.lost()

    def drop_queue(self, *, refused: bool = False) -> None:
        """Give up everything that was not handed over: it is certain that it will never be written.

        `refused`: Kafka takes no events at the moment, which is what those who wait are told.
        """
        while self._queue:
            self._forget(self._queue[0], refused=refused)

    def abandon(self) -> None:
        """Give up everything: the producer is gone, and nothing more can come of it."""
        self.drop_queue()
        if self.draining is not None:
            self.draining.cancel()
        for batch in list(self._unanswered):
            self._release(batch)
            self._fail(batch)
