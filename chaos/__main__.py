"""`make chaos`: strikes faults, judges the result, and writes a report."""

import asyncio
import json
import logging
import random
import shutil
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console

from chaos import disks
from chaos.campaign import Outcome, Struck, joined, run
from chaos.cluster import COMPILER, cluster_stage
from chaos.faults import FAULTS, KINDS, Kind, Phase, Wave, pairs, plans
from chaos.operated import operated_stage
from chaos.probe import now
from chaos.quiet import RunFailed
from chaos.record import record
from chaos.report import page
from chaos.stage import Stage, local_stage

_DOCS = Path(__file__).parents[1] / "docs"
_WORTH_A_PAGE = 200
_EPILOG = """Ends with 1 when anything is lost, wrong, duplicated or invented, or when the run cannot go on;
then its directory stays. A run of at least 200 faults without that is written to docs/chaos.md."""

_STAGES: Mapping[Phase, Callable[[Path], AbstractAsyncContextManager[Stage]]] = {
    Phase.LOCAL: local_stage,
    Phase.CLUSTER: cluster_stage,
    Phase.OPERATED: operated_stage,
}


class Terminal:
    """Prints a line for each fault."""

    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total, self._done = console, total, 0
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """Print what happens now."""
        self._console.print(
            f"[bold]{time.monotonic() - self._began:10.0f} s  {text}[/]", highlight=False, soft_wrap=True
        )

    def struck(self, one: Struck) -> None:
        """Print a fault."""
        self._done += 1
        self._console.print(
            f"{self._done:4}/{self._total} {one.at:7.1f} s  {one.fault!s:22}"
            f" recovered after {one.first:6.2f} s, everywhere {one.everywhere:6.2f} s  [dim]{one.detail}[/]",
            highlight=False,
            soft_wrap=True,
        )


def _arguments() -> Namespace:
    parser = ArgumentParser("make chaos", description=__doc__, epilog=_EPILOG)
    parser.add_argument(
        "--seed", type=int, help="what the plan and the load are drawn from; any if not given"
    )
    parser.add_argument("--faults", type=int, default=FAULTS, help="how many faults at least (%(default)s)")
    parser.add_argument("--only", help="kinds of fault, separated by commas: kill,freeze")
    parser.add_argument(
        "--directory", type=Path, help="where the run is kept, and stays; else a temporary one"
    )
    return parser.parse_args()


def _kinds(only: str | None, able: Collection[str]) -> list[Kind]:
    chosen = only.split(",") if only else {kind.name for kind in KINDS}
    return [kind for kind in KINDS if kind.name in chosen and kind.needs in able]


async def _run(
    directory: Path, waves: Mapping[Phase, Sequence[Wave]], seed: int, console: Console
) -> Outcome:
    total = sum(len(wave) for part in waves.values() for wave in part)
    terminal = Terminal(console, total)
    terminal.say(f"SEED={seed}: {total} faults in {sum(map(len, waves.values()))} waves, in {directory}")
    outcomes = []
    for phase, part in waves.items():
        terminal.say(f"phase {phase}: {sum(map(len, part))} faults in {len(part)} waves")
        async with _STAGES[phase](directory / phase) as one:
            outcomes.append(await run(one, part, seed, terminal))
            terminal.say(str(outcomes[-1].verdict))
    return joined(outcomes)


def main() -> int:
    """Run, and return 0 when nothing is amiss."""
    wanted, console = _arguments(), Console()
    # It logs each failed try to reach a broker that the run has killed.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    has_disks = disks.enter_namespace("chaos", sys.argv[1:])
    seed = random.randrange(2**32) if wanted.seed is None else wanted.seed
    able = {"", *(("disks",) if has_disks else ()), *(("compiler",) if COMPILER else ())}
    kinds = _kinds(wanted.only, able)
    if not has_disks:
        console.print("no disk will be full or read-only: mounting one takes root here", highlight=False)
    if not COMPILER:
        console.print("clocks of brokers and of ClickHouse stay as they are: that takes cc", highlight=False)
    directory = wanted.directory or Path(tempfile.mkdtemp(prefix="chaos-"))
    if has_disks:
        disks.mount(directory / Phase.LOCAL / "home")
    began_at = now().isoformat(timespec="seconds")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            outcome = runner.run(_run(directory, plans(seed, wanted.faults, kinds), seed, console))
    except (RunFailed, ExceptionGroup) as error:
        console.print(f"[red]{complaints(error)}[/]\nEverything is kept in {directory}", highlight=False)
        return 1
    command = f"make chaos SEED={seed} FAULTS={wanted.faults}" + (
        f" ONLY={wanted.only}" if wanted.only else ""
    )
    found = record(outcome, seed=seed, command=command, began_at=began_at, ledgers=directory.glob("*/ledger"))
    return _told(found, outcome, directory, console, keep=wanted.directory is not None)


def _told(found: dict[str, Any], outcome: Outcome, directory: Path, console: Console, *, keep: bool) -> int:
    """Show what came of the run, and put it where it belongs; the exit code."""
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    (directory / "run.json").write_text(text)
    console.print(str(outcome.verdict), highlight=False, soft_wrap=True)
    if outcome.verdict is None or not outcome.verdict.is_clean:
        console.print(f"[red]Something is amiss. Everything is kept in {directory}[/]", highlight=False)
        return 1
    if is_worth_a_page(found):
        (_DOCS / "chaos" / "run.json").write_text(text)
        (_DOCS / "chaos.md").write_text(page(found))
        console.print("written: docs/chaos/run.json and docs/chaos.md", highlight=False)
    if not keep:
        shutil.rmtree(directory, ignore_errors=True)
    return 0


def is_worth_a_page(found: dict[str, Any]) -> bool:
    """Return whether a run has enough faults, and every kind of them."""
    seen = {(fault["fault"], fault["target"]) for fault in found["faults"]}
    wanted = {(kind.name, target) for kind, target in pairs()}
    return len(found["faults"]) >= _WORTH_A_PAGE and seen == wanted


def complaints(error: Exception) -> str:
    """Return what ended a run; what is not the run's own complaint is raised."""
    if isinstance(error, ExceptionGroup):
        failed, other = error.split(RunFailed)
        if other is not None or failed is None:
            raise error
        return "; ".join(map(complaints, failed.exceptions))
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
