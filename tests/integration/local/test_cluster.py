"""Three brokers as processes on loopback: what tests of lost brokers stand on."""

from aiokafka import AIOKafkaProducer

from schemas.topics import Topology
from services.runtime.kafka.clients import client_options
from tests.support.kafka.brokers import Cluster
from tests.support.kafka.topics import create_topics


async def test_one_of_three_brokers_may_die_and_come_back(own_cluster: Cluster) -> None:
    """Records are taken meanwhile, and the cluster knows who is there."""
    await create_topics(own_cluster.settings, Topology(), replicas=3)
    first, *others = own_cluster.nodes
    await first.kill()
    await own_cluster.knows(*(node.number for node in others))
    producer = AIOKafkaProducer(**client_options(own_cluster.settings, "test"), acks="all")
    await producer.start()
    try:
        for number in range(4):
            await producer.send_and_wait("feedback-events", b"taken", partition=number)
    finally:
        await producer.stop()
    await own_cluster.start()
    await own_cluster.knows(1, 2, 3)
