"""One record batch for Kafka, and everyone who waits for it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from services.ingest.event_log import NO_OFFSET, LogUnavailable, Overloaded, Record

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
