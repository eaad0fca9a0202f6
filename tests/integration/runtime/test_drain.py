"""The end of a server that answers HTTP: not ready first, then a while as before, then what is in flight."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from services.runtime.http.bounded import bounded
from services.runtime.http.health import Health, probe_app
from services.runtime.http.limits import ConnectionLimits
from services.runtime.http.server import DrainingServer, config
from tests.support.eventually import eventually

LONG = 60.0
"""A drain that no test waits for."""


class App:
    """Answers probes, and everything else once it may."""

    def __init__(self) -> None:
        self.health = Health()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.has_stopped = False
        self._probes = probe_app(self.health)

    def stopping(self) -> None:
        """Take note."""
        self.has_stopped = True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer."""
        if scope["type"] == "lifespan":
            while (await receive())["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["path"].endswith("z"):
            await self._probes(scope, receive, send)
        else:
            await self.may_answer.wait()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})


class Quiet(DrainingServer):
    """Leaves signals to pytest."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield


@dataclass
class Running:
    """A server, and clients of it."""

    app: App
    server: DrainingServer
    task: asyncio.Task[None]
    url: str
    client: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=30))

    def tell(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Do what the signal does."""
        self.server.handle_exit(number, None)

    async def get(self, path: str = "/") -> httpx.Response:
        """Ask over the connection that is there, if there is one."""
        return await self.client.get(f"{self.url}{path}")

    async def ended(self) -> None:
        """Wait for the end."""
        await asyncio.wait_for(asyncio.shield(self.task), 30)


@asynccontextmanager
async def running(drain_seconds: float) -> AsyncIterator[Running]:
    """Serve the application; in the end it is stopped at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = App()
        server = Quiet(config(app, bounded(ConnectionLimits())), drain_seconds)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await eventually(lambda: server.started, every=0.01)
        made = Running(app, server, task, f"http://127.0.0.1:{listener.getsockname()[1]}")
        try:
            yield made
        finally:
            app.may_answer.set()
            await made.client.aclose()
            made.tell(signal.SIGINT)
            await made.ended()


async def test_after_sigterm_it_is_alive_not_ready_and_serves_old_and_new_connections() -> None:
    """Each answer ends its connection, so that pooled clients go elsewhere with the next request."""
    async with running(LONG) as made:
        assert (await made.get()).headers.get("connection") != "close"
        made.tell()
        kept = await made.get()
        async with httpx.AsyncClient() as another:
            new = await another.get(made.url)
        ready, alive = await made.get("/readyz"), await made.get("/livez")

        assert [kept.status_code, new.status_code, alive.status_code] == [200, 200, 200]
        assert [kept.headers["connection"], new.headers["connection"]] == ["close", "close"]
        assert (ready.status_code, ready.json()["failing"]) == (503, {"stop": "stopping"})
        assert not made.app.has_stopped


async def test_what_was_in_flight_when_the_signal_came_is_answered_and_ends_its_connection() -> None:
    """Whenever it is done in that time, and also at the end of it."""
    async with running(LONG) as made:
        made.app.may_answer.clear()
        asked = asyncio.create_task(made.get())
        await eventually(lambda: made.server.server_state.tasks, every=0.01)
        made.tell()
        made.tell()  # a second signal: the time is over
        await eventually(lambda: made.server.should_exit, every=0.01)
        assert made.app.has_stopped
        made.app.may_answer.set()
        answer = await asked

        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        await made.ended()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_ends_by_itself_when_the_time_is_over(number: signal.Signals) -> None:
    """After SIGTERM when the drain has passed, after Ctrl-C at once."""
    async with running(LONG if number == signal.SIGINT else 0.3) as made:
        await made.get()
        made.tell(number)
        await made.ended()
        with pytest.raises(httpx.ConnectError):
            await made.get()
