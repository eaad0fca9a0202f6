"""The whole stack at once: `afterword up`, bodies of 500 events in by HTTP, their rows visible in SQL.

First as much as becomes visible: sending waits while what was acknowledged ten seconds ago cannot be seen.
Then 10,000 events a second, whatever becomes of them: how long each takes from its acknowledgement until it
is visible.  Meanwhile a reader asks for a page and a request every five seconds.
"""

from collections.abc import Iterator

from bench.stages import Figure, Say, Size, Stack, compared
from bench.targets import at_least, at_most, share
from bench.whole import parts
from bench.whole.load import Plan
from bench.whole.parts import MIB_A_PART, Parts
from bench.whole.phase import Line, Phase, ends, load, percentile
from tests.support.stack.whole_stack import WholeStack

STAGE = "whole"
QUICK_SECONDS, FULL_SECONDS = 15.0, 600.0
"""Of each of the two loads."""
WARM_SECONDS = 5.0
HALF = 10_000
FLAT = 1.1
"""What grows by less, from its first minutes to its last, is flat."""
MUST_BE_FLAT = ("ingest", "sink", "query")
_SLICES = {True: 3, False: 60}
"""Slices of the first load, by whether it is the quick one."""


async def measure(size: Size, stack: Stack, say: Say) -> list[Figure]:
    """Start a stack of its own, load it twice, and return the figures."""
    whole = WholeStack(stack.home / STAGE)
    seconds = QUICK_SECONDS if size.quick else FULL_SECONDS
    try:
        await whole.start()
        watched = parts.of(whole)
        say(f"as much as becomes visible, for {seconds:.0f} s")
        most = await load(_plan(whole, seconds, seed=1), watched)
        say(f"{most.rate(WARM_SECONDS):,.0f} events a second; now {HALF:,} a second")
        half = await load(_plan(whole, seconds, seed=2, rate=HALF), watched)
        await whole.stop()
    finally:
        await whole.kill()
    return [*sustained(most, size), *fresh(half), *costs(most), *memory(watched, size)]


def _plan(whole: WholeStack, seconds: float, seed: int, rate: float = 0.0) -> Plan:
    return Plan(
        url=whole.ingest_url,
        clickhouse=whole.settings.clickhouse_url,
        seconds=seconds,
        rate=rate,
        seed=seed,
        query=whole.query_url,
    )


def sustained(phase: Phase, size: Size) -> Iterator[Figure]:
    """Yield how much went through, and whether what waits stayed as it was."""
    unit = "events/s"
    yield compared(
        STAGE,
        "sustained, from HTTP to SQL",
        unit,
        [phase.rate(WARM_SECONDS)],
        target=at_least(20_000, unit),
        series={"visible events a second": phase.rates(_SLICES[size.quick], WARM_SECONDS)},
    )
    waits: Line = [(one.visible, one.visible - one.acknowledged) for one in phase.seen.probed]
    first, last = ends(waits)
    yield compared(
        STAGE,
        "acknowledged and not yet visible, at the end of the sustained load",
        "s",
        [last],
        [first],
        target=share(1.25, "that at its begin"),
        series={"seconds until visible": waits},
    )


def fresh(phase: Phase) -> Iterator[Figure]:
    """Yield how long events take to become visible at half of the rate to be sustained, and their cost."""
    name = f"from acknowledged to visible at {HALF:,} events/s"
    waits: Line = [(one.visible, one.visible - one.acknowledged) for one in phase.seen.probed]
    middle, slowest = (percentile(phase.freshness, percent) for percent in (50, 99))
    yield compared(
        STAGE, f"{name}, p50", "s", [middle], target=at_most(1, "s"), series={"seconds until visible": waits}
    )
    yield compared(STAGE, f"{name}, p99", "s", [slowest], target=at_most(3, "s"))
    took = phase.seen.acknowledged[-1] if phase.seen.acknowledged else 1.0
    yield compared(STAGE, "events that were taken meanwhile", "events/s", [phase.events / took])
    cost = sum(phase.cpu.values()) / phase.events * 1e6
    yield compared(STAGE, "processor time of all parts meanwhile", "us/event", [cost])


def costs(phase: Phase) -> Iterator[Figure]:
    """Yield what each part takes of the processor for an event."""
    shares = {**phase.cpu, "the load itself": phase.seen.cpu}
    for name, seconds in sorted(shares.items(), key=lambda one: -one[1]):
        yield compared(STAGE, f"processor time of {name}", "us/event", [seconds / phase.events * 1e6])


def memory(watched: Parts, size: Size) -> Iterator[Figure]:
    """Yield the memory of each part; of a short run it says nothing about growth."""
    for name, line in watched.memory.items():
        series = {name: line}
        if size.quick:
            yield compared(STAGE, f"memory of {name}, at most", MIB_A_PART, [max(at for _, at in line)])
            continue
        first, last = ends(line)
        target = {"target": share(FLAT, "that of the first minutes")} if name in MUST_BE_FLAT else {}
        yield compared(
            STAGE, f"memory of {name} at the end", MIB_A_PART, [last], [first], series=series, **target
        )
