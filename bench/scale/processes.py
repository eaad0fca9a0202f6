"""Several processes of each service on the same topics, and what they take of the processor."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from services.local import probes
from services.local.ports import free_port
from services.local.processes import Command, python_module
from services.runtime.settings import KafkaSettings
from services.sink.settings import SinkSettings
from tests.support.merger.partitions import NOWHERE
from tests.support.merger.process import MergerProcess
from tests.support.sink.runs import SinkProgram
from tests.support.stack.restartable import Program


class IngestProcess(Program):
    """An ingest on a port of its own, open to all of this machine."""

    def __init__(self, settings: KafkaSettings, home: Path) -> None:
        self.port = free_port()
        self._environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
            "KAFKA_TOPIC_GENERATION": str(settings.kafka_topic_generation),
            "CLICKHOUSE_URL": NOWHERE,
            "AFTERWORD_HOME": str(home),
            "INGEST_PORT": str(self.port),
            "LOG_LEVEL": "warning",
        }
        super().__init__(self._command, self._is_ready, home / "ingest.log")

    def _command(self) -> Command:
        return python_module("services.ingest", environment=self._environment)

    async def _is_ready(self) -> bool:
        return (await asyncio.to_thread(probes.get, self.port, "/readyz"))[0] == 200


@asynccontextmanager
async def running(programs: Sequence[Program]) -> AsyncIterator[None]:
    """Start all at once and wait until they are ready; stop them in the end."""
    async with AsyncExitStack() as stack:
        for program in programs:
            stack.push_async_callback(program.kill)
        await asyncio.gather(*(program.start() for program in programs))
        yield
        await asyncio.gather(*(program.stop() for program in programs))


def mergers(settings: KafkaSettings, home: Path, count: int) -> list[Program]:
    """Return so many mergers of one group, each with a store of its own."""
    return [MergerProcess(settings, home, number + 1) for number in range(count)]


def sinks(settings: SinkSettings, home: Path, count: int) -> list[Program]:
    """Return so many sinks of one group."""
    return [
        SinkProgram(settings.replace(sink_metrics_port=free_port()), home / f"sink-{number}")
        for number in range(count)
    ]


class Used(NamedTuple):
    """What was used of the processor since a moment."""

    seconds: float
    by_process: Mapping[str, list[float]]
    """Processor seconds, by part, of each of its processes."""
    cores: float
    """How many cores were busy, with whatever this machine does."""

    def cost(self, part: str, events: float) -> float:
        """Return the microseconds of all processes of a part for an event."""
        return 1e6 * sum(self.by_process[part]) / events

    def least_share(self, part: str) -> float:
        """Return how much of a part's work its least busy process did, in percent."""
        each = self.by_process[part]
        return 100 * min(each) / max(sum(each), 0.01)


class Meter:
    """Reads the processor's clocks of processes, by part, from now on."""

    def __init__(self, **parts: Sequence[Program]) -> None:
        self._processes = {
            name: [psutil.Process(program.child.pid) for program in programs if program.child]
            for name, programs in parts.items()
        }
        self._began, self._before, self._busy = time.monotonic(), self._times(), _busy()

    def _times(self) -> dict[str, list[float]]:
        return {
            name: [float(sum(process.cpu_times()[:2])) for process in processes]
            for name, processes in self._processes.items()
        }

    def used(self) -> Used:
        """Return what was used until now."""
        seconds, now = time.monotonic() - self._began, self._times()
        spent = {
            name: [after - before for before, after in zip(self._before[name], now[name], strict=True)]
            for name in now
        }
        return Used(seconds, spent, (_busy() - self._busy) / seconds)


def _busy() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))
