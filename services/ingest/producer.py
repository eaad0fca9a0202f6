"""An idempotent Kafka producer with its accumulators, from its start to its end."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from aiokafka.structs import TopicPartition

from schemas.identity import partition_of
from services.ingest.accumulator import MAX_BATCH_BYTES, NOT_WRITTEN, Accumulator, AccumulatorListener
from services.ingest.event_log import EventRange, LogUnavailable, Record
from services.ingest.settings import IngestSettings
from services.runtime.core.quota import ByteQuota
from services.runtime.kafka.clients import connect, producer
from services.runtime.kafka.core.outages import Needs

REQUEST_TIMEOUT_MS = 10_000
CUT_OFF_SECONDS = 1.0
"""How long the sender may take to end after its connections are closed."""

TOPIC_SECONDS = 2.0
"""How long a topic may be missing from the metadata, as it is after a restart of Kafka."""


class EventProducer:
    """A started producer.  It is replaced after a failed batch.

    aiokafka has counted the failed records in its sequence numbers, and the broker has not.  Each later batch
    of that partition would fail as well, until a producer with a new producer id replaces it.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        topic: str,
        accumulator: Callable[[], Accumulator],
    ) -> None:
        self.kafka_producer = producer
        self._topic = topic
        leaders = [self._leader(partition) for partition in self._partitions()]
        # Only a grouping: after a leader election an accumulator may serve two brokers, which is correct.
        by_leader = {leader: accumulator() for leader in leaders}
        self._by_partition = [by_leader[leader] for leader in leaders]
        self._accumulators = list(by_leader.values())

    def _partitions(self) -> list[int]:
        return sorted(self.kafka_producer.client.cluster.partitions_for_topic(self._topic))

    def _leader(self, partition: int) -> int | None:
        leader: int | None = self.kafka_producer.client.cluster.leader_for_partition(
            TopicPartition(self._topic, partition)
        )
        return leader

    def add(self, key: bytes, value: bytes, tenant: bytes, size: int) -> asyncio.Future[int]:
        """Queue an event for its key's partition."""
        partition = self.partition_of(key)
        return self._by_partition[partition].add(partition, key, value, tenant, size)

    def add_all(self, records: Sequence[Record], tenant: bytes) -> list[EventRange]:
        """Queue events, each for its key's partition; raise LogUnavailable if a batch is overdue."""
        if self.stuck:
            raise LogUnavailable(NOT_WRITTEN, unknown=False)
        count = len(self._by_partition)
        indexes: list[list[int]] = [[] for _ in self._by_partition]
        for index, (key, _) in enumerate(records):
            indexes[partition_of(key, count)].append(index)
        return [
            offsets
            for partition, chosen in enumerate(indexes)
            for offsets in self._by_partition[partition].add_all(partition, records, chosen, tenant)
        ]

    def partition_of(self, key: bytes) -> int:
        """Return the partition of a key."""
        return partition_of(key, len(self._by_partition))

    def drop_queue(self, *, refused: bool = False) -> None:
        """Drop the batches that were not handed over; see `Accumulator.drop_queue`."""
        for accumulator in self._accumulators:
            accumulator.drop_queue(refused=refused)

    async def drained(self, within: float) -> None:
        """Wait until no batch is queued or unanswered, at most `within` seconds."""
        draining = [
            accumulator.draining for accumulator in self._accumulators if accumulator.draining is not None
        ]
        if draining:
            await asyncio.wait(draining, timeout=within)

    @property
    def stuck(self) -> bool:
        """Whether a batch has passed its deadline unanswered."""
        return any(accumulator.stuck for accumulator in self._accumulators)

    def oldest(self) -> float | None:
        """Return when the oldest unanswered batch was handed over, in monotonic seconds."""
        times = [time for accumulator in self._accumulators if (time := accumulator.oldest()) is not None]
        return min(times, default=None)

    @property
    def is_whole(self) -> bool:
        """Whether every partition has a leader and all replicas in sync, by the metadata of the client."""
        known = self.kafka_producer.client.cluster._partitions.get(self._topic, {})  # noqa: SLF001 (no public API)
        return all(
            partition.leader >= 0 and len(partition.isr) >= len(partition.replicas)
            for partition in known.values()
        )

    def needs(self) -> Needs:
        """Return the partitions that must accept writes."""
        return Needs(writes=frozenset((self._topic, partition) for partition in self._partitions()))

    async def answers(self, within: float) -> bool:
        """Request the metadata, and return whether Kafka answered within `within` seconds."""
        try:
            async with asyncio.timeout(within):
                return bool(await self.kafka_producer.client.force_metadata_update())
        except TimeoutError:
            return False

    async def retire(self, grace: float) -> None:
        """Wait up to `grace` seconds for batches that were handed over, then end the producer."""
        await end(self.kafka_producer, grace)
        for accumulator in self._accumulators:
            accumulator.abandon()


async def open_producer(
    settings: IngestSettings, topic: str, quota: ByteQuota, listener: AccumulatorListener
) -> EventProducer:
    """Start a producer; raise aiokafka's errors if Kafka is unreachable or the topic does not exist."""
    started = producer(
        settings,
        "ingest",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        enable_idempotence=True,
        acks="all",
        linger_ms=0,
        max_batch_size=MAX_BATCH_BYTES,
    )
    try:
        await connect(started)
        await _find(started, topic)
    except BaseException:
        await end(started, grace=0)
        raise
    deadline = settings.ingest_deadline_seconds
    return EventProducer(started, topic, lambda: Accumulator(started, topic, quota, deadline, listener))


async def _find(producer: AIOKafkaProducer, topic: str) -> None:
    try:
        async with asyncio.timeout(TOPIC_SECONDS):
            await producer.partitions_for(topic)
    except TimeoutError:  # otherwise aiokafka retries for as long as a request may take
        raise UnknownTopicOrPartitionError from None


async def end(producer: Any, grace: float) -> None:
    """Stop a producer within `grace` seconds, or close its connections.

    aiokafka's `stop` waits until all batches are answered.  If it is cancelled, its sender keeps running and
    a second `stop` does nothing, so the connections are closed and the sender is cancelled.
    """
    try:
        async with asyncio.timeout(grace):
            await producer.stop()
    except (TimeoutError, KafkaError):
        await _cut_off(producer)
    except asyncio.CancelledError:
        await _cut_off(producer)
        raise


async def _cut_off(producer: Any) -> None:
    sender = producer._sender.sender_task  # noqa: SLF001 (no public API ends it)
    await producer.client.close()
    if sender is not None:
        sender.cancel()
        await asyncio.wait([sender], timeout=CUT_OFF_SECONDS)
        await producer.client.close()  # the sender may have opened a new connection meanwhile
