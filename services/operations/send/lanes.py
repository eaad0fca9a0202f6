"""Sending batches over HTTP, one in flight per lane, each retried until it is settled.

A lane takes its next batch only once the one before is settled and that is stored.  So no event of a request
overtakes another, and a later run repeats at most the batch that each lane had in flight.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from threading import Thread
from typing import Any, Protocol, TypeVar, cast

import httpx

from services.operations.core.answers import (
    BatchSettled,
    EventRejection,
    RequestRefused,
    RetryLater,
    meaning_of,
)
from services.operations.exits import CommandError
from services.operations.http_client import OutageLimit, answer_to, until_settled
from services.operations.send.core.plan import LANES, FileChunk, SendBatch, SendPlan
from services.operations.send.core.progress import SendLedger, SendProgress
from services.operations.send.core.split import SendEntry

OPEN_CHUNKS = 2
"""Chunks in memory: the one being sent, and the next, so that no lane waits for another."""


T = TypeVar("T")


class BatchPost(Protocol):
    """Sends one batch under its Idempotency-Key; RetryLater also without any response."""

    async def __call__(self, key: str, batch: SendBatch) -> BatchSettled | RetryLater | RequestRefused:
        """Return what the response means."""


class SendReport(Protocol):
    """Reports the progress of one file."""

    def opened(self, chunk: FileChunk, left: int) -> None:
        """A chunk was read; `left` of its entries are still to be sent."""

    def settled(self, batch: SendBatch, rejections: tuple[EventRejection, ...]) -> None:
        """Every event of the batch is durable, except the rejected ones.  Called before that is stored."""

    def faulty(self, entries: tuple[SendEntry, ...]) -> None:
        """These entries are not events.  Called before that is stored."""

    def waiting(self, why: str, seconds: float) -> None:
        """A batch is retried after `seconds`."""


class HttpPost:
    """Posts batches as NDJSON over one client."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def __call__(self, key: str, batch: SendBatch) -> BatchSettled | RetryLater | RequestRefused:
        """Return what the response means."""
        answer = await answer_to(
            self._client,
            "POST",
            "/v1/events",
            idempotency_key=key,
            content=batch.body,
            headers={"Content-Type": "application/x-ndjson"},
        )
        if isinstance(answer, RetryLater):
            return answer
        retry_after = answer.headers.get("Retry-After")
        return meaning_of(answer.status_code, retry_after, answer.content, len(batch.entries))


class SendLanes:
    """Sends one file once."""

    def __init__(
        self,
        *,
        post: BatchPost,
        ledger: SendLedger,
        save: Callable[[SendProgress], None],
        report: SendReport,
        patience: OutageLimit,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._post, self._ledger, self._save, self._report = post, ledger, save, report
        self._patience, self._pause = patience, pause
        self._queues: list[asyncio.Queue[SendBatch | None]] = [asyncio.Queue() for _ in range(LANES)]
        self._settled = asyncio.Event()
        self._storing, self._stored = asyncio.Lock(), ledger.progress
        self._read_error: CommandError | None = None

    async def send(self, pieces: Iterator[tuple[FileChunk, SendPlan]]) -> None:
        """Send every chunk as planned.  If it ends early, the stored progress is still right."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._feed(pieces))
                for queue in self._queues:
                    group.create_task(self._send_queue(queue))
        except* CommandError as errors:
            raise errors.exceptions[0] from None
        if self._read_error:
            raise self._read_error
        self._ledger.finish()
        await self._store()

    async def _feed(self, pieces: Iterator[tuple[FileChunk, SendPlan]]) -> None:
        """Read ahead of the lanes.  What precedes a damaged part of the file is sent."""
        try:
            while piece := await in_thread(lambda: next(pieces, None)):
                self._distribute(*piece)
                while self._ledger.open_chunks >= OPEN_CHUNKS:
                    self._settled.clear()
                    await self._settled.wait()
        except CommandError as error:
            self._read_error = error
        for queue in self._queues:
            queue.put_nowait(None)

    def _distribute(self, chunk: FileChunk, planned: SendPlan) -> None:
        work = self._ledger.open(chunk, planned)
        self._report.opened(chunk, sum(len(batch.entries) for lane in work.lanes for batch in lane))
        if work.faults:
            self._report.faulty(planned.faults)
            self._ledger.settle_faults(chunk, len(planned.faults))
        for queue, batches in zip(self._queues, work.lanes, strict=True):
            for batch in batches:
                queue.put_nowait(batch)

    async def _send_queue(self, queue: asyncio.Queue[SendBatch | None]) -> None:
        while batch := await queue.get():
            rejections = await self._until_settled(batch)
            self._report.settled(batch, rejections)
            self._ledger.settle(batch, rejected=len(rejections))
            await self._store()
            self._settled.set()

    async def _until_settled(self, batch: SendBatch) -> tuple[EventRejection, ...]:
        key = f"{self._ledger.progress.run}.{batch.name}"
        answer = await until_settled(
            lambda: self._post(key, batch), self._patience, self._report.waiting, self._pause
        )
        return answer.rejections

    async def _store(self) -> None:
        """Return once all that is settled is stored; lanes that wait here share one write."""
        async with self._storing:
            if (progress := self._ledger.progress) is not self._stored:
                await asyncio.to_thread(self._save, progress)
                self._stored = progress


async def in_thread(work: Callable[[], T]) -> T:
    """Return what `work` returns, run in a daemon thread.

    A read from a terminal or a pipe may never return, and asyncio waits for its own threads at exit.
    """
    loop, done = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

    def run() -> None:
        try:
            result, error = work(), None
        except Exception as caught:  # noqa: BLE001 (raised again by the caller)
            result, error = None, caught
        with suppress(RuntimeError):  # the loop is closed
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
