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

from services.ingest.batch import NOT_WRITTEN, Batch
from services.ingest.core.quota import Shares
from services.ingest.event_log import LogUnavailable, Record, Stretch
from services.ingest.metrics import BATCH_RECORDS, PRODUCE_SECONDS
from services.ingest.sends import sends


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
