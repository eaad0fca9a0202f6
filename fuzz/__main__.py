"""`make fuzz`: every target for some minutes, one after the other, against a whole stack of its own."""

import argparse
import asyncio
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from fuzz.rounds import SERVICES, fuzz
from tests.support.eventually import eventually
from tests.support.stack.whole_stack import WholeStack

PARSERS = ("bodies", "batches", "encodings", "paths", "filters", "cursors", "records", "sql")
NAMES = (
    *(f"{kind}-{service}" for kind in ("calls", "socket", "between") for service in SERVICES),
    *(f"parser-{name}" for name in PARSERS),
)
_EPILOG = """calls-*: calls made up from the OpenAPI document, by schemathesis.  socket-*: raw bytes, by
Hypothesis.  between-*: upgrades, trailers, chunk extensions and half-closes, whose answers are known.
parser-*: a pure parser under atheris, which needs Linux.  Ends with 1 when anything was found:
an answer 5xx of no document, a connection that hangs, memory that grows, an exception of no document."""
_STARTING_SECONDS = 300
_READY_SECONDS = 900.0
_EXECUTED = re.compile(r"stat::number_of_executed_units: *(\d+)")
_COVERED = re.compile(r"cov: (\d+)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz what the command line names; the exit code."""
    parser = argparse.ArgumentParser("make fuzz", description=__doc__, epilog=_EPILOG)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"any of {', '.join(NAMES)}")
    parser.add_argument("--minutes", type=float, default=10.0, help="for each target (default: 10)")
    parser.add_argument("--seed", type=int, default=1, help="of the calls and the raw bytes (default: 1)")
    wanted = parser.parse_args(arguments)
    if unknown := sorted(set(wanted.targets) - set(NAMES)):
        parser.error(f"no such target: {', '.join(unknown)}; these are: {', '.join(NAMES)}")
    names = wanted.targets or NAMES
    directory = Path(tempfile.mkdtemp(prefix="afterword-fuzz-"))
    found = asyncio.run(_all(names, wanted.minutes * 60, wanted.seed, directory))
    _say(f"found something in {', '.join(found)}; see {directory}" if found else "nothing found")
    return 1 if found else 0


async def _all(names: Sequence[str], seconds: float, number: int, directory: Path) -> list[str]:
    found = []
    served = [name for name in names if not name.startswith("parser-")]
    if served:
        found += await _served(served, seconds, number, directory)
    for name in names:
        if name.startswith("parser-") and not _guided(name.removeprefix("parser-"), seconds, directory):
            found.append(name)
    return found


async def _served(names: Sequence[str], seconds: float, number: int, directory: Path) -> list[str]:
    """Fuzz both services at once, each target of one after the other."""
    stack = WholeStack(directory / "stack")
    try:
        stack.launch()
        await eventually(lambda: "ready" in stack.lines(), within=_READY_SECONDS, every=0.5)
        ran = await asyncio.gather(*(_service(stack, one, names, seconds, number) for one in SERVICES))
        await stack.stop()
    finally:
        await stack.kill()
    return [name for found in ran for name in found]


async def _service(
    stack: WholeStack, service: str, names: Sequence[str], seconds: float, number: int
) -> list[str]:
    found = []
    for name in names:
        if name.endswith(service):
            ran = await asyncio.to_thread(fuzz, stack, name, seconds, number)
            _say(f"{name}: {ran}")
            if ran.complaint:
                found.append(name)
    return found


def _guided(name: str, seconds: float, directory: Path) -> bool:
    """Fuzz a parser in a process of its own; whether nothing was found."""
    log, began = directory / f"{name}.log", time.monotonic()
    command = [sys.executable, "-m", "fuzz.guided", name, str(max(1, int(seconds))), str(directory)]
    with log.open("w") as output:
        ended = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, check=False, timeout=seconds + _STARTING_SECONDS
        )
    said = log.read_text(errors="replace")
    executed, covered = _EXECUTED.search(said), _COVERED.findall(said)
    verdict = "nothing found" if ended.returncode == 0 else f"ended with {ended.returncode}:\n{said[-3000:]}"
    count = f"{int(executed[1]):,}" if executed else "?"
    took, places = time.monotonic() - began, covered[-1] if covered else "?"
    _say(f"parser-{name}: {verdict}; {count} inputs in {took:.0f} s, {places} places covered")
    return ended.returncode == 0


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 (the terminal is what it is for)


if __name__ == "__main__":
    sys.exit(main())
