"""How fast the merger drains a log: `python -m bench.merger_drain --events 300000 --ids 100000`.

Needs Kafka at KAFKA_BOOTSTRAP_SERVERS.  It makes topics of a new generation, writes events that each carry
1 to 3 of 6 keys, and lets a merger of its own read them.  The rate counts from the first commit to the
last; the CPU is the merger's, all threads, start and recovery of empty partitions included.  With
`--profile` the merger runs in this process, and its main thread is profiled.
"""

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import random
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.filling import fill
from schemas.identity import event_key
from schemas.topics import Topology
from services.merger.service import run
from services.merger.settings import MergerSettings
from services.runtime.kafka.clients import client_options
from services.runtime.settings import load
from tests.support.kafka.topics import create_topics

PARTITIONS = 4
FIELDS = {
    "rating": 5,
    "comment": "Very accurate, thanks a lot for this.",
    "helpful": True,
    "tags": ["customer-support", "positive-feedback"],
    "message": "some text of a moderate length",
    "user_id": "user_1234",
}


def events(count: int, ids: int, seed: int = 1) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values as ingest writes them."""
    dice = random.Random(seed)
    for number in range(count):
        request_id = f"chatcmpl-{dice.randrange(ids):08d}"
        fields = {key: FIELDS[key] for key in dice.sample(list(FIELDS), dice.randint(1, 3))}
        event = {
            "event_id": str(uuid.UUID(int=dice.getrandbits(128), version=4)),
            "tenant": "default",
            "request_id": request_id,
            "received_at": f"2026-11-22T08:00:00.{number % 1_000_000:06d}Z",
            "source": "requesty",
            "op": "merge",
            "data": fields,
        }
        yield event_key("default", request_id), json.dumps(event, separators=(",", ":")).encode()


async def drained(
    settings: MergerSettings, topology: Topology, ended: Callable[[], bool]
) -> tuple[int, float]:
    """Return how many events were merged after the first commit, and in how many seconds."""
    places = [TopicPartition(topology.events.name, number) for number in range(PARTITIONS)]
    consumer = AIOKafkaConsumer(
        **client_options(settings, "bench"), group_id=topology.merger_group, enable_auto_commit=False
    )
    await consumer.start()
    end = sum((await consumer.end_offsets(places)).values())
    first, began, done = 0, 0.0, 0
    while done < end and not ended():
        await asyncio.sleep(0.02)
        done = sum([await consumer.committed(place) or 0 for place in places])
        if done and not first:
            first, began = done, time.perf_counter()
    took = time.perf_counter() - began
    await consumer.stop()
    return end - first, took


async def measure(settings: MergerSettings, topology: Topology, *, profiled: bool) -> None:
    """Run a merger until the log is drained, and print what it took."""
    if profiled:
        working = asyncio.create_task(run(settings))
        count, seconds = await drained(settings, topology, working.done)
        os.kill(os.getpid(), signal.SIGTERM)
        await working
        used = 0.0
    else:
        environment = {
            **os.environ,
            "AFTERWORD_HOME": str(settings.afterword_home),
            "KAFKA_TOPIC_GENERATION": str(topology.generation),
            "MERGER_METRICS_PORT": "0",
            "LOG_LEVEL": "warning",
        }
        child = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.merger", env=environment)
        process = psutil.Process(child.pid)
        count, seconds = await drained(settings, topology, lambda: child.returncode is not None)
        times = process.cpu_times()
        used = times.user + times.system
        child.terminate()
        await child.wait()
    figures = {"events": count, "seconds": seconds, "events_per_s": count / seconds, "cpu_s": used}
    print(json.dumps({name: round(value, 2) for name, value in figures.items()}))  # noqa: T201


def main() -> None:
    """Read the arguments and go."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--ids", type=int, default=100_000)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    topology = Topology(random.randrange(1000, 2**16))
    with tempfile.TemporaryDirectory() as home:
        settings = load(MergerSettings, {**os.environ, "MERGER_METRICS_PORT": "0"}).replace(
            kafka_topic_generation=topology.generation, afterword_home=Path(home)
        )
        asyncio.run(create_topics(settings, topology, partitions=PARTITIONS))
        records = events(arguments.events, arguments.ids)
        asyncio.run(fill(settings, topology.events.name, records, PARTITIONS, linger_ms=5))
        if arguments.profile:
            profile = cProfile.Profile()
            profile.runcall(asyncio.run, measure(settings, topology, profiled=True))
            pstats.Stats(profile).sort_stats("tottime").print_stats(45)
        else:
            asyncio.run(measure(settings, topology, profiled=False))


if __name__ == "__main__":
    main()
