"""The load, as a process of its own: writers that post until SIGTERM and remember every outcome.

python -m tests.chaos.load URL DIRECTORY SEED WRITERS REQUESTS_PER_SECOND
"""

import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path
from random import Random

import httpx

from tests.chaos.invented import Traffic
from tests.chaos.ledger import UNKNOWN, Ledger, send

_TIMEOUT_SECONDS = 15.0
_TRIES = 4
_PATIENCE_SECONDS = 0.3
"""How long a writer waits after an outcome that it does not know."""


async def main(url: str, directory: Path, seed: int, writers: int, rate: float) -> None:
    """Write until told to stop; the request in hand ends first."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    limits = httpx.Limits(max_connections=writers)
    async with (
        httpx.AsyncClient(base_url=url, timeout=_TIMEOUT_SECONDS, limits=limits, trust_env=False) as client,
        asyncio.TaskGroup() as tasks,
    ):
        for writer in range(writers):
            ledger = Ledger(directory / f"writer-{writer}.ndjson")
            tasks.create_task(
                _write(client, ledger, Traffic(writer, Random(f"{seed} {writer}")), rate / writers, stop)
            )


async def _write(
    client: httpx.AsyncClient, ledger: Ledger, traffic: Traffic, rate: float, stop: asyncio.Event
) -> None:
    """Send one request after another, each answered and written down before the next."""
    clock = asyncio.get_running_loop().time
    while not stop.is_set():
        began, post = clock(), traffic.next()
        for _ in range(_TRIES):
            outcomes = await send(client, post, ledger)
            if all(one.outcome != UNKNOWN for one in outcomes):
                break
            await _pause(stop, _PATIENCE_SECONDS)
            if post.key is None:
                break  # a writer that wants to be safe sends a key; the others go on
        await _pause(stop, 1 / rate - (clock() - began))


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), max(0.0, seconds))


if __name__ == "__main__":
    _, address, path, *numbers = sys.argv
    asyncio.run(main(address, Path(path), int(numbers[0]), int(numbers[1]), float(numbers[2])))
