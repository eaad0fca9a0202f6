"""How long `afterword verify --all` takes over so many events and requests, and how much memory.

    python -m bench.verify [--events 200000] [--keys 50000]

It starts a Kafka and a warehouse of its own, and fills them as merger and sink would.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.identity import event_key, partition_of
from schemas.tables import FEEDBACK_EVENTS, FEEDBACK_STATE, SINK_POSITIONS
from schemas.topics import EVENTS_ROUTE, STATE_ROUTE, Topology
from services.merger.core.fold import SourcePartition, fold
from services.runtime.clickhouse.insert import ClickHouseWriter
from services.runtime.kafka.clients import client_options
from services.sink.core.rows import event_line, position_line, state_line
from services.sink.settings import SinkSettings
from tests.support.merger.records import ARecord, an_event
from tests.support.merger.state_log import write
from tests.support.operations.dead_letters import environ
from tests.support.sink.doubles import FakeRecord
from tests.support.sink.runs import migrated
from tests.support.stack.local_servers import OwnKafka, OwnWarehouse

_MEASURED = """
import resource, subprocess, sys
code = subprocess.call([sys.executable, "-m", "services.cli", "verify", "--all"], stdout=sys.stderr)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(code, used.ru_utime + used.ru_stime, used.ru_maxrss)
"""
"""Run by a small process: a child's memory counts from the fork on, when it still is its parent's."""

PARTITIONS = 4
_TOPOLOGY = Topology()


def logs(events: int, keys: int) -> list[list[ARecord]]:
    """Return the events of each partition, some 500 bytes each."""
    found: list[list[ARecord]] = [[] for _ in range(PARTITIONS)]
    for number in range(events):
        event = an_event(
            number, request_id=f"r{number % keys:08}", data={"rating": number % 5, "text": "x " * 150}
        )
        key = event_key("default", f"r{number % keys:08}")
        log = found[partition_of(key, PARTITIONS)]
        log.append(ARecord(len(log), key, orjson.dumps(event)))
    return found


async def fill(settings: SinkSettings, given: Sequence[Sequence[ARecord]]) -> None:
    """Write topics, tables and positions."""
    writer = ClickHouseWriter(settings, 600)
    committed = {}
    for number, log in enumerate(given):
        rows = fold(
            log,
            dict.fromkeys({one.key for one in log if one.key}),
            SourcePartition("e", 0, number, PARTITIONS),
        ).rows
        await write(settings, _TOPOLOGY.events, [(one.key, one.value) for one in log])
        await write(
            settings, _TOPOLOGY.state, [(key, row.value) for key, row in rows.items()], transactional=True
        )
        records = [FakeRecord(one.value, one.key, one.offset, number, _TOPOLOGY.events.name) for one in log]
        lines = [line for record in records if (line := event_line(record, 0)) is not None]
        states = [FakeRecord(row.value, key, offset) for offset, (key, row) in enumerate(rows.items())]
        for start in range(0, len(lines), 50_000):
            await writer.insert(FEEDBACK_EVENTS, lines[start : start + 50_000])
        await writer.insert(FEEDBACK_STATE, [state_line(state, 0) for state in states])
        positions = [
            position_line(EVENTS_ROUTE, _TOPOLOGY.events.name, number, len(log), 0),
            position_line(STATE_ROUTE, _TOPOLOGY.state.name, number, len(rows) + 1, 0),
        ]
        await writer.insert(SINK_POSITIONS, positions)
        committed[TopicPartition(_TOPOLOGY.events.name, number)] = len(log)
    await writer.close()
    group = AIOKafkaConsumer(
        **client_options(settings, "bench"), group_id=_TOPOLOGY.merger_group, enable_auto_commit=False
    )
    group.assign([*committed])
    await group.start()
    await group.commit(committed)
    await group.stop()


async def measure(events: int, keys: int) -> int:
    """Fill and verify; the exit code of the command."""
    with tempfile.TemporaryDirectory() as directory:
        kafka, warehouse = OwnKafka(Path(directory) / "kafka"), OwnWarehouse(Path(directory) / "warehouse")
        await kafka.start()
        await warehouse.start()
        try:
            settings = await migrated(kafka.settings, warehouse.settings)
            await fill(settings, logs(events, keys))
            began = time.monotonic()
            command = [sys.executable, "-c", _MEASURED]
            process = await asyncio.create_subprocess_exec(
                *command, env={**os.environ, **environ(settings)}, stdout=subprocess.PIPE
            )
            told, _ = await process.communicate()
            seconds = time.monotonic() - began
        finally:
            await warehouse.kill()
            await kafka.kill()
    code, cpu, most = map(float, told.split()[-3:])
    speeds = f"{events / cpu:,.0f} events/s, {keys / cpu:,.0f} requests/s"
    memory = f"{most / 1024:.0f} MiB at most, load {os.getloadavg()[0]:.0f}"
    sys.stdout.write(f"{seconds:.1f} s, {cpu:.1f} s of processor time ({speeds}), {memory}\n")
    return int(code)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--keys", type=int, default=50_000)
    options = parser.parse_args()
    sys.exit(asyncio.run(measure(options.events, options.keys)))
