"""A reader who leaves before the answer is there ends what was asked for it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import ClientDisconnect

App = Callable[[Any, Any, Any], Awaitable[None]]

READING = ("GET", "HEAD")

BODY_SECONDS = 30.0
"""How long a body may take to arrive."""


async def attended(
    app: App,
    scope: Any,
    receive: Any,
    send: Any,
    *,
    is_head: bool = False,
    body_seconds: float = BODY_SECONDS,
) -> None:
    """Let the application answer; raise ClientDisconnect when the client leaves before the last byte.

    What the application awaits is cancelled then, so ClickHouse hears that nobody waits any more.  Only
    where a request has no body that counts: whatever is sent as one is thrown away.

    Who asks with HEAD has all of the answer with its headers: a stream or a file ends before its second
    piece is made, as if the client had left.

    What reads a body that takes longer than `body_seconds` to arrive gets TimeoutError.
    """
    if scope["method"] not in READING:
        await app(scope, _timely(receive, body_seconds), send)
        return
    visit = _Visit(receive, send, asyncio.current_task(), is_head=is_head)
    watching = asyncio.create_task(visit.watch(), name="departure")
    try:
        await app(scope, visit.receive, visit.send)
        if visit.is_over:
            await asyncio.sleep(0)  # where a cancellation that met no other await arrives
    except asyncio.CancelledError:
        if not visit.is_over:
            raise
        if visit.is_answered:
            return
        raise ClientDisconnect from None
    finally:
        watching.cancel()


def _timely(receive: Any, seconds: float) -> Any:
    """Bound the time of a body, and of nothing that is awaited after it."""
    ends: float | None = asyncio.get_running_loop().time() + seconds

    async def received() -> Any:
        nonlocal ends
        async with asyncio.timeout_at(ends):
            message = await receive()
        if not message.get("more_body", False):
            ends = None
        return message

    return received


class _Visit:
    """Stands between the server and the application, and sees at once when the client leaves."""

    def __init__(
        self, receive: Any, send: Any, answering: "asyncio.Task[Any] | None", *, is_head: bool
    ) -> None:
        self._receive, self._send, self._answering = receive, send, answering
        self._is_head = is_head
        self._asked = False
        self._gone = asyncio.Event()
        self.is_answered = False
        self.is_over = False
        """The client left, or has all that it asked for: what makes the answer is cancelled."""

    async def receive(self) -> Any:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if self.is_answered:
            return
        if message["type"] == "http.response.body":
            goes_on = message.get("more_body", False)
            self.is_answered = self._is_head or not goes_on
            if self._is_head and goes_on:
                await self._send({"type": "http.response.body", "body": b""})
                self._end()
                return
        await self._send(message)

    async def watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self.is_answered:
            self._gone.set()
        else:
            self._end()

    def _end(self) -> None:
        self._gone.set()
        if self._answering is not None and not self.is_over:
            self.is_over = True
            self._answering.cancel()
