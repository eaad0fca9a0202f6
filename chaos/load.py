"""The load, as a process of its own: writers that post until SIGTERM and remember every outcome.

python -m chaos.load URL DIRECTORY SEED WRITERS REQUESTS_PER_SECOND [additive]

SIGUSR1 pauses them after the request in progress, SIGUSR2 resumes them.
"""

import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Protocol

import httpx

from chaos.additive import Additive
from chaos.invented import Traffic
from chaos.ledger import UNKNOWN, Ledger, Post, send

ADDITIVE = "additive"

_TIMEOUT_SECONDS = 15.0
_TRIES = 4
_PATIENCE_SECONDS = 0.3
"""How long a writer waits after an outcome that it does not know."""


class Says(Protocol):
    """What one writer sends."""

    def next(self) -> Post:
        """Return the next request."""


class Wishes:
    """What was asked of the writers by signals."""

    def __init__(self) -> None:
        self.stop, self.flows = asyncio.Event(), asyncio.Event()
        self.flows.set()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped)
        loop.add_signal_handler(signal.SIGUSR1, self.flows.clear)
        loop.add_signal_handler(signal.SIGUSR2, self.flows.set)

    def _stopped(self) -> None:
        self.stop.set()
        self.flows.set()


async def main(
    url: str, directory: Path, seed: int, writers: int, rate: float, traffic: Callable[[int, Random], Says]
) -> None:
    """Write until stopped; the request in progress ends first."""
    wishes = Wishes()
    limits = httpx.Limits(max_connections=writers)
    async with (
        httpx.AsyncClient(base_url=url, timeout=_TIMEOUT_SECONDS, limits=limits, trust_env=False) as client,
        asyncio.TaskGroup() as tasks,
    ):
        for writer in range(writers):
            ledger = Ledger(directory / f"writer-{writer}.ndjson")
            says = traffic(writer, Random(f"{seed} {writer}"))
            tasks.create_task(_write(client, ledger, says, rate / writers, wishes))


async def _write(
    client: httpx.AsyncClient, ledger: Ledger, traffic: Says, rate: float, wishes: Wishes
) -> None:
    """Send one request after another, each answered and written down before the next."""
    clock = asyncio.get_running_loop().time
    while not wishes.stop.is_set():
        await wishes.flows.wait()
        began, post = clock(), traffic.next()
        for _ in range(_TRIES):
            outcomes = await send(client, post, ledger)
            if all(outcome.outcome != UNKNOWN for outcome in outcomes):
                break
            await _pause(wishes.stop, _PATIENCE_SECONDS)
            if post.key is None:
                break  # a writer that wants to be safe sends a key; the others continue
        await _pause(wishes.stop, 1 / rate - (clock() - began))


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), max(0.0, seconds))


if __name__ == "__main__":
    _, address, path, given, count, speed, *kind = sys.argv
    sends: Callable[[int, Random], Says] = Additive if kind == [ADDITIVE] else Traffic
    asyncio.run(main(address, Path(path), int(given), int(count), float(speed), sends))
