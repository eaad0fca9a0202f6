"""How often a batch was sent: only what was sent once is certainly not written when Kafka refuses it."""

from collections.abc import Callable
from typing import Any

from aiokafka.structs import TopicPartition

UNKNOWN = 0


def sends(producer: Any, topic: str, partition: int) -> Callable[[], int]:
    """Return what tells how often the batch was sent that `send_batch` has just taken.

    Call it before anything else is awaited.  aiokafka does not tell, so its own books are read; a contract
    test pins their names.
    """
    accumulator = getattr(producer, "_message_accumulator", None)
    if accumulator is None:
        return lambda: UNKNOWN
    batch = accumulator._batches[TopicPartition(topic, partition)][-1]  # noqa: SLF001
    return lambda: int(batch.retry_count)
