"""Sending of demo traffic: each call at its time, calls about the same request one after the other."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from zlib import crc32

import httpx
import typer
from rich.console import Console

from services.operations.core.answers import BatchSettled, RequestRefused, RetryLater, meaning_of_one
from services.operations.demo.core.traffic import KINDS, DemoCall
from services.operations.destination import IS_IT_RUNNING
from services.operations.exits import DONE, FOUND, CommandError, UnreachableError
from services.operations.http_client import OutageLimit, answer_to, client_for, until_settled
from services.operations.progress import ProgressBar

PATIENCE_SECONDS = 60.0
SECONDS_BETWEEN_UPDATES = 0.25
WORKERS = 8
WAITING_CALLS = 200
"""Calls that a worker may be behind; beyond that the demo sends more slowly than its rate."""


@dataclass
class DemoTally:
    """Calls sent by kind, and rejections by reason."""

    kinds: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    trouble: str = ""

    @property
    def sent(self) -> int:
        """The number of calls that are settled."""
        return self.kinds.total()


class DemoSender:
    """Sends one demo.  `run` is part of its Idempotency-Keys, so that a retry is not a second vote."""

    def __init__(self, client: httpx.AsyncClient, run: str, patience: OutageLimit) -> None:
        self._client, self._run, self._patience = client, run, patience
        self._queues: list[asyncio.Queue[tuple[int, DemoCall] | None]] = [
            asyncio.Queue(WAITING_CALLS) for _ in range(WORKERS)
        ]
        self.tally = DemoTally()

    async def send(self, calls: Iterator[DemoCall], elapsed: Callable[[], float]) -> None:
        """Send every call; `elapsed` returns the seconds since the start."""
        try:
            async with asyncio.TaskGroup() as group:
                for queue in self._queues:
                    group.create_task(self._work(queue))
                await self._distribute(calls, elapsed)
        except* CommandError as errors:
            raise errors.exceptions[0] from None

    async def _distribute(self, calls: Iterator[DemoCall], elapsed: Callable[[], float]) -> None:
        for number, call in enumerate(calls):
            await asyncio.sleep(max(0.0, call.after - elapsed()))
            await self._queues[crc32(call.request_id.encode()) % WORKERS].put((number, call))
        for queue in self._queues:
            await queue.put(None)

    async def _work(self, queue: asyncio.Queue[tuple[int, DemoCall] | None]) -> None:
        while numbered := await queue.get():
            number, call = numbered
            settled = await self._until_settled(f"demo-{self._run}-{number}", call)
            self.tally.kinds[call.kind] += 1
            for rejection in settled.rejections:
                self.tally.rejected[f"{rejection.code}: {rejection.detail}"] += 1

    async def _until_settled(self, key: str, call: DemoCall) -> BatchSettled:
        settled = await until_settled(lambda: self._post(key, call), self._patience, self._waiting)
        self.tally.trouble = ""
        return settled

    def _waiting(self, why: str, _seconds: float) -> None:
        self.tally.trouble = why

    async def _post(self, key: str, call: DemoCall) -> BatchSettled | RetryLater | RequestRefused:
        answer = await answer_to(self._client, call.method, call.path, idempotency_key=key, json=call.body)
        if isinstance(answer, RetryLater):
            return answer
        return meaning_of_one(answer.status_code, answer.headers.get("Retry-After"), answer.content)


def send_demo(calls: Iterator[DemoCall], url: str, key: str | None) -> int:
    """Send the calls to ingest, print a summary, and return the exit code; UnreachableError."""
    try:
        tally = asyncio.run(_send(calls, url, key))
    except UnreachableError as error:
        raise UnreachableError(f"{error}\n{IS_IT_RUNNING}") from error
    return FOUND if tally.rejected else DONE


async def _send(calls: Iterator[DemoCall], url: str, key: str | None) -> DemoTally:
    async with client_for(url, key) as client:
        sender = DemoSender(client, secrets.token_hex(8), OutageLimit(PATIENCE_SECONDS, time.monotonic))
        with ProgressBar("Sending", None, Console(stderr=True)) as bar:
            showing = asyncio.create_task(_show(sender.tally, bar))
            try:
                await sender.send(calls, lambda: bar.seconds)
            finally:
                showing.cancel()
                typer.echo(_summary(sender.tally, bar.seconds))
    return sender.tally


async def _show(tally: DemoTally, bar: ProgressBar) -> None:
    while True:
        await asyncio.sleep(SECONDS_BETWEEN_UPDATES)
        trouble = f"; waiting: {tally.trouble}" if tally.trouble else ""
        bar.show(tally.sent, f"{tally.sent:,} calls, {tally.sent / bar.seconds:,.1f}/s{trouble}")


def _summary(tally: DemoTally, seconds: float) -> str:
    kinds = ", ".join(f"{tally.kinds[kind]:,} {kind}" for kind in KINDS if tally.kinds[kind])
    rejected = "".join(f"\n  rejected {times:,} times: {why}" for why, times in tally.rejected.items())
    return f"{tally.sent:,} generated calls in {seconds:.1f} s: {kinds or 'none'}{rejected}"
