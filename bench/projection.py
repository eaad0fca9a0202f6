"""What a cluster would need, from what an event costs each part of the whole stack here.  Pure."""

import math
from collections.abc import Mapping, Sequence

from bench import shown
from bench.report import markdown
from bench.stages import Figure

PARTS = {"ingest": "Ingest", "merger": "Merger", "sink": "Sink", "kafka": "Kafka", "warehouse": "ClickHouse"}
"""What the stage of the whole calls a part, and what the page does."""
RATES = (20_000, 100_000, 1_000_000)
"""Events a second."""
BUSY = 0.6
"""How much of a core is planned to be in use."""
COPIES = {"Kafka": 3}
"""Copies of what a part stores in a cluster; one was measured."""


def cost_of(part: str) -> str:
    """Return the name of the figure that says what an event costs a part."""
    return f"processor time of {part}"


def costs(figures: Sequence[Figure]) -> dict[str, float]:
    """Return the microseconds of one core that an event costs each part."""
    values = {figure.figure: figure.value for figure in figures}
    return {name: values[cost_of(part)] for part, name in PARTS.items() if cost_of(part) in values}


def cores(cost: Mapping[str, float], rate: float) -> dict[str, int]:
    """Return how many cores each part needs for so many events a second, as many as it may keep busy."""
    return {part: math.ceil(rate * each * COPIES.get(part, 1) / 1e6 / BUSY) for part, each in cost.items()}


def projection(figures: Sequence[Figure]) -> str:
    """Return the table of cores by rate, as Markdown."""
    cost = costs(figures)
    if not cost:
        return "Not measured yet."
    header = ("Part", "One event", *(f"{rate:,} events/s" for rate in RATES))
    needed = [cores(cost, rate) for rate in RATES]
    rows = [
        (part, f"{shown.number(each)} µs", *(_cores(found[part]) for found in needed))
        for part, each in cost.items()
    ]
    sums = [f"**{_cores(sum(found.values()))}**" for found in needed]
    return markdown(header, [*rows, ("**All**", f"{shown.number(sum(cost.values()))} µs", *sums)]).rstrip()


def _cores(count: int) -> str:
    return f"{count:,} core{'s' * (count != 1)}"
