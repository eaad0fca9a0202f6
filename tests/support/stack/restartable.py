"""A real server that a test starts, kills and starts again."""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

from services.local.processes import Child, Command
from tests.support.eventually import eventually

_READY_WITHIN = 90.0
_STOPPED_WITHIN = 30.0


class Program:
    """A program that can be started again after any kind of end.

    Start it from the thread that lives as long as the tests: the kernel kills it when that thread ends.
    """

    def __init__(
        self, prepare: Callable[[], Command], is_ready: Callable[[], Awaitable[bool]], log: Path
    ) -> None:
        self._prepare, self._is_ready, self.log = prepare, is_ready, log
        self.child: Child | None = None

    async def start(self) -> None:
        """Start it, and return once it answers."""
        self.launch()
        await self.answered()

    def launch(self) -> None:
        """Start it without waiting."""
        self.child = Child(self._prepare(), self.log)

    async def answered(self) -> None:
        """Return once it answers."""
        await eventually(self._answers, within=_READY_WITHIN)

    async def _answers(self) -> bool:
        assert self.child is not None
        code = self.child.exit_code()
        if code is not None:
            raise RuntimeError(f"ended with {code}:\n{self.log.read_text(errors='replace')[-4000:]}")
        return await self._is_ready()

    async def stop(self) -> int | None:
        """Stop it in the orderly way, or the other way if that takes too long; its exit code."""
        if self.child is None:
            return None
        self.child.terminate()
        try:
            return await asyncio.to_thread(self.child.wait, _STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            return await self.kill()

    async def kill(self) -> int | None:
        """Kill it with SIGKILL; its exit code."""
        if self.child is None:
            return None
        self.child.kill()
        return await asyncio.to_thread(self.child.wait)
