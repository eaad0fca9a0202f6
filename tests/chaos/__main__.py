"""`make chaos`: strikes faults, judges what is left, and writes down what happened."""

import asyncio
import random
import shutil
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests.chaos import disks
from tests.chaos.campaign import Outcome, RunFailed, Struck, run
from tests.chaos.faults import FAULTS, KINDS, Kind, Wave, plan
from tests.chaos.stage import stage


class Terminal:
    """Prints a line for each fault."""

    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total, self._done = console, total, 0

    def say(self, text: str) -> None:
        """Print what happens now."""
        self._console.print(f"[bold]{text}[/]", highlight=False)

    def struck(self, one: Struck) -> None:
        """Print a fault."""
        self._done += 1
        self._console.print(
            f"{self._done:4}/{self._total} {one.at:7.1f} s  {one.fault!s:22} recovered after {one.first:6.2f} s,"
            f" everywhere {one.everywhere:6.2f} s  [dim]{one.detail}[/]",
            highlight=False,
            soft_wrap=True,
        )


def _arguments() -> Namespace:
    parser = ArgumentParser("make chaos", description=__doc__)
    parser.add_argument(
        "--seed", type=int, help="what the plan and the load are drawn from; printed if not given"
    )
    parser.add_argument("--faults", type=int, default=FAULTS, help="how many faults at least")
    parser.add_argument("--only", help="kinds of fault, separated by commas: kill,freeze")
    parser.add_argument(
        "--directory", type=Path, help="where everything of the run is kept; else a temporary one"
    )
    return parser.parse_args()


def _kinds(wanted: Namespace, *, has_disks: bool) -> list[Kind]:
    chosen = wanted.only.split(",") if wanted.only else {kind.name for kind in KINDS}
    return [kind for kind in KINDS if kind.name in chosen and (has_disks or kind.name != "disk full")]


async def _run(directory: Path, waves: Sequence[Wave], seed: int, console: Console) -> Outcome:
    total = sum(map(len, waves))
    console.print(
        f"SEED={seed}, {total} faults in {len(waves)} waves, everything in {directory}", highlight=False
    )
    async with stage(directory) as one:
        return await run(one, waves, seed, Terminal(console, total))


def main() -> int:
    """Run, and return 0 when nothing is amiss."""
    wanted = _arguments()
    has_disks = disks.enter_namespace("tests.chaos", sys.argv[1:])
    console = Console()
    seed = random.randrange(2**32) if wanted.seed is None else wanted.seed
    directory = wanted.directory or Path(tempfile.mkdtemp(prefix="chaos-"))
    if has_disks:
        disks.mount(directory / "home" / name for name in ("merger", "merger-2"))
    waves = plan(seed, wanted.faults, _kinds(wanted, has_disks=has_disks))
    try:
        outcome = asyncio.run(_run(directory, waves, seed, console))
    except (RunFailed, ExceptionGroup) as error:
        console.print(f"[red]{complaints(error)}[/]", highlight=False)
        return 1
    console.print(str(outcome.sums), str(outcome.verdict))
    shutil.rmtree(directory, ignore_errors=True)
    return 0


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
