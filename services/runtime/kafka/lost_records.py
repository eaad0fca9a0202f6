"""Moves a group's positions past records that were deleted before they were read, once an operator agrees."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError
from aiokafka.structs import OffsetAndMetadata

from services.runtime.kafka.clients import connect, consumer
from services.runtime.settings import KafkaSettings


class StillRunningError(Exception):
    """A consumer is in the group, and its position cannot be moved under it."""


@dataclass(frozen=True)
class Loss:
    """Offsets from `first` to before `start` that are gone."""

    topic: str
    partition: int
    first: int
    start: int

    def __str__(self) -> str:
        what = f"{self.start - self.first:,} offsets of {self.topic}/{self.partition}"
        return f"{what}: {self.first} to {self.start - 1}"


Agree = Callable[[Sequence[Loss]], bool]
"""Shows the operator what is lost, and returns whether to continue without it."""


def client_name(service: str) -> str:
    """Return the client id."""
    return f"afterword-{service}-accept-loss"


async def skip(settings: KafkaSettings, service: str, group: str, losses: Sequence[Loss]) -> None:
    """Move a group's positions past what is lost; StillRunningError, KafkaError or OSError when it cannot."""
    if not losses:
        return
    offsets = {
        TopicPartition(loss.topic, loss.partition): OffsetAndMetadata(loss.start, "") for loss in losses
    }
    committing = consumer(settings, client_name(service), group_id=group)
    committing.assign(list(offsets))
    try:
        await connect(committing)
        await committing.commit(offsets)
    except CommitFailedError as error:
        raise StillRunningError(f"stop every {service} first: one is in the group {group}") from error
    finally:
        await committing.stop()
