"""Runs the parts of the stack: starts them in order, restarts those that end, and stops all in order.

Ten times a second it observes every part, takes the step that `core.supervision` decides, and acts on it.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from services.local.core import plan
from services.local.core.supervision import (
    FIT,
    Observation,
    PartAction,
    PartState,
    Phase,
    announce,
    ending,
    is_routine,
    step,
)
from services.local.home import FULL, Home
from services.local.processes import Child, identity_of
from services.local.runners import PartRunner

_TICK_SECONDS = 0.1
_PROBE_SECONDS = {Phase.STARTING: 0.2, Phase.READY: 2.0, Phase.AILING: 1.0}
_LOG_CHECK_TICKS = 100
_LAST_LINES = 12


class Reporter(Protocol):
    """Takes the supervisor's messages."""

    def report(self, line: str) -> None:
        """Take a line for the user."""

    def record(self, line: str) -> None:
        """Take a routine line, for the log."""


class PartFailedError(Exception):
    """Raised when a part cannot run and a restart would not help; the text names the reason."""


class Supervisor:
    """Starts, watches and stops the parts of one stack.  Use it in the main thread: see `processes.Child`."""

    def __init__(
        self,
        runners: Sequence[PartRunner],
        home: Home,
        reporter: Reporter,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runners = {runner.part.name: runner for runner in runners}
        self._home, self._reporter, self._clock = home, reporter, clock
        self._children: dict[str, Child] = {}
        self._launches: dict[str, asyncio.Task[None]] = {}
        self._probes: dict[str, asyncio.Task[None]] = {}
        self._observations: dict[str, Observation] = {}
        self._identity = identity_of(os.getpid())
        self._recorded: dict[str, Any] = {}
        self._is_full = False
        self.states = {name: PartState() for name in self._runners}

    @property
    def is_ready(self) -> bool:
        """Whether every part is ready or done."""
        return all(state.phase in FIT for state in self.states.values())

    def pid(self, name: str) -> int | None:
        """Return the process id of a part; None if it does not run."""
        child = self._children.get(name)
        return child.pid if child else None

    async def run(self, stopping: asyncio.Event) -> None:
        """Keep the parts running until `stopping` is set.  PartFailedError if a restart cannot help one."""
        ticks = 0
        while not stopping.is_set():
            for runner in self._runners.values():
                self._advance(runner)
            self._record()
            if ticks % _LOG_CHECK_TICKS == 0:
                self._bound_logs()
            ticks += 1
            await _pause(stopping, _TICK_SECONDS)

    def _advance(self, runner: PartRunner) -> None:
        """Take a part's next step."""
        name = runner.part.name
        before = self.states[name]
        needs_fit = all(self.states[need].phase in FIT for need in runner.part.needs if need in self.states)
        after, act = step(runner.part, before, self._observe(name), needs_fit=needs_fit, now=self._clock())
        self.states[name] = after
        if line := announce(name, before, after):
            (self._reporter.record if is_routine(before, after) else self._reporter.report)(line)
        if after.phase is Phase.FAILED:
            raise PartFailedError(f"{name} {after.detail}\nIts log: {self._home.log(name)}")
        self._act(runner, act)

    def _observe(self, name: str) -> Observation:
        """Return the newest observation of a part.  Raises the errors of its preparation and its probes."""
        for tasks in (self._launches, self._probes):
            if name in tasks and tasks[name].done():
                tasks.pop(name).result()
        child = self._children.get(name)
        if child is None or (code := child.exit_code()) is None:
            return self._observations.pop(name, Observation())
        self._forget(name)
        return Observation(exit_code=code, detail=ending(code, child.last_lines(_LAST_LINES)))

    def _act(self, runner: PartRunner, act: PartAction | None) -> None:
        name = runner.part.name
        if act is PartAction.START:
            self._launches[name] = asyncio.create_task(self._launch(runner), name=f"start {name}")
        elif act is PartAction.KILL and name in self._children:
            self._reporter.report(f"{name}: killed, because its liveness has failed for too long")
            self._children[name].kill()

    async def _launch(self, runner: PartRunner) -> None:
        name = runner.part.name
        command = await runner.prepare()
        child = self._children[name] = Child(command, self._home.log(name))
        try:
            self._home.write_pid(name, child.pid)
        except OSError as error:
            self._tolerate_full_disk(error)
        if runner.probe is not None:
            self._probes[name] = asyncio.create_task(self._watch(runner), name=f"watch {name}")

    async def _watch(self, runner: PartRunner) -> None:
        """Probe a part while it runs."""
        name = runner.part.name
        while runner.probe is not None:
            self._observations[name] = await runner.probe()
            await asyncio.sleep(_PROBE_SECONDS.get(self.states[name].phase, 1.0))

    def _forget(self, name: str) -> None:
        """Drop the state of a part's process, which has ended."""
        self._children.pop(name, None)
        self._observations.pop(name, None)
        if probe := self._probes.pop(name, None):
            probe.cancel()
        self._home.forget_pid(name)

    async def stop(self, hurry: asyncio.Event) -> None:
        """Stop all parts in the order of the data flow; by SIGKILL, at once, when `hurry` is set."""
        await self._end_tasks()
        running = plan.stop_order(self._children)
        deadline = self._clock() + plan.STOP_SECONDS
        for index, name in enumerate(running):
            seconds = plan.grace(deadline - self._clock(), len(running) - index - 1)
            await self._stop_part(name, seconds, hurry)
        self._home.forget_state()

    async def _end_tasks(self) -> None:
        tasks = [*self._launches.values(), *self._probes.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _stop_part(self, name: str, seconds: float, hurry: asyncio.Event) -> None:
        """Send SIGTERM to a part, and SIGKILL after `seconds`."""
        child, began = self._children[name], self._clock()
        self._reporter.report(f"{name}: stopping")
        self.states[name] = replace(self.states[name], phase=Phase.STOPPING, since=began, detail="")
        child.terminate()
        while child.exit_code() is None and self._clock() < began + seconds and not hurry.is_set():
            await _pause(hurry, 0.05)
        if child.exit_code() is None:
            why = "as asked" if hurry.is_set() else f"because it had not stopped after {seconds:.0f} s"
            self._reporter.report(f"{name}: killed, {why}")
            child.kill()
            await asyncio.to_thread(child.wait)
        self.states[name] = replace(self.states[name], phase=Phase.STOPPED, since=self._clock())
        self._forget(name)

    def _bound_logs(self) -> None:
        for name in self._runners:
            self._home.bound_log(name)

    def _record(self) -> None:
        """Record the running parts after a change, for `afterword status` and for the next start."""
        state = self._record_of_all()
        if state == self._recorded:
            return
        try:
            self._home.write_state(state)
        except OSError as error:
            self._tolerate_full_disk(error)
        else:
            self._recorded, self._is_full = state, False

    def _tolerate_full_disk(self, error: OSError) -> None:
        """StackStatus a full disk once, and retry with the next change; raise any other error."""
        if error.errno not in FULL:
            raise error
        if not self._is_full:
            self._reporter.report(
                f"the disk is full: free some space for {self._home.path}; other parts keep running"
            )
        self._is_full = True

    def _record_of_all(self) -> dict[str, Any]:
        return {
            "pid": self._identity.pid,
            "created": self._identity.created,
            "parts": {name: self._record_of(name) for name in self._runners},
        }

    def _record_of(self, name: str) -> dict[str, Any]:
        state, child = self.states[name], self._children.get(name)
        identity = child.identity if child else None
        return {
            "state": state.phase.value,
            "pid": identity.pid if identity else None,
            "created": identity.created if identity else None,
            "restarts": state.restarts,
            "detail": state.detail,
            "url": self._runners[name].url,
            "address": self._runners[name].address,
        }


async def _pause(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, at most `seconds`."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
