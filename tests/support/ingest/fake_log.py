"""The log in memory: what ingest's publisher is held against, and what unit tests write to."""

import asyncio
from collections.abc import Sequence

from schemas.identity import partition_of
from services.ingest.event_log import NO_OFFSET, EventRange, LogUnavailable, Overloaded, Record


class FakeLog:
    """Appends at once.  A test may hold back the answers, or let them fail."""

    def __init__(self, partitions: int = 4, max_inflight_bytes: int = 1 << 26) -> None:
        self.epoch = self.generation = 0
        self.partitions: list[list[tuple[bytes, bytes]]] = [[] for _ in range(partitions)]
        self.problem: str | None = None
        """Set, it is why nothing can be written."""
        self.fail_after: int | None = None
        """So many events are taken, then the log is gone for good."""
        self.forgets_offsets = False
        self.held: list[tuple[asyncio.Future[int], int, int]] | None = None
        """A list, it collects the answers that are held back: future, offset, bytes."""
        self.inflight = 0
        self._max_inflight = max_inflight_bytes

    @property
    def events(self) -> list[bytes]:
        """All values, partition by partition."""
        return [value for partition in self.partitions for _, value in partition]

    def publish(self, key: bytes, value: bytes) -> asyncio.Future[int]:
        """Append an event."""
        if self.fail_after == 0:
            self.problem = "gone"
        if self.problem is not None:
            raise LogUnavailable(f"not written: {self.problem}", unknown=False)
        if self.inflight + len(value) > self._max_inflight:
            raise Overloaded
        if self.fail_after is not None:
            self.fail_after -= 1
        partition = self.partitions[partition_of(key, len(self.partitions))]
        partition.append((key, value))
        offset = NO_OFFSET if self.forgets_offsets else len(partition) - 1
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if self.held is None:
            answer.set_result(offset)
        else:
            self.inflight += len(value)
            self.held.append((answer, offset, len(value)))
        return answer

    def publish_all(self, records: Sequence[Record]) -> list[EventRange]:
        """Append events; those that come after a failure are not acknowledged."""
        ranges: list[EventRange] = []
        for index, (key, value) in enumerate(records):
            try:
                answer = self.publish(key, value)
            except (LogUnavailable, Overloaded) as error:
                if not ranges:
                    raise
                answer = asyncio.get_running_loop().create_future()
                answer.set_exception(error)
            ranges.append(EventRange(answer, [index]))
        return ranges

    def answer_held(self) -> None:
        """Acknowledge what was held back."""
        held, self.held = self.held or [], None
        for answer, offset, size in held:
            self.inflight -= size
            if not answer.done():
                answer.set_result(offset)

    def fail_held(self) -> None:
        """Let what was held back go unacknowledged, as after a deadline."""
        held, self.held = self.held or [], None
        self.epoch += 1
        for answer, _, size in held:
            self.inflight -= size
            if not answer.done():
                answer.set_exception(LogUnavailable("it may be written", unknown=True))
                answer.exception()

    def readiness(self) -> str | None:
        """Return why nothing can be written, or None."""
        return self.problem

    def liveness(self) -> str | None:
        """Return None: it lives."""
        return None
