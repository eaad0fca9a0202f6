"""Every client of Kafka has the repairs: made in one module, which reaches for names that aiokafka has."""

import ast
import inspect
from pathlib import Path

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import CloseReason

import services
from services.runtime.kafka.clients import repair

CLASSES = {"AIOKafkaClient", "AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaAdminClient", "WholeConsumer"}
MAKERS = {"runtime/kafka/clients.py", "local/broker.py"}
"""The factories; and a probe of one broker, which must not look for others."""


def test_clients_are_made_by_the_factories_alone() -> None:
    """A client that is made elsewhere spins without a leader, and loses a cluster that moves."""
    root = Path(services.__path__[0])
    made = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CLASSES
    }

    assert made == MAKERS


async def test_the_names_that_the_repairs_reach_for_are_there() -> None:
    """`_metadata_update` is called through the instance, with what it updates, and by nobody else."""
    client = AIOKafkaClient(bootstrap_servers="127.0.0.1:1", client_id="tests")
    assert [*inspect.signature(client._metadata_update).parameters] == ["cluster_metadata", "topics"]
    assert "await self._metadata_update(self.cluster, topics)" in inspect.getsource(client._md_synchronizer)
    assert (client._bootstrap_servers, client._client_id, client._conns) == ("127.0.0.1:1", "tests", {})
    assert client.cluster.broker_metadata(1) is None
    for kind in (AIOKafkaConsumer, AIOKafkaAdminClient):
        assert "self._client = AIOKafkaClient(" in inspect.getsource(kind.__init__)


async def test_connections_that_break_are_counted_by_the_callback_that_aiokafka_gives_them() -> None:
    """A connection that was idle, or is closed with its client, tells nothing of the broker."""
    assert "on_close=self._on_connection_closed" in inspect.getsource(AIOKafkaClient._get_conn)
    client = AIOKafkaClient(bootstrap_servers="127.0.0.1:1", client_id="tests")
    repair(client)

    for reason in (CloseReason.IDLE_DROP, CloseReason.SHUTDOWN, CloseReason.OUT_OF_SYNC):
        client._on_connection_closed(None, reason)

    assert client.losses == 1
    assert "fetch_committed_offsets" in inspect.getsource(AIOKafkaConsumer.committed)
