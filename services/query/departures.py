"""A reader who leaves before the answer is there ends what was asked for it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import ClientDisconnect

App = Callable[[Any, Any, Any], Awaitable[None]]

READING = ("GET", "HEAD")


async def attended(app: App, scope: Any, receive: Any, send: Any) -> None:
    """Let the application answer; raise ClientDisconnect when the client leaves before the last byte.

    What the application awaits is cancelled then, so ClickHouse hears that nobody waits any more.  Only
    where a request has no body that counts: whatever is sent as one is thrown away.
    """
    if scope["method"] not in READING:
        await app(scope, receive, send)
        return
    visit = _Visit(receive, send)
    answering = asyncio.current_task()
    watching = asyncio.create_task(visit.watch(answering), name="departure")
    try:
        await app(scope, visit.receive, visit.send)
    except asyncio.CancelledError:
        if not visit.left:
            raise
        raise ClientDisconnect from None
    finally:
        watching.cancel()


class _Visit:
    """Stands between the server and the application, and sees at once when the client leaves."""

    def __init__(self, receive: Any, send: Any) -> None:
        self._receive, self._send = receive, send
        self._asked = False
        self._answered = False
        self._gone = asyncio.Event()
        self.left = False

    async def receive(self) -> Any:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._answered = True
        await self._send(message)

    async def watch(self, answering: "asyncio.Task[Any] | None") -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone.set()
        if not self._answered and answering is not None:
            self.left = True
            answering.cancel()
