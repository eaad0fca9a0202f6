"""`make bench`: measures every stage against what people would use instead, and writes down what it found."""

import asyncio
import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter

import uvloop
from rich.console import Console

from bench import catalogue, files, report
from bench.measuring import Plan, begun, measure_all, minutes
from bench.run import Run
from bench.stages import FULL, QUICK, STAGES
from bench.terminal import Terminal
from services.runtime.exit_codes import INTERRUPTED
from tests.support.machine import machine

_BUSY = 0.5
_WIDE = 160
"""Columns of a table that goes to a file."""


def _arguments(words: list[str]) -> Namespace:
    """Read the command line; the help of one stage alone is that stage's."""
    alone = words[0] if words and words[0] in STAGES and not set(words[1:]) & set(STAGES) else None
    parser = ArgumentParser(
        f"python -m bench {alone or ''}".strip(),
        description=catalogue.about(alone) if alone else __doc__,
        epilog=None if alone else catalogue.described(),
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("stages", nargs="*", metavar="STAGE", help="which stages; all unless named")
    parser.add_argument("--quick", action="store_true", help="under five minutes for all stages; says less")
    parser.add_argument("--rounds", type=int, help="how often each contender has its turn")
    parser.add_argument("--unrecorded", action="store_true", help="show the figures and write nothing")
    wanted = parser.parse_args(words)
    if unknown := set(wanted.stages) - set(STAGES):
        parser.error(f"no stage: {', '.join(sorted(unknown))} (there are {', '.join(STAGES)})")
    return wanted


def main(words: list[str]) -> int:
    """Measure; 0 once every stage was measured, whatever it showed."""
    wanted, console = _arguments(words), Console(width=None if sys.stdout.isatty() else _WIDE)
    size = QUICK if wanted.quick else FULL
    size = size._replace(rounds=wanted.rounds or size.rounds)
    plan = Plan(wanted.stages, size, words, is_recorded=not wanted.unrecorded)
    try:
        catalogue.check(plan.stages)
    except catalogue.MissingStageError as error:
        console.print(f"[red]{error}[/]", highlight=False, soft_wrap=True)
        return 1
    # Contenders start some dozens of times, and need not be compiled each time.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    _greet(plan, console)
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    with Terminal(console, plan.budget) as terminal, runner:
        run, failed = runner.run(measure_all(plan, begun(plan), terminal))
    return _told(run, plan, failed, console)


def _greet(plan: Plan, console: Console) -> None:
    facts = machine()
    what = f"{', '.join(plan.stages)}: {plan.size.rounds} rounds each, {minutes(plan.budget)} at most"
    console.print(
        f"{what}, on {facts['cores']} cores of {facts['processor']}", highlight=False, soft_wrap=True
    )
    if (load := os.getloadavg()[0]) > _BUSY:
        warning = f"The machine has other work (load {load:.1f}): read ratios, not rates."
        console.print(f"[yellow]{warning}[/]", highlight=False, soft_wrap=True)


def _told(run: Run, plan: Plan, failed: list[str], console: Console) -> int:
    """Show what came of it; the exit code."""
    figures = [figure for figure in run.figures if figure.stage in set(plan.stages) - set(failed)]
    if len(plan.stages) > 1:
        console.print(report.terminal(figures))
    console.print(report.told(figures), highlight=False, soft_wrap=True)
    if plan.is_recorded and len(failed) < len(plan.stages):
        console.print(f"written: {', '.join(files.written(run))}", highlight=False)
    if failed:
        console.print(f"[red]Not measured, because it failed: {', '.join(failed)}[/]", highlight=False)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
