"""Send batches, one in flight a lane, each again and again until it is settled.

A lane takes its next batch only when the one before is settled and that is stored: so no event of a
request overtakes another, and a later run repeats at most the batch that each lane had in flight.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from threading import Thread
from typing import Any, Protocol, TypeVar, cast

from services.operations.exits import CommandError, UnreachableError, UsageError
from services.operations.send.core.answers import Again, Refused, Rejection, Settled
from services.operations.send.core.plan import LANES, Batch, Chunk, Plan
from services.operations.send.core.progress import Ledger, Progress
from services.operations.send.core.split import Entry
from services.runtime.core.backoff import delays

OPEN_CHUNKS = 2
"""Chunks in memory: one that lanes still work on, and the next, so that no lane waits for another."""


FIRST_CONTACT_SECONDS = 5.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0

T = TypeVar("T")


class Post(Protocol):
    """Sends one batch under its Idempotency-Key; no answer at all is an `Again`, too."""

    async def __call__(self, key: str, batch: Batch) -> Settled | Again | Refused:
        """Return what the answer means."""


class Report(Protocol):
    """Is told what happens, in order to show it."""

    def opened(self, chunk: Chunk, left: int) -> None:
        """A chunk was read; so many of its entries are still to be sent."""

    def settled(self, batch: Batch, rejections: tuple[Rejection, ...]) -> None:
        """Every event of the batch is durable, but for the rejected ones.  Told before that is stored."""

    def faulty(self, entries: tuple[Entry, ...]) -> None:
        """These entries are no events.  Told before that is stored."""

    def waiting(self, why: str, seconds: float) -> None:
        """A batch is sent again after so many seconds."""


class Patience:
    """How long nothing may be taken; it is shorter while nobody ever answered, as the URL may be wrong."""

    def __init__(self, seconds: float, now: Callable[[], float]) -> None:
        self._seconds, self._now, self._since = seconds, now, now()
        self.reached = False
        """Whether anybody ever answered."""

    def settled(self) -> None:
        """Note that a batch was taken."""
        self.reached, self._since = True, self._now()

    def check(self, answer: Again) -> None:
        """Raise UnreachableError when it is at its end."""
        self.reached = self.reached or answer.reached
        limit = self._seconds if self.reached else min(self._seconds, FIRST_CONTACT_SECONDS)
        if self._now() - self._since >= limit:
            raise UnreachableError(answer.why)


class Lanes:
    """One sending of one file."""

    def __init__(
        self,
        *,
        post: Post,
        ledger: Ledger,
        save: Callable[[Progress], None],
        report: Report,
        patience: Patience,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._post, self._ledger, self._save, self._report = post, ledger, save, report
        self._patience, self._pause = patience, pause
        self._queues: list[asyncio.Queue[Batch | None]] = [asyncio.Queue() for _ in range(LANES)]
        self._settled = asyncio.Event()
        self._storing, self._stored = asyncio.Lock(), ledger.progress
        self._unreadable: CommandError | None = None

    async def send(self, pieces: Iterator[tuple[Chunk, Plan]]) -> None:
        """Send every chunk as planned.  Whatever ends it early, the stored progress is right."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._feed(pieces))
                for queue in self._queues:
                    group.create_task(self._drain(queue))
        except* CommandError as errors:
            raise errors.exceptions[0] from None
        if self._unreadable:
            raise self._unreadable
        self._ledger.finish()
        await self._store()

    async def _feed(self, pieces: Iterator[tuple[Chunk, Plan]]) -> None:
        """Read ahead of the lanes.  Where the file ends in damage, what stands before is sent."""
        try:
            while piece := await in_thread(lambda: next(pieces, None)):
                self._hand_out(*piece)
                while self._ledger.open_chunks >= OPEN_CHUNKS:
                    self._settled.clear()
                    await self._settled.wait()
        except CommandError as error:
            self._unreadable = error
        for queue in self._queues:
            queue.put_nowait(None)

    def _hand_out(self, chunk: Chunk, planned: Plan) -> None:
        work = self._ledger.open(chunk, planned)
        self._report.opened(chunk, sum(len(batch.entries) for lane in work.lanes for batch in lane))
        if work.faults:
            self._report.faulty(planned.faults)
            self._ledger.settle_faults(chunk, len(planned.faults))
        for queue, batches in zip(self._queues, work.lanes, strict=True):
            for batch in batches:
                queue.put_nowait(batch)

    async def _drain(self, queue: asyncio.Queue[Batch | None]) -> None:
        while batch := await queue.get():
            rejections = await self._until_settled(batch)
            self._report.settled(batch, rejections)
            self._ledger.settle(batch, rejected=len(rejections))
            await self._store()
            self._settled.set()

    async def _until_settled(self, batch: Batch) -> tuple[Rejection, ...]:
        pauses = delays(first=FIRST_PAUSE_SECONDS, longest=LONGEST_PAUSE_SECONDS)
        while True:
            answer = await self._post(f"{self._ledger.progress.run}.{batch.name}", batch)
            if isinstance(answer, Settled):
                self._patience.settled()
                return answer.rejections
            if isinstance(answer, Refused):
                raise UsageError(answer.why)
            self._patience.check(answer)
            seconds = max(next(pauses), answer.after_seconds)
            self._report.waiting(answer.why, seconds)
            await self._pause(seconds)

    async def _store(self) -> None:
        """Return once all that is settled now is stored; lanes that wait here share one write."""
        async with self._storing:
            if (progress := self._ledger.progress) is not self._stored:
                await asyncio.to_thread(self._save, progress)
                self._stored = progress


async def in_thread(work: Callable[[], T]) -> T:
    """Return what `work` returns, from a thread that does not keep the process from ending.

    A read from a terminal or a pipe may never come back; asyncio's own threads would be waited for.
    """
    loop, done = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

    def run() -> None:
        try:
            result, error = work(), None
        except Exception as caught:  # noqa: BLE001 (raised again by who awaits)
            result, error = None, caught
        with suppress(RuntimeError):  # the loop is closed: nobody awaits any more
            loop.call_soon_threadsafe(_resolve, done, result, error)

    Thread(target=run, daemon=True, name="read ahead").start()
    return cast("T", await done)


def _resolve(done: asyncio.Future[Any], result: object, error: Exception | None) -> None:
    if done.cancelled():
        return
    if error:
        done.set_exception(error)
    else:
        done.set_result(result)
