"""What the parts of a running stack take: processor time and memory, from the system's own counts."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import psutil

from tests.support.stack.whole_stack import WholeStack

PARTS = ("ingest", "kafka", "merger", "sink", "warehouse", "query")
MIB_A_PART = "MiB"
MIB = 1 << 20


@dataclass
class Parts:
    """Each part's process, and what was seen of it."""

    processes: Mapping[str, psutil.Process]
    memory: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Seconds since the begin and MiB, by part."""
    began: float = field(default_factory=time.monotonic)

    def cpu(self) -> dict[str, float]:
        """Return the processor seconds of each part until now."""
        return {name: sum(process.cpu_times()[:2]) for name, process in self.processes.items()}

    def look(self) -> None:
        """Note the memory of each part now."""
        at = time.monotonic() - self.began
        for name, process in self.processes.items():
            self.memory.setdefault(name, []).append((at, process.memory_info().rss / MIB))


def of(stack: WholeStack) -> Parts:
    """Return the parts of a stack that runs."""
    return Parts({name: psutil.Process(stack.pid(name)) for name in PARTS})
