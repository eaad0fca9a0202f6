"""What aiokafka does that the merger has to work around, on a real Kafka."""

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import MessageSizeTooLargeError

from services.runtime.kafka.clients import client_options
from tests.integration.merger.test_partition import committed_is
from tests.support.eventually import eventually
from tests.support.merger.partitions import Scene, configure


async def test_aiokafka_commits_a_transaction_although_a_send_failed(scene: Scene) -> None:
    """So the merger waits for each send before it commits; the day this fails, that may go."""
    await scene.publish([])
    await configure(scene.kafka, scene.topology.state, max_message_bytes="100")
    producer = AIOKafkaProducer(
        **client_options(scene.kafka, "tests"), transactional_id=f"fails-{scene.home}"
    )
    await producer.start()
    place = TopicPartition(scene.topology.events.name, 0)
    await producer.begin_transaction()
    sent = await producer.send(scene.topology.state.name, b"x" * 500, b"k", partition=0)
    await producer.send_offsets_to_transaction({place: 50}, scene.topology.merger_group)
    await producer.commit_transaction()
    with pytest.raises(MessageSizeTooLargeError):
        await sent
    await producer.stop()

    await eventually(lambda: committed_is(scene, 50))
    assert await scene.rows() == {}
