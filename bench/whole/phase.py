"""One load on the running stack, and what was seen of it: rates, freshness, processor time."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import TypeAlias

from bench.whole.bodies import EVENTS
from bench.whole.load import Plan, Probed, Seen
from bench.whole.parts import Parts

LOOK_SECONDS = 1.0
Line: TypeAlias = list[tuple[float, float]]
"""Seconds and value."""


class LoadFailedError(Exception):
    """Raised when bodies were not taken, or nothing became visible: no figure would mean anything."""


@dataclass(frozen=True)
class Phase:
    """A load that has ended."""

    seen: Seen
    cpu: Mapping[str, float]
    """Processor seconds of each part, from before the load until all of it was visible."""
    seconds: float

    @property
    def events(self) -> int:
        """How many events were acknowledged."""
        return len(self.seen.acknowledged) * EVENTS

    @property
    def freshness(self) -> list[float]:
        """Seconds from acknowledged to visible, in the order of sending."""
        return [one.visible - one.acknowledged for one in self.seen.probed]

    def rate(self, warm: float) -> float:
        """Return the events a second that became visible while sending went on, after the first seconds."""
        return _rate(self.seen.probed, warm, self.seen.acknowledged[-1])

    def rates(self, slices: int, warm: float) -> Line:
        """Return the same slice by slice: when each ended, and its events a second."""
        width = (self.seen.acknowledged[-1] - warm) / slices
        ends = [warm + width * number for number in range(1, slices + 1)]
        return [(end, _rate(self.seen.probed, end - width, end)) for end in ends]


def _rate(probed: Sequence[Probed], begin: float, end: float) -> float:
    """Return by how much the newest body that is visible moved, as events a second."""
    newest = [max((one.body for one in probed if one.visible <= at), default=0) for at in (begin, end)]
    return (newest[1] - newest[0]) * EVENTS / max(0.001, end - begin)


async def load(plan: Plan, parts: Parts) -> Phase:
    """Run a load in a process of its own, and watch the parts meanwhile; LoadFailedError."""
    before, began = parts.cpu(), time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.whole.load", json.dumps(asdict(plan)), stdout=subprocess.PIPE
    )
    looking = asyncio.create_task(_look(parts))
    try:
        output, _ = await process.communicate()
    finally:
        looking.cancel()
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise LoadFailedError(f"the load ended with {process.returncode}")
    seconds, after = time.monotonic() - began, parts.cpu()
    return Phase(_checked(output), {name: after[name] - before[name] for name in after}, seconds)


async def _look(parts: Parts) -> None:
    while True:
        parts.look()
        await asyncio.sleep(LOOK_SECONDS)


def _checked(output: bytes) -> Seen:
    raw = json.loads(output)
    seen = Seen(**{**raw, "probed": sorted(Probed(*one) for one in raw["probed"])})
    if seen.failed:
        raise LoadFailedError(f"{len(seen.failed)} bodies were not taken whole: {seen.failed[0]}")
    if not seen.probed:
        raise LoadFailedError("nothing became visible")
    return seen


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile."""
    return quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]


def ends(line: Line, share: float = 0.15) -> tuple[float, float]:
    """Return the medians of a line's begin, after as long a time to warm up, and of its end."""
    width = max(1, int(len(line) * share))
    values = [value for _, value in line]
    return median(values[width : 2 * width] or values), median(values[-width:])
