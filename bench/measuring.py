"""Measures stage after stage, each on servers of its own."""

import asyncio
import os
import shlex
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from bench import catalogue, files, report
from bench.machine import versions
from bench.run import Measured, Run
from bench.stages import STAGES, Figure, Measure, Size, Stack
from bench.terminal import Terminal
from chaos.probe import now
from tests.support.machine import commit, machine

_PATIENCE, _LEAST_PATIENCE = 3, 600
"""A stage counts as hanging after this multiple of its limit, and never below this many seconds."""


@dataclass(frozen=True)
class Plan:
    """What was asked for: all stages unless some are named."""

    named: list[str]
    size: Size
    words: list[str]
    """The command line."""
    is_recorded: bool = True

    @property
    def stages(self) -> list[str]:
        """The stages to measure, in the order of the flow."""
        return [name for name in STAGES if name in self.named or not self.named]

    @property
    def budget(self) -> float:
        """Seconds that all of them together may take."""
        return sum(STAGES[name].at(self.size) for name in self.stages)

    @property
    def command(self) -> str:
        """The command that does it again."""
        return shlex.join(["python", "-m", "bench", *self.words])


def begun(plan: Plan) -> Run:
    """Return the run to continue.

    A run of all stages begins with nothing; one of some stages replaces what the last one has of these, as
    long as that is of the same size, machine and versions.
    """
    fresh = Run(plan.size.quick, machine(), versions())
    last = files.last(quick=plan.size.quick) if plan.named else None
    return last if last is not None and last.fits(fresh) else fresh


Find: TypeAlias = Callable[[str], Measure]


async def measure_all(
    plan: Plan,
    run: Run,
    terminal: Terminal,
    *,
    find: Find = catalogue.measure_of,
    write: Callable[[Run], None] = files.write,
) -> tuple[Run, list[str]]:
    """Measure stage after stage, and write down each as soon as it is done; the run, and what failed."""
    failed = []
    for name in plan.stages:
        try:
            run = await _with_stage(name, find(name), plan, terminal, run)
        except Exception:  # noqa: BLE001 (a stage that fails does not end the others)
            terminal.console.print(traceback.format_exc(), markup=False, highlight=False)
            failed.append(name)
        else:
            if plan.is_recorded:
                write(run)
    return run, failed


async def _with_stage(name: str, measure: Measure, plan: Plan, terminal: Terminal, run: Run) -> Run:
    """Measure one stage, show it, and return the run with it."""
    began, began_at, load = time.monotonic(), now().isoformat(timespec="seconds"), os.getloadavg()[0]
    terminal.say(f"[bold]{name}[/], {minutes(STAGES[name].at(plan.size))} at most, load {load:.1f}")
    figures = await _measure(name, measure, plan.size, terminal)
    terminal.console.print(report.terminal(figures))
    facts = Measured(
        commit=commit(files.WRITTEN),
        began_at=began_at,
        seconds=round(time.monotonic() - began, 1),
        rounds=plan.size.rounds,
        load=round(load, 2),
        command=plan.command,
    )
    return run.with_stage(name, facts, figures)


async def _measure(name: str, measure: Measure, size: Size, terminal: Terminal) -> list[Figure]:
    """Measure one stage on servers of its own; what it leaves on disk stays when it fails."""
    home = Path(tempfile.mkdtemp(prefix=f"bench-{name}-"))
    stack, budget = Stack(home), STAGES[name].at(size)
    try:
        async with terminal.stage(name, budget), asyncio.timeout(max(_LEAST_PATIENCE, _PATIENCE * budget)):
            figures = await measure(size, stack, terminal.say)
    except BaseException:
        terminal.say(f"everything of {name} is kept in {home}")
        raise
    finally:
        await stack.kill()
    shutil.rmtree(home, ignore_errors=True)
    return figures


def minutes(seconds: float) -> str:
    """Return a time in words."""
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
