"""`afterword merger accept-loss`: continue although events were deleted from the log before they were merged.

Only an operator can decide that.  Committed offsets below the log's start are moved there; local copies
whose position is below the state topic's start are deleted, and read back from its start.
"""

import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from schemas.topics import Topology
from services.merger.directory import Directory
from services.merger.settings import MergerSettings
from services.merger.state_store import StateStore
from services.pipeline import survey
from services.pipeline.generations import resolved
from services.runtime.kafka.lost_records import Agree, Loss, client_name, skip

_SERVICE = "merger"
_CLIENT = client_name(_SERVICE)


@dataclass(frozen=True)
class MergerLoss(Loss):
    """Deleted offsets; `copy` is the local copy of states that lacks them, None if the group does."""

    copy: Path | None = None


async def accept_loss(settings: MergerSettings, agree: Agree) -> Sequence[MergerLoss]:
    """Pass the losses to `agree`, skip them if it returns True, and return the losses accepted.

    StillRunningError while a merger is in the group, DirectoryUnusable while one uses the directory,
    KafkaError when Kafka does not answer.
    """
    settings = await resolved(settings, _CLIENT)
    instance, generation = settings.merger_instance, settings.kafka_topic_generation
    with closing(Directory(settings.afterword_home, instance, generation)) as directory:
        losses = await find(settings, directory)
        if not losses or not agree(losses):
            return []
        group = Topology(generation).merger_group
        await skip(settings, _SERVICE, group, [loss for loss in losses if loss.copy is None])
        for loss in losses:
            if loss.copy is not None:
                shutil.rmtree(loss.copy)
        return losses


async def find(settings: MergerSettings, directory: Directory) -> list[MergerLoss]:
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
        with closing(StateStore(path)) as store:
            if store.position is not None:
                held.append((state, partition, store.position, path))
    return [
        MergerLoss(topic, partition, offset, found.start, copy)
        for topic, partition, offset, copy in held
        if (found := ranges.get((topic, partition))) and offset < found.start
    ]
