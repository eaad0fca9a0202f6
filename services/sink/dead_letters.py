"""Sends rows that cannot be stored to their dead-letter topic: pure wording, and a producer."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from schemas.deadletters import DeadLetter, Reason, Stage, headers_of
from schemas.identity import version_of
from schemas.topics import Topic
from services.runtime.kafka.clients import RECORD_OVERHEAD_BYTES, connect, producer
from services.runtime.settings import KafkaSettings
from services.sink.core.batch import Refused
from services.sink.core.rows import version_in_order


class DeadLetters(Protocol):
    """Where refused rows go."""

    async def send(self, topic: Topic, refused: Sequence[Refused], now: datetime) -> None:
        """Return once Kafka has them all; KafkaError when it may not."""


def explained(refused: Refused, generation: int, now: datetime) -> DeadLetter:
    """Return what the headers of a dead letter say; its version is the row's place in its order."""
    record = refused.record
    version = version_of(generation, record.offset)
    with suppress(ValueError):
        version = version_in_order(record.headers, version)
    return DeadLetter(
        stage=Stage.SINK,
        reason=Reason.REFUSED_BY_CLICKHOUSE,
        detail=refused.detail,
        original_topic=record.topic,
        original_partition=record.partition,
        original_offset=record.offset,
        original_version=version,
        failed_at=now.isoformat(),
    )


class KafkaDeadLetters:
    """The real one.  Refusals are rare, so it makes a producer for each batch that has some.

    A producer that failed once is of no use: after one refused record every later one is out of order.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings

    async def send(self, topic: Topic, refused: Sequence[Refused], now: datetime) -> None:
        """Return once Kafka has them all; KafkaError when it may not."""
        sending = producer(
            self._settings,
            "afterword-sink",
            acks="all",
            enable_idempotence=True,
            max_request_size=topic.max_message_bytes + RECORD_OVERHEAD_BYTES,
        )
        try:
            await connect(sending)
            for one in refused:
                value, key = one.record.value, one.record.key
                if value is None and key is None:
                    key = b""  # aiokafka sends no record without either, and nothing must vanish
                headers = headers_of(explained(one, topic.generation, now))
                await sending.send_and_wait(topic.name, value=value, key=key, headers=headers)
        finally:
            await sending.stop()
