"""Calls of ingest over HTTP, as `send` and `demo` make them, and how long an outage may last."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from services.operations.core.answers import BatchSettled, RequestRefused, RetryLater
from services.operations.destination import is_here, shown
from services.operations.exits import UnreachableError, UsageError
from services.runtime.retry import delays

CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 30.0
MOST_CONNECTIONS = 8
FIRST_CONTACT_SECONDS = 5.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0


class OutageLimit:
    """How long the server may accept nothing.  Shorter before its first answer: the URL may be wrong."""

    def __init__(self, seconds: float, now: Callable[[], float]) -> None:
        self._seconds, self._now, self._since = seconds, now, now()
        self.reached = False
        """Whether the server ever answered."""

    def settled(self) -> None:
        """Note that the server accepted something."""
        self.reached, self._since = True, self._now()

    def check(self, answer: RetryLater) -> None:
        """Raise UnreachableError if the outage has lasted too long."""
        self.reached = self.reached or answer.reached
        limit = self._seconds if self.reached else min(self._seconds, FIRST_CONTACT_SECONDS)
        if self._now() - self._since >= limit:
            raise UnreachableError(answer.why)


async def until_settled(
    post: Callable[[], Awaitable[BatchSettled | RetryLater | RequestRefused]],
    patience: OutageLimit,
    waiting: Callable[[str, float], None],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> BatchSettled:
    """Return the answer that settles a call, repeated while ingest is away or overloaded.

    `waiting` is called before each pause with its reason and its seconds.  UsageError if ingest refuses the
    call, UnreachableError if the patience ends.
    """
    pauses = delays(first=FIRST_PAUSE_SECONDS, longest=LONGEST_PAUSE_SECONDS)
    while not isinstance(answer := await post(), BatchSettled):
        if isinstance(answer, RequestRefused):
            raise UsageError(answer.why)
        patience.check(answer)
        seconds = max(next(pauses), answer.after_seconds)
        waiting(answer.why, seconds)
        await sleep(seconds)
    patience.settled()
    return answer


def client_for(url: str, key: str | None) -> httpx.AsyncClient:
    """Return a client of the ingest at `url`; proxies of the environment are not used for this machine."""
    return httpx.AsyncClient(
        base_url=url,
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        limits=httpx.Limits(max_connections=MOST_CONNECTIONS),
        trust_env=not is_here(url),
    )


async def answer_to(
    client: httpx.AsyncClient, method: str, path: str, *, idempotency_key: str, **content: Any
) -> httpx.Response | RetryLater:
    """Return the response; RetryLater without one, since the request may or may not have been accepted."""
    try:
        request = client.build_request(method, path, **content)
        request.headers["Idempotency-Key"] = idempotency_key
        return await client.send(request)
    except httpx.ConnectError as error:
        return RetryLater(f"nothing answers at {shown(str(client.base_url))} ({error})", reached=False)
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        return RetryLater(f"no answer from {shown(str(client.base_url))} ({reason})")
