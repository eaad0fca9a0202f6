"""A client that sends the body of its query too slowly."""

import asyncio
from typing import Any

from services.query.middleware import attended


async def test_a_body_has_a_deadline_and_what_follows_it_has_none() -> None:
    """A byte now and then keeps nothing open."""
    messages: asyncio.Queue[Any] = asyncio.Queue()
    heard: list[str] = []

    async def application(_scope: Any, receive: Any, _send: Any) -> None:
        while True:
            try:
                message = await receive()
            except TimeoutError:
                heard.append("late")
                return
            heard.append(message["type"])
            if message["type"] == "http.disconnect":
                return

    async def send(_message: Any) -> None:
        raise AssertionError("nothing is answered")

    scope = {"method": "POST"}
    messages.put_nowait({"type": "http.request", "body": b"a", "more_body": True})
    await attended(application, scope, messages.get, send, body_seconds=0.01)
    messages.put_nowait({"type": "http.request", "body": b"a", "more_body": False})
    asyncio.get_running_loop().call_later(0.05, messages.put_nowait, {"type": "http.disconnect"})
    await attended(application, scope, messages.get, send, body_seconds=0.01)

    assert heard == ["http.request", "late", "http.request", "http.disconnect"]
