"""aiokafka's own books say how often a batch was sent: what a refusal proves rests on that."""

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator, MessageBatch
from aiokafka.structs import TopicPartition

from services.ingest.accumulator import UNKNOWN, send_count

PLACE = TopicPartition("feedback-events", 0)


def a_batch() -> MessageBatch:
    """Return a batch of one record."""
    builder = BatchBuilder(1_000, 0)
    builder.append(timestamp=None, key=b"k", value=b"v")
    return MessageBatch(PLACE, builder, 60, 0)


async def test_the_number_of_times_a_batch_was_sent_can_be_read() -> None:
    """Each time that the sender takes it counts, also the one that never left the process."""
    producer = AIOKafkaProducer.__new__(AIOKafkaProducer)
    producer._message_accumulator = MessageAccumulator(None, 1_000, 0, 60)
    batch = a_batch()
    producer._message_accumulator._batches[PLACE].append(batch)

    times = send_count(producer, *PLACE)
    assert times() == 0
    batch.drain_ready()
    assert times() == 1
    batch.reset_drain()
    batch.drain_ready()
    assert times() == 2


def test_batches_of_another_producer_are_unknown() -> None:
    """So that what it refuses counts as unknown."""
    assert send_count(object(), *PLACE)() == UNKNOWN
