"""What a process holds while it is fuzzed: memory, files, tasks and bytes on their way."""

import re
from dataclasses import dataclass, field
from statistics import median
from urllib.request import urlopen

import psutil

_MOST_GROWTH = 0.15
_MOST_GROWTH_BYTES = 24 << 20
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Reading:
    """One look.  `gauges` are those of /metrics that go back to where they were when nothing is going on."""

    rss: int
    files: int
    gauges: dict[str, float]


@dataclass
class Health:
    """Looks at one process, again and again."""

    pid: int
    metrics: str
    """The address of its /metrics."""
    gauge: re.Pattern[str]
    readings: list[Reading] = field(default_factory=list)

    def look(self) -> Reading:
        """Return what it holds now, and remember it."""
        process = psutil.Process(self.pid)
        with urlopen(self.metrics, timeout=_PATIENCE_SECONDS) as answer:
            lines = answer.read().decode().splitlines()
        gauges = {
            name: float(value)
            for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))
            if self.gauge.match(name)
        }
        self.readings.append(Reading(process.memory_info().rss, process.num_fds(), gauges))
        return self.readings[-1]

    def complaint(self) -> str | None:
        """Return what grew after the warm-up, None while nothing did: the last fifth against the second."""
        count = len(self.readings)
        if count < 10:
            return None
        early, late = self.readings[count // 5 : 2 * count // 5], self.readings[-(count // 5) :]
        before, after = (median(one.rss for one in some) for some in (early, late))
        if after - before > max(_MOST_GROWTH * before, _MOST_GROWTH_BYTES):
            return f"memory grew from {before / 2**20:.0f} to {after / 2**20:.0f} MiB"
        before, after = (median(one.files for one in some) for some in (early, late))
        return f"files grew from {before:.0f} to {after:.0f}" if after > before + 10 else None

    def summary(self) -> str:
        """Return memory and files at the beginning and the end, in words."""
        first, last = self.readings[0], self.readings[-1]
        middle = self.readings[len(self.readings) // 2]
        rss = ", ".join(f"{one.rss / 2**20:.0f}" for one in (first, middle, last))
        return f"RSS {rss} MiB (start, middle, end), files {first.files} to {last.files}, {last.gauges}"
