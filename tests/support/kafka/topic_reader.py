"""Reading a topic to its end, as any consumer would."""

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from services.runtime.kafka.clients import client_options
from services.runtime.settings import KafkaSettings

FETCH_BYTES = 16 << 20


async def read_topic(settings: KafkaSettings, topic: str) -> list[list[ConsumerRecord]]:
    """Return the records of every partition, from the beginning to the end as it is now."""
    consumer = AIOKafkaConsumer(
        **client_options(settings, "tests"),
        max_partition_fetch_bytes=FETCH_BYTES,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        await consumer._client._wait_on_metadata(topic)
        partitions = sorted(consumer.partitions_for_topic(topic) or ())
        assigned = [TopicPartition(topic, number) for number in partitions]
        consumer.assign(assigned)
        ends = await consumer.end_offsets(assigned)
        found: dict[TopicPartition, list[ConsumerRecord]] = {one: [] for one in assigned}
        while any([await consumer.position(one) < ends[one] for one in assigned]):
            for one, records in (await consumer.getmany(timeout_ms=200)).items():
                found[one] += records
    finally:
        await consumer.stop()
    return [found[one] for one in assigned]
