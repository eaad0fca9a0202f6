"""A producer without Kafka: aiokafka's own record batches, acknowledged in the next step of the loop."""

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

from aiokafka.producer.message_accumulator import BatchBuilder

from services.ingest.accumulator import MAX_BATCH_BYTES, Accumulator
from services.ingest.producer import EventProducer
from services.ingest.publisher import Publisher
from services.ingest.settings import IngestSettings
from services.runtime.core.quota import ByteQuota


class FakeProducer:
    """One broker with some partitions, and the batches that it was sent."""

    def __init__(self, partitions: int = 4) -> None:
        self.records: list[int] = []
        """How many were in each batch."""
        self.rounds = 0
        """Produce requests: what is sent before any of it is acknowledged shares one."""
        self._ends: Counter[int] = Counter()
        self._unanswered: list[tuple[asyncio.Future[Any], int]] = []
        cluster = SimpleNamespace(
            partitions_for_topic=lambda _topic: set(range(partitions)),
            leader_for_partition=lambda _partition: 1,
        )
        self.client = SimpleNamespace(cluster=cluster)

    def create_batch(self) -> BatchBuilder:
        """Return a batch as aiokafka makes it."""
        return BatchBuilder(MAX_BATCH_BYTES, 0)

    async def send_batch(self, builder: BatchBuilder, _topic: str, *, partition: int) -> asyncio.Future[Any]:
        """Take a batch."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        if not self._unanswered:
            loop.call_soon(self._answer)
        self._unanswered.append((answer, self._ends[partition]))
        self._ends[partition] += builder.record_count()
        self.records.append(builder.record_count())
        return answer

    def _answer(self) -> None:
        self.rounds += 1
        unanswered, self._unanswered = self._unanswered, []
        for answer, offset in unanswered:
            answer.set_result(TopicOffset(offset))


class TopicOffset(SimpleNamespace):
    """What Kafka answers."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset=offset)


def publisher_over(producer: Any, settings: IngestSettings) -> Publisher:
    """Return a publisher that is connected to a producer; it watches nothing."""
    publisher = Publisher(settings)
    quota = ByteQuota(settings.ingest_max_inflight_bytes)
    vars(publisher).update(_quota=quota, _problem=None)
    deadline = settings.ingest_deadline_seconds
    accumulator = lambda: Accumulator(producer, "feedback-events", quota, deadline, publisher)  # noqa: E731
    vars(publisher)["_producer"] = EventProducer(producer, "feedback-events", accumulator)
    return publisher
