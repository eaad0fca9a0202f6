"""One producer, from its start to its end, and the lanes through which events reach it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from aiokafka.structs import TopicPartition

from schemas.identity import partition_of
from services.ingest.accumulator import MAX_BATCH_BYTES, NOT_WRITTEN, Lane, Owner
from services.ingest.core.quota import Shares
from services.ingest.event_log import LogUnavailable, Record, Stretch
from services.ingest.settings import IngestSettings
from services.runtime.kafka.clients import connect, producer
from services.runtime.kafka.core.outages import Needs

REQUEST_TIMEOUT_MS = 10_000
CUT_OFF_SECONDS = 1.0
"""How long a sender may take to end once its connections are gone."""

TOPIC_SECONDS = 2.0
"""How long a topic that Kafka does not name may take to appear, as it does after a restart."""


class Connection:
    """A producer that works.  It is never trusted again after a failed batch.

    aiokafka has counted the failed records in its sequence numbers and the broker has not, so each later
    batch of that partition would fail too, for ever: only a new producer id heals that.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        topic: str,
        lane: Callable[[], Lane],
    ) -> None:
        self.producer = producer
        self._topic = topic
        leaders = [self._leader(partition) for partition in self._partitions()]
        # A grouping only: when leaders move, a lane serves two brokers and nothing breaks.
        lanes = {leader: lane() for leader in leaders}
        self._lanes = [lanes[leader] for leader in leaders]
        self._distinct = list(lanes.values())

    def _partitions(self) -> list[int]:
        return sorted(self.producer.client.cluster.partitions_for_topic(self._topic))

    def _leader(self, partition: int) -> int | None:
        leader: int | None = self.producer.client.cluster.leader_for_partition(
            TopicPartition(self._topic, partition)
        )
        return leader

    def add(self, key: bytes, value: bytes, tenant: bytes, size: int) -> asyncio.Future[int]:
        """Queue an event for its key's partition."""
        partition = self.partition_of(key)
        return self._lanes[partition].add(partition, key, value, tenant, size)

    def add_all(self, records: Sequence[Record], tenant: bytes) -> list[Stretch]:
        """Queue events, each for its key's partition; raise LogUnavailable if a lane is stuck."""
        if self.stuck:
            raise LogUnavailable(NOT_WRITTEN, unknown=False)
        count = len(self._lanes)
        places: list[list[int]] = [[] for _ in self._lanes]
        for place, (key, _) in enumerate(records):
            places[partition_of(key, count)].append(place)
        return [
            stretch
            for partition, here in enumerate(places)
            for stretch in self._lanes[partition].add_all(partition, records, here, tenant)
        ]

    def partition_of(self, key: bytes) -> int:
        """Return the partition of a key."""
        return partition_of(key, len(self._lanes))

    def drop_queue(self, *, refused: bool = False) -> None:
        """Give up what was not handed over to the producer; `refused`: as Kafka takes no events."""
        for lane in self._distinct:
            lane.drop_queue(refused=refused)

    async def drained(self, within: float) -> None:
        """Wait until nothing is queued or unanswered, at most so many seconds."""
        draining = [lane.draining for lane in self._distinct if lane.draining is not None]
        if draining:
            await asyncio.wait(draining, timeout=within)

    @property
    def stuck(self) -> bool:
        """A batch has passed its deadline unanswered."""
        return any(lane.stuck for lane in self._distinct)

    def oldest(self) -> float | None:
        """Return when the oldest unanswered batch was handed over, in monotonic seconds."""
        times = [time for lane in self._distinct if (time := lane.oldest()) is not None]
        return min(times, default=None)

    @property
    def is_whole(self) -> bool:
        """Every partition has a leader and all of its replicas in sync, as far as is known."""
        known = self.producer.client.cluster._partitions.get(self._topic, {})  # noqa: SLF001 (no other way)
        return all(one.leader >= 0 and len(one.isr) >= len(one.replicas) for one in known.values())

    def needs(self) -> Needs:
        """Return what Kafka has to do for events to be written."""
        return Needs(writes=frozenset((self._topic, partition) for partition in self._partitions()))

    async def answers(self, within: float) -> bool:
        """Ask Kafka for its metadata, and tell whether it answered in so many seconds."""
        try:
            async with asyncio.timeout(within):
                return bool(await self.producer.client.force_metadata_update())
        except TimeoutError:
            return False

    async def retire(self, grace: float) -> None:
        """Let what was handed over be answered for so many seconds, then end for good."""
        await end(self.producer, grace)
        for lane in self._distinct:
            lane.abandon()


async def open_connection(settings: IngestSettings, topic: str, shares: Shares, owner: Owner) -> Connection:
    """Start a producer; raise aiokafka's errors while Kafka is away or the topic does not exist."""
    sending = producer(
        settings,
        "ingest",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        enable_idempotence=True,
        acks="all",
        linger_ms=0,
        max_batch_size=MAX_BATCH_BYTES,
    )
    try:
        await connect(sending)
        await _find(sending, topic)
    except BaseException:
        await end(sending, grace=0)
        raise
    deadline = settings.ingest_deadline_seconds
    return Connection(sending, topic, lambda: Lane(sending, topic, shares, deadline, owner))


async def _find(producer: AIOKafkaProducer, topic: str) -> None:
    try:
        async with asyncio.timeout(TOPIC_SECONDS):
            await producer.partitions_for(topic)
    except TimeoutError:  # otherwise aiokafka asks again for as long as a request may take
        raise UnknownTopicOrPartitionError from None


async def end(producer: Any, grace: float) -> None:
    """Stop a producer within so many seconds, or cut it off.

    aiokafka's `stop` waits until everything is answered.  Given up, it leaves its sender at work, and a
    second `stop` does nothing: so the connections are closed, and the sender with them.
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
    sender = producer._sender.sender_task  # noqa: SLF001 (there is no other way to end it)
    await producer.client.close()
    if sender is not None:
        sender.cancel()
        await asyncio.wait([sender], timeout=CUT_OFF_SECONDS)
        await producer.client.close()  # what was handed over may have been sent again, over a new connection
