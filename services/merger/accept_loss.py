"""`afterword merger accept-loss`: go on although events were deleted before they were merged.

The one thing the merger never does by itself.  Committed offsets that lie below the log's start are moved
there; local copies that lie below the state topic's start are deleted, and read back whole.
"""

import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError
from aiokafka.structs import OffsetAndMetadata

from schemas.topics import Topology
from services.merger.directory import Directory
from services.merger.settings import MergerSettings
from services.merger.store import Store
from services.runtime import survey
from services.runtime.kafka import client_options

_CLIENT = "afterword-merger-accept-loss"


class StillRunning(Exception):  # noqa: N818 (it says what is)
    """A merger is in the group, and its position cannot be moved under it."""


@dataclass(frozen=True)
class Loss:
    """Offsets from `first` to before `start` that are gone; `copy` is the local copy that lacks them."""

    topic: str
    partition: int
    first: int
    start: int
    copy: Path | None = None

    def __str__(self) -> str:
        what = f"{self.start - self.first:,} offsets of {self.topic}/{self.partition}"
        return f"{what}: {self.first} to {self.start - 1}"


async def accept_loss(settings: MergerSettings, agree: Callable[[Sequence[Loss]], bool]) -> Sequence[Loss]:
    """Show what is lost to `agree`, and go on without it if that returns True; what was accepted.

    StillRunning while a merger is in the group, DirectoryUnusable while one works in the directory,
    KafkaError when Kafka does not answer.
    """
    instance, generation = settings.merger_instance, settings.kafka_topic_generation
    with closing(Directory(settings.afterword_home, instance, generation)) as directory:
        losses = await find(settings, directory)
        if not losses or not agree(losses):
            return []
        await _commit(settings, [loss for loss in losses if loss.copy is None])
        for loss in losses:
            if loss.copy is not None:
                shutil.rmtree(loss.copy)
        return losses


async def find(settings: MergerSettings, directory: Directory) -> list[Loss]:
    """Return everything that was deleted before this merger read it."""
    topology = Topology(settings.kafka_topic_generation)
    events, state = topology.events.name, topology.state.name
    async with survey.admin(settings, _CLIENT) as admin:
        counts = await survey.partition_counts(admin, (events, state))
    ranges = await survey.log_ranges(settings, _CLIENT, counts)
    positions = await survey.committed(settings, _CLIENT, topology.merger_group, events, counts[events])
    held: list[tuple[str, int, int, Path | None]] = [
        (events, position.partition, position.offset, None) for position in positions
    ]
    for partition, path in directory.stores().items():
        with closing(Store(path)) as store:
            if store.position is not None:
                held.append((state, partition, store.position, path))
    return [
        Loss(topic, partition, offset, found.start, copy)
        for topic, partition, offset, copy in held
        if (found := ranges.get((topic, partition))) and offset < found.start
    ]


async def _commit(settings: MergerSettings, losses: Sequence[Loss]) -> None:
    if not losses:
        return
    group = Topology(settings.kafka_topic_generation).merger_group
    consumer = AIOKafkaConsumer(**client_options(settings, _CLIENT), group_id=group, enable_auto_commit=False)
    offsets = {
        TopicPartition(loss.topic, loss.partition): OffsetAndMetadata(loss.start, "") for loss in losses
    }
    consumer.assign(list(offsets))
    await consumer.start()
    try:
        await consumer.commit(offsets)
    except CommitFailedError as error:
        raise StillRunning(f"stop every merger first: one is in the group {group}") from error
    finally:
        await consumer.stop()
