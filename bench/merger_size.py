"""What a merger of many rows costs: `python -m bench.merger_size --rows 1000000`.

Needs Kafka at KAFKA_BOOTSTRAP_SERVERS (`--own` starts one of its own).  It makes topics of a new generation,
writes states of so many requests straight to the state topic, and lets a merger process read them into an
empty directory; then it writes events on requests chosen by chance, lets the merger merge them, and starts it
again with its directory in place.  Memory is the merger's resident set, asked ten times a second.
"""

import argparse
import asyncio
import os
import random
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from msgspec import Raw

from bench.filling import fill
from bench.merger_drain import events
from schemas.topics import Topology
from services.local import probes
from services.local.ports import free_port
from services.local.processes import Child, python_module
from services.merger.core import state as states
from services.merger.core.state import Merge, MergerState, Versions
from services.runtime.settings import KafkaSettings, load
from tests.support.kafka.topics import create_topics
from tests.support.stack.local_servers import OwnKafka

PARTITIONS = 4
MIB = 1 << 20
MOMENT = datetime(2026, 11, 22, 8, 0, 0, 1, tzinfo=UTC)
MODELS = (b"gpt-x-large", b"gpt-x-small", b"claude-next", b"mixture-8x")


def rows(count: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and states as the merger writes them; their versions say that no event of them is left."""
    dice = random.Random(1)
    pattern = _pattern()
    for number in range(count):
        request_id = b"chatcmpl-%08d" % number
        chosen = {
            b"id": request_id,
            b"rating": 1 + number % 5,
            b"number": dice.getrandbits(32),
            b"model": MODELS[number % len(MODELS)],
            b"latency": int(dice.random() * 9_999),
        }
        yield b"default/" + request_id, pattern % chosen


def _pattern() -> bytes:
    """Return the bytes of a state with places for what differs: encoding each would take most of the time."""
    data = {
        "rating": Raw(b"%(rating)d"),
        "comment": Raw(b'"Very accurate %(number)d, thanks a lot for this."'),
        "tags": Raw(b'["customer-support","positive-feedback"]'),
    }
    request = {"model": Raw(b'"%(model)b"'), "latency_ms": Raw(b"%(latency)d.5")}
    merge = Merge(data=Versions(newest=0), request=Versions(newest=0))
    identity = Raw(b'"default"'), Raw(b'"%(id)b"')
    return states.encode(
        MergerState(*identity, 0, MOMENT, MOMENT, ["native", "requesty"], data, request, merge)
    )


@dataclass
class Running:
    """A merger process, and the most memory that it had."""

    child: Child
    port: int
    peak: int = 0

    @property
    def process(self) -> psutil.Process:
        """The process."""
        return psutil.Process(self.child.pid)

    def memory(self) -> int:
        """Return how many bytes are resident now."""
        return int(self.process.memory_info().rss)

    async def until(self, check: Callable[[], Awaitable[bool]]) -> tuple[float, float]:
        """Wait; return the seconds that passed, and the seconds of processor time."""
        began, times = time.monotonic(), self.process.cpu_times()
        while not await check():
            if self.child.exit_code() is not None:
                raise RuntimeError(f"the merger ended: {self.child.last_lines(5)}")
            self.peak = max(self.peak, self.memory())
            await asyncio.sleep(0.1)
        now = self.process.cpu_times()
        return time.monotonic() - began, now.user + now.system - times.user - times.system

    async def is_ready(self) -> bool:
        """Return whether it has read all rows back."""
        return (await asyncio.to_thread(probes.get, self.port, "/readyz"))[0] == 200

    async def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        _, page = await asyncio.to_thread(probes.get, self.port, "/metrics")
        lines = [line.rpartition(" ") for line in page.decode().splitlines()]
        return sum(float(value) for label, _, value in lines if label.partition("{")[0] == name)


@asynccontextmanager
async def merger(kafka: KafkaSettings, home: Path) -> AsyncIterator[Running]:
    """Run a merger process for the block, and stop it in order."""
    port = free_port()
    variables = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.kafka_bootstrap_servers,
        "KAFKA_TOPIC_GENERATION": str(kafka.kafka_topic_generation),
        "CLICKHOUSE_URL": "http://127.0.0.1:1",
        "AFTERWORD_HOME": str(home),
        "MERGER_METRICS_PORT": str(port),
        "LOG_FORMAT": "json",
    }
    running = Running(
        Child(python_module("services.merger", environment=os.environ | variables), home / "log"), port
    )
    try:
        yield running
        running.child.terminate()
        await asyncio.to_thread(running.child.wait, 60.0)
    finally:
        running.child.kill()


def size_of(directory: Path) -> int:
    """Return the bytes of all files below a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


async def measure(
    kafka: KafkaSettings, count: int, events_count: int, home: Path, say: Callable[[str], None]
) -> float:
    """Say what filling, reading back, merging and starting again cost; the most memory of a merger in MiB.

    The topics of the generation exist, and are empty.
    """

    def tell(what: str, figures: str) -> None:
        say(f"{what:<14} {figures:<70} load {os.getloadavg()[0]:.1f}")

    topology = Topology(kafka.kafka_topic_generation)
    began = time.monotonic()
    size = await fill(kafka, topology.state.name, rows(count), PARTITIONS, compression_type="lz4")
    tell("written", f"{count:,} rows of {size / count:.0f} bytes in {time.monotonic() - began:.0f} s")
    async with merger(kafka, home) as first:
        wall, cpu = await first.until(first.is_ready)
        tell("read back", f"{count / wall:,.0f} rows/s, {1e6 * cpu / count:.1f} us of processor time a row")
        tell("memory", f"{first.peak / MIB:.0f} MiB at most, {first.memory() / MIB:.0f} MiB then")
        tell("disk", f"{size_of(home / 'merger') / MIB:.0f} MiB")
        await fill(
            kafka, topology.events.name, events(events_count, count), PARTITIONS, compression_type="lz4"
        )

        async def merged() -> bool:
            return await first.metric("merger_events_total") >= events_count

        wall, cpu = await first.until(merged)
        tell("merged", f"{events_count / wall:,.0f} events/s, {1e6 * cpu / events_count:.1f} us an event")
        tell("memory", f"{first.peak / MIB:.0f} MiB at most, {first.memory() / MIB:.0f} MiB then")
    async with merger(kafka, home) as second:
        wall, _ = await second.until(second.is_ready)
        tell("started again", f"ready after {wall:.1f} s, {second.memory() / MIB:.0f} MiB")
    tell("disk", f"{size_of(home / 'merger') / MIB:.0f} MiB")
    return max(first.peak, second.peak) / MIB


async def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--own", action="store_true", help="start a Kafka for this run alone")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        own = OwnKafka(home / "kafka") if wanted.own else None
        if own:
            await own.start()
        kafka = own.settings if own else load(KafkaSettings)
        generation = 1 if own else uuid.uuid4().int % 60_000 + 1
        settings = kafka.replace(kafka_topic_generation=generation)
        try:
            await create_topics(settings, Topology(generation), partitions=PARTITIONS)
            await measure(settings, wanted.rows, wanted.events, home, print)
        finally:
            if own:
                await own.kill()


if __name__ == "__main__":
    asyncio.run(main())
