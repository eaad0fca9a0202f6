"""Send the demo's calls at their times, the calls about one request one after the other."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from zlib import crc32

import httpx

from services.operations.demo.core.traffic import Call
from services.operations.exits import CommandError, UsageError
from services.operations.send.core.answers import Again, Refused, Settled, meaning_of_one
from services.operations.send.lanes import Patience
from services.operations.send.posting import answer_to
from services.runtime.core.backoff import delays

WORKERS = 8
WAITING_CALLS = 200
"""Calls that a worker may be behind; then the demo waits, and runs slower than it was asked to."""


@dataclass
class Tally:
    """What was sent: calls by kind, and those that were rejected by reason."""

    kinds: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    trouble: str = ""

    @property
    def sent(self) -> int:
        """How many calls were answered for good."""
        return self.kinds.total()


class Sender:
    """One demo.  `run` names it in Idempotency-Keys, so that a retry is not a second vote."""

    def __init__(self, client: httpx.AsyncClient, run: str, patience: Patience) -> None:
        self._client, self._run, self._patience = client, run, patience
        self._queues: list[asyncio.Queue[tuple[int, Call] | None]] = [
            asyncio.Queue(WAITING_CALLS) for _ in range(WORKERS)
        ]
        self.tally = Tally()

    async def send(self, calls: Iterator[Call], elapsed: Callable[[], float]) -> None:
        """Send every call; `elapsed` says how many seconds after the start it is now."""
        try:
            async with asyncio.TaskGroup() as group:
                for queue in self._queues:
                    group.create_task(self._work(queue))
                await self._hand_out(calls, elapsed)
        except* CommandError as errors:
            raise errors.exceptions[0] from None

    async def _hand_out(self, calls: Iterator[Call], elapsed: Callable[[], float]) -> None:
        for number, call in enumerate(calls):
            await asyncio.sleep(max(0.0, call.after - elapsed()))
            await self._queues[crc32(call.request_id.encode()) % WORKERS].put((number, call))
        for queue in self._queues:
            await queue.put(None)

    async def _work(self, queue: asyncio.Queue[tuple[int, Call] | None]) -> None:
        while numbered := await queue.get():
            number, call = numbered
            settled = await self._until_settled(f"demo-{self._run}-{number}", call)
            self.tally.kinds[call.kind] += 1
            for rejection in settled.rejections:
                self.tally.rejected[f"{rejection.code}: {rejection.detail}"] += 1

    async def _until_settled(self, key: str, call: Call) -> Settled:
        for pause in delays(first=0.2, longest=5.0):
            answer = await self._post(key, call)
            if isinstance(answer, Settled):
                self._patience.settled()
                self.tally.trouble = ""
                return answer
            if isinstance(answer, Refused):
                raise UsageError(answer.why)
            self._patience.check(answer)
            self.tally.trouble = answer.why
            await asyncio.sleep(max(pause, answer.after_seconds))
        raise AssertionError("delays never end")

    async def _post(self, key: str, call: Call) -> Settled | Again | Refused:
        answer = await answer_to(self._client, call.method, call.path, idempotency_key=key, json=call.body)
        if isinstance(answer, Again):
            return answer
        return meaning_of_one(answer.status_code, answer.headers.get("Retry-After"), answer.content)
