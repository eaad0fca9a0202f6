"""A contender's process, as its parent sees it: how far it is, when, and what that took of the processor."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from services.local.processes import Child, Command

LOOK_SECONDS = 0.05
_STOP_SECONDS = 60.0
_LAST_LINES = 15


class Mark(NamedTuple):
    """How much was done at a moment, in seconds; the processor's time is of all threads, since the start."""

    done: int
    at: float
    cpu: float


class Pace(NamedTuple):
    """Things done a second, and microseconds of processor time for each."""

    rate: float
    cost: float


def pace(marks: Sequence[Mark], share: float = 1.0) -> Pace:
    """Return the pace from the first mark to the last, or over at least the last `share` of what was done."""
    last = marks[-1]
    most = last.done - share * (last.done - marks[0].done)
    first = [mark for mark in marks if mark.done <= most][-1]
    count = last.done - first.done
    return Pace(count / (last.at - first.at), 1e6 * (last.cpu - first.cpu) / count)


class ContenderFailed(Exception):  # noqa: N818 (it names what happened)
    """A contender ended before it was done; the text is the end of its log."""


class Watched:
    """A contender's process, its output in a file."""

    def __init__(self, command: Command, log: Path) -> None:
        self._child = Child(command, log)
        self._process = psutil.Process(self._child.pid)
        self._output = log.open("rb")
        self._half = b""

    def mark(self, done: int) -> Mark:
        """Return the mark of this moment."""
        times = self._process.cpu_times()
        return Mark(done, time.monotonic(), times.user + times.system)

    async def looks(self) -> AsyncIterator[None]:
        """Yield again and again, for as long as it runs; ContenderFailed when it has ended."""
        while self._child.exit_code() is None:
            yield
            await asyncio.sleep(LOOK_SECONDS)
        raise ContenderFailed("\n".join(self._child.last_lines(_LAST_LINES)))

    def lines(self) -> Iterator[str]:
        """Yield the lines that it has written since the last call."""
        *whole, self._half = (self._half + self._output.read()).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")

    async def stop(self) -> None:
        """Ask it to stop, and wait until it has."""
        self._child.terminate()
        await asyncio.to_thread(self._child.wait, _STOP_SECONDS)

    def kill(self) -> None:
        """End it, if it still runs."""
        self._child.kill()
        self._child.wait()
        self._output.close()


@asynccontextmanager
async def watched(command: Command, log: Path) -> AsyncIterator[Watched]:
    """Run a command for the block; it does not outlive it."""
    running = Watched(command, log)
    try:
        yield running
    finally:
        running.kill()
