"""Creates, opens, closes and fences a generation of the topics, and asks Kafka whether it really is.

A generation is closed by the size of its largest event: Kafka itself then refuses events of every client,
also of a process that was stopped for hours and knows nothing.  A broker learns of that a moment after it is
decided, so each leader is asked with a batch whose checksum is wrong: Kafka looks at the size first, and
takes it in no case.
"""

import asyncio
from collections.abc import Mapping

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError, TopicAlreadyExistsError, for_code
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import TopicPartition

from schemas.topics import Topic, Topology
from services.operations.migrate.servers import describe_topics, replica_count
from services.operations.migrate.settings import ReplicationSettings
from services.pipeline.core.generation_states import LIMIT, NEVER_OPENED
from services.runtime.kafka.clients import connect, plain_client, producer
from services.runtime.settings import KafkaSettings

SURE_WITHIN_SECONDS = 20.0
_AGAIN_SECONDS = 0.05
_SET_FOR_THE_TOPIC = 1
_CHECKSUM_AT = 17


async def create(
    client: AIOKafkaAdminClient, settings: ReplicationSettings, old: Topology, new: Topology, partitions: int
) -> None:
    """Create the topics of a generation that takes no events yet, with what operators set for the old ones.

    KafkaError when one cannot be made; topics that exist stay as they are.
    """
    replicas = await replica_count(client, settings.kafka_replication_factor)
    existing = await describe_topics(client, [topic.name for topic in old.topics])
    inherited = {name: dict(topic.overrides) for name, topic in existing.items()}
    wanted = [
        NewTopic(
            topic.name,
            topic.partitions(partitions),
            replicas,
            topic_configs=topic.config(replicas) | inherited.get(before.name, {}) | _limit(topic, new),
        )
        for before, topic in zip(old.topics, new.topics, strict=True)
    ]
    for name, code, *message in (await client.create_topics(wanted)).topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            raise for_code(code)(f"{name}: {message[0] if message else ''}")


def _limit(topic: Topic, topology: Topology) -> dict[str, str]:
    return {LIMIT: str(NEVER_OPENED)} if topic == topology.events else {}


async def set_limit(client: AIOKafkaAdminClient, topic: str, limit: int) -> None:
    """Set the size of a topic's largest record; all else stays as it is."""
    asked = ConfigResource(ConfigResourceType.TOPIC, topic)
    known = {
        entry[0]: entry[1]
        for response in await client.describe_configs([asked])
        for *_, entries in response.resources
        for entry in entries
        if entry[3] == _SET_FOR_THE_TOPIC
    }
    if known.get(LIMIT) == str(limit):
        return
    # The whole set: what is not sent would fall back to the broker's default.
    changed = ConfigResource(ConfigResourceType.TOPIC, topic, known | {LIMIT: str(limit)})
    for response in await client.alter_configs([changed]):
        for code, message, *_ in response.resources:
            if code:
                raise for_code(code)(f"{topic}: {message}")


async def wait_until(settings: KafkaSettings, topic: str, *, refuses: bool) -> None:
    """Return once every leader refuses events of this topic for their size, or none does any more.

    KafkaTimeoutError when that takes too long.
    """
    client = plain_client(settings, "afterword-resize-probe")
    try:
        await client.bootstrap()
        await client.set_topics([topic])
        async with asyncio.timeout(SURE_WITHIN_SECONDS):
            while True:
                if {refuses} == {*(await _answers(client, topic)).values()}:
                    return
                await asyncio.sleep(_AGAIN_SECONDS)
    except TimeoutError as error:
        raise KafkaTimeoutError(f"not every broker has the new settings of {topic}") from error
    finally:
        await client.close()


async def _answers(client: AIOKafkaClient, topic: str) -> Mapping[int, bool | None]:
    """Return for each partition whether its leader refuses events for their size; None without an answer."""
    found: dict[int, bool | None] = {}
    leaders: dict[int | None, list[int]] = {}
    for partition in client.cluster.partitions_for_topic(topic) or ():
        leader = client.cluster.leader_for_partition(TopicPartition(topic, partition))
        leaders.setdefault(leader, []).append(partition)
    for leader, partitions in leaders.items():
        found |= dict.fromkeys(partitions)
        if leader in (None, -1):
            await client.force_metadata_update()
            continue
        batches = [(partition, _spoilt_batch()) for partition in partitions]
        request = ProduceRequest(None, -1, int(SURE_WITHIN_SECONDS * 1000), [(topic, batches)])
        answer = await client.send(leader, request)
        for _, answered in answer.topics:
            found |= {one[0]: one[1] == MessageSizeTooLargeError.errno for one in answered}
    return found or {-1: None}


def _spoilt_batch() -> bytes:
    builder = DefaultRecordBatchBuilder(
        2, 0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=1_000
    )
    builder.append(0, 0, key=b"", value=b"", headers=[])
    batch = bytearray(builder.build())
    batch[_CHECKSUM_AT] ^= 0xFF
    return bytes(batch)


_AT_ONCE = 8


async def fence(settings: KafkaSettings, topology: Topology, partitions: int) -> None:
    """Return once no transaction of an earlier merger is open, and none of them can commit another.

    A merger that starts afterwards takes its ids back; it finds nothing to merge.
    """
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(partition: int) -> None:
        async with slots:
            await _taken_over(settings, topology.transactional_id(topology.merger_group, partition))

    await asyncio.gather(*(one(partition) for partition in range(partitions)))


async def _taken_over(settings: KafkaSettings, transactional_id: str) -> None:
    taking = producer(settings, "afterword-resize-fence", transactional_id=transactional_id)
    try:
        await connect(taking)
    finally:
        await taking.stop()
