"""Reads everything that a run left behind, and has it judged."""

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chaos.judge import stores, warehouse
from chaos.judge.bodies import value_of
from chaos.judge.case import Case
from chaos.judge.survivors import Survival
from chaos.judge.tables import StoredEvent, StoredLetter, StoredRow
from chaos.judge.topics import Topics, opened
from chaos.judge.verdict import Verdict
from schemas.topics import Topology
from services.runtime.clickhouse.client import connect
from services.runtime.settings import ClickHouseSettings, KafkaSettings

POISON, TAKEN = "poison.ndjson", "taken.ndjson"
_PATIENCE_SECONDS = 300.0


async def judge(
    ledger_directory: Path,
    kafka: KafkaSettings,
    clickhouse: ClickHouseSettings,
    merger_homes: Sequence[Path],
) -> Verdict:
    """Return what is amiss after a run; the errors of Kafka's and ClickHouse's clients when they are away."""
    topology = Topology(kafka.kafka_topic_generation)
    async with opened(kafka, committed=False) as plain, opened(kafka, committed=True) as committed:
        case = Case(topology, await plain.partitions_of(topology.events.name))
        await asyncio.to_thread(_read_ledgers, case, ledger_directory)
        await _read_log(case, plain, committed)
        with tempfile.TemporaryDirectory() as directory:
            await _read_states(case, committed, merger_homes, Path(directory))
    await _read_tables(case, clickhouse)
    return case.verdict()


async def judge_survivors(ledger_directory: Path, clickhouse: ClickHouseSettings) -> Verdict:
    """Return what is amiss after a run in which Kafka lost logs; the errors of ClickHouse's client."""
    survival = Survival()
    await asyncio.to_thread(_read_survival, survival, ledger_directory)
    client = await connect(clickhouse, timeout_seconds=_PATIENCE_SECONDS)
    try:
        async for row in warehouse.rows(client, warehouse.ROWS):
            survival.row(StoredRow(*row))
        async for (event_id,) in warehouse.rows(client, warehouse.EVENT_IDS):
            survival.event(event_id)
    finally:
        await client.close()
    return survival.verdict()


def _read_survival(survival: Survival, directory: Path) -> None:
    for path in sorted(directory.glob(TAKEN)):
        for line in lines_of(path):
            survival.taken(line)
    for path in sorted(directory.glob("*.ndjson")):
        if path.name not in (POISON, TAKEN):
            for line in lines_of(path):
                survival.ledger(line)


def lines_of(path: Path) -> Iterator[Any]:
    """Yield the lines of a ledger; the last one may be cut short, by a writer that was killed."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield value_of(line)


def _read_ledgers(case: Case, directory: Path) -> None:
    for path in sorted(directory.glob("*.ndjson")):
        take = case.poison if path.name == POISON else case.ledger
        for line in lines_of(path):
            take(line)


async def _read_log(case: Case, plain: Topics, committed: Topics) -> None:
    for topic in (case.topology.events_dlq.name, case.topology.state_dlq.name):
        async for record in committed.read(topic, 0):
            case.letter(topic, record)
    case.begin_events()
    for partition in range(case.partitions):
        async for record in plain.read(case.topology.events.name, partition):
            case.event(record)
    case.end_events()


async def _read_states(case: Case, committed: Topics, homes: Sequence[Path], to: Path) -> None:
    generation, findings = case.topology.generation, case.findings
    copies = await asyncio.to_thread(stores.copies_of, homes, generation, to, findings)
    case.stores(copies)
    for partition in range(case.partitions):
        topic = case.topology.state.name
        async for record in committed.read(topic, partition):
            case.state(record)
        case.end_states(partition, await committed.end(topic, partition))
    for copy in copies:
        copy.close()


async def _read_tables(case: Case, settings: ClickHouseSettings) -> None:
    client = await connect(settings, timeout_seconds=_PATIENCE_SECONDS)
    case.begin_tables()
    try:
        async for row in warehouse.rows(client, warehouse.ROWS):
            case.rows.see(StoredRow(*row))
        async for row in warehouse.rows(client, warehouse.VIEW):
            case.rows.view(*row)
        async for row in warehouse.rows(client, warehouse.EVENTS):
            case.events.see(StoredEvent(*row))
        async for row in warehouse.rows(client, warehouse.LETTERS):
            case.letters.see(StoredLetter(*row))
    finally:
        await client.close()
    case.end_tables()
