"""How many states a second the sink stores, and how many the engine takes by itself.

    python -m tests.bench.sink.drain [--rows 300000] [--rounds 3]

It starts a Kafka and a warehouse of its own.  Both measurements insert the same rows in batches of the
same size, one after the other in each round, since other work on the machine changes the absolute figures.
"""

import argparse
import asyncio
import gc
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import orjson

from schemas.identity import event_key, partition_of
from schemas.tables import FEEDBACK_STATE
from schemas.topics import STATE_ROUTE, Topology
from services.sink.__main__ import GARBAGE_THRESHOLDS
from services.sink.metrics import ROWS
from services.sink.rows import state_line
from services.sink.settings import SinkSettings
from services.sink.writer import ClickHouseWriter
from tests.support import tables
from tests.support.eventually import eventually
from tests.support.servers import OwnKafka, OwnWarehouse
from tests.support.sink import FakeRecord
from tests.support.sink_runs import migrated, running
from tests.support.state_log import producer

PARTITIONS = 4
BATCH_ROWS = 50_000


def state(number: int, chance: random.Random) -> bytes:
    """Return a lifelike row of some 600 bytes."""
    data = {
        "rating": chance.choice([5, 4, "positive", "negative", True, 3.5]),
        "message": "word " * chance.randint(3, 20) + str(number),
        "user_id": f"user_{number % 5000}",
        "tags": chance.sample(["a", "b", "c", "slow", "fast"], 2),
        "helpful": chance.random() < 0.5,
    }
    request = {
        "model": chance.choice(["gpt-x", "claude", "llama"]),
        "provider": "p",
        "latency_ms": chance.random() * 1000,
        "cost_usd": chance.random(),
        "started_at": "2026-11-22T08:00:00.123456Z",
        "prompt": "tell me " * 10,
    }
    return orjson.dumps(
        {
            "tenant": "default",
            "request_id": f"chatcmpl-{number:08d}",
            "version": number,
            "first_received_at": "2026-11-22T08:00:00.123456Z",
            "last_received_at": "2026-11-22T08:00:01.123456Z",
            "sources": ["requesty"],
            "data": data,
            "request": request,
        }
    )


async def fill(settings: SinkSettings, values: Sequence[bytes]) -> None:
    """Write the states to their topic in large batches."""
    topic = Topology(settings.kafka_topic_generation).state
    async with producer(settings, topic) as client:
        batches = [client.create_batch() for _ in range(PARTITIONS)]
        for number, value in enumerate(values):
            key = event_key("default", f"chatcmpl-{number:08d}")
            place = partition_of(key, PARTITIONS)
            if batches[place].append(key=key, value=value, timestamp=None) is None:
                await client.send_batch(batches[place], topic.name, partition=place)
                batches[place] = client.create_batch()
                batches[place].append(key=key, value=value, timestamp=None)
        for place, batch in enumerate(batches):
            await client.send_batch(batch, topic.name, partition=place)
        await client.flush()


async def by_the_sink(settings: SinkSettings, rows: int) -> tuple[float, float]:
    """Return the seconds from the first batch in the table to the last, and this process's CPU seconds."""
    for table in (FEEDBACK_STATE, "sink_positions"):
        await tables.run(settings, f"TRUNCATE TABLE {table}")
    before = _stored()
    async with running(settings):
        await eventually(lambda: _stored() > before, within=120, every=0.005)
        first, began, cpu = _stored() - before, time.perf_counter(), time.process_time()
        await eventually(lambda: _stored() >= before + rows, within=600, every=0.005)
        share = (rows - BATCH_ROWS) / (rows - first)
        return (time.perf_counter() - began) * share, (time.process_time() - cpu) * share


def _stored() -> float:
    # Straight from the counter: collecting all metrics each time would be most of the work.
    return float(ROWS.labels(STATE_ROUTE)._value.get())


async def by_the_engine(settings: SinkSettings, lines: Sequence[bytes]) -> float:
    """Return the seconds for the same rows in the same batches, without Kafka; the first is not counted."""
    await tables.run(settings, f"TRUNCATE TABLE {FEEDBACK_STATE}")
    writer = ClickHouseWriter(settings, 120)
    await writer.insert(FEEDBACK_STATE, lines[:BATCH_ROWS])
    began = time.perf_counter()
    for first in range(BATCH_ROWS, len(lines), BATCH_ROWS):
        await writer.insert(FEEDBACK_STATE, lines[first : first + BATCH_ROWS])
    seconds = time.perf_counter() - began
    await writer.close()
    return seconds


async def measure(rows: int, rounds: int) -> None:
    """Print both figures of each round, and the median of their ratios."""
    values = [state(number, random.Random(number)) for number in range(rows)]
    lines = [state_line(FakeRecord(value, offset=number), 0) for number, value in enumerate(values)]
    say(f"{rows:,} rows of {sum(map(len, values)) // rows} bytes, batches of {BATCH_ROWS:,}")
    with tempfile.TemporaryDirectory() as home:
        kafka, warehouse = OwnKafka(Path(home) / "kafka"), OwnWarehouse(Path(home) / "warehouse")
        try:
            await asyncio.gather(kafka.start(), warehouse.start())
            settings = await migrated(
                kafka.settings, warehouse.settings, sink_batch_rows=BATCH_ROWS, sink_flush_seconds=1.0
            )
            await fill(settings, values)
            await report(settings, lines, rounds)
        finally:
            await asyncio.gather(kafka.kill(), warehouse.kill())


async def report(settings: SinkSettings, lines: Sequence[bytes], rounds: int) -> None:
    """Measure by turns."""
    ratios = []
    for _ in range(rounds):
        # Both count from the end of the first batch.
        number = len(lines) - BATCH_ROWS
        engine = number / await by_the_engine(settings, lines)
        seconds, cpu = await by_the_sink(settings, len(lines))
        sink = number / seconds
        ratios.append(sink / engine)
        say(
            f"engine {engine:,.0f} rows/s, sink {sink:,.0f} rows/s, ratio {ratios[-1]:.2f},"
            f" {cpu / number * 1e6:.1f} us of the sink's CPU a row"
        )
    say(f"median ratio {median(ratios):.2f}")


def say(line: str) -> None:
    """Print a line of the report."""
    sys.stdout.write(f"{line}\n")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    asyncio.run(measure(wanted.rows, wanted.rounds))


if __name__ == "__main__":
    main()
