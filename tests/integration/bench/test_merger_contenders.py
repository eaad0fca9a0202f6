"""The benchmark's merger merges, restores and is verified; and a wrong result is found out."""

from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from bench.events import published
from bench.merger.contenders import Afterword
from bench.merger.task import Task, WrongResult
from bench.merger.truth import records
from bench.stages import PARTITIONS
from schemas.identity import partition_of
from services.runtime.kafka.clients import client_options
from services.runtime.settings import KafkaSettings
from tests.support.merger.state_log import ends

EVENTS = 2_000


async def test_the_merger_is_measured_and_verified(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    """As a process of its own, like every contender."""
    task = Task(kafka_settings, tmp_path, EVENTS)
    await task.fill()
    contender = Afterword(task)
    marks = await contender.merge()
    await contender.verify()
    restored = await contender.restore()

    assert marks[-1].done == EVENTS
    assert marks == sorted(marks)
    assert restored.rate > 0
    assert restored.cost > 0

    rows = [record async for record in records(task.kafka, contender.output)]
    markers = sum(await ends(task.kafka, task.topology.state, PARTITIONS)) - len(rows)
    assert markers == PARTITIONS, "all events of a partition are one batch, one transaction and one produce"

    key, _ = next(published(EVENTS))
    stale = b'{"data":{"rating":1},"merge":{"data":{"newest":0}}}'
    await _append(task, key, stale)
    with pytest.raises(WrongResult, match="1 of"):
        await contender.verify()


async def _append(task: Task, key: bytes, value: bytes) -> None:
    place = {"partition": partition_of(key, PARTITIONS)}
    async with AIOKafkaProducer(**client_options(task.kafka, "tests")) as producer:
        await producer.send_and_wait(task.topology.state.name, value, key, **place)
