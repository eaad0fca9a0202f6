"""Two processes of each service on one topic of four partitions, against one: what it gives, what stops it.

First each service alone gets the same work, with one process and with two, in turns; then the whole does,
from HTTP to stored rows.  Where twice the processes are not twice as fast, the busy cores say whether the
machine was full: it also runs the load, Kafka and ClickHouse's engine.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import TypeAlias

from bench.scale import turns
from bench.scale.turns import Turn, Work
from bench.stages import Figure, Say, Size, Stack, compared
from bench.targets import at_least

STAGE = "scale"
QUICK, FULL = Work(events=40_000, seconds=2.0), Work(events=250_000, seconds=10.0)
SHARED = at_least(25, "% of the work")
"""What the less busy one of two does at least, or they share nothing."""
_Take: TypeAlias = Callable[[Stack, Work, int], Awaitable[Turn]]
_PARTS: dict[str, _Take] = {
    "ingest": turns.ingest,
    "merger": turns.merger,
    "sink": turns.sink,
    "whole": turns.whole,
}
_UNITS = {"sink": "rows/s"}


async def measure(size: Size, stack: Stack, say: Say) -> list[Figure]:
    """Let one and two processes of each part take turns."""
    work = QUICK if size.quick else FULL
    found: dict[tuple[str, int], list[Turn]] = {}
    for _ in range(size.long_rounds):
        for part, take in _PARTS.items():
            for processes in (1, 2):
                turn = await take(stack, work, processes)
                found.setdefault((part, processes), []).append(turn)
                say(f"{part}, {processes} of each: {turn.rate:,.0f} a second, {turn.cores:.2f} cores busy")
    return [figure for part in _PARTS for figure in figures(part, found[part, 1], found[part, 2])]


def figures(part: str, one: list[Turn], two: list[Turn]) -> Iterator[Figure]:
    """Yield what two processes of a part do, against one."""
    name = "of each service" if part == "whole" else f"of {part}"
    unit = _UNITS.get(part, "events/s")
    yield compared(
        STAGE, f"two processes {name}", unit, [turn.rate for turn in two], [turn.rate for turn in one]
    )
    yield compared(
        STAGE,
        f"processor time of all processes {name}",
        "us/row" if part == "sink" else "us/event",
        [turn.cost for turn in two],
        [turn.cost for turn in one],
    )
    yield compared(
        STAGE,
        f"busy cores with two processes {name}",
        "cores",
        [turn.cores for turn in two],
        [turn.cores for turn in one],
    )
    if part != "whole":
        share = [turn.least_share for turn in two]
        yield compared(STAGE, f"work of the less busy process {name}", "%", share, target=SHARED)
