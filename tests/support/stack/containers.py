"""The same two servers from their official images, where a Docker engine answers.

`python -m tests.support.stack.containers` tells whether one does, by its exit code.
"""

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from pydantic import SecretStr

from services.local.ports import free_port
from services.runtime.settings import ClickHouseSettings, KafkaSettings

_COMPOSE = yaml.safe_load((Path(__file__).parents[3] / "docker-compose.yml").read_text())
KAFKA_IMAGE: str = _COMPOSE["x-kafka-image"]
CLICKHOUSE_IMAGE: str = _COMPOSE["x-clickhouse-image"]
PASSWORD = "for-tests-only"  # noqa: S105 (of a container that lives as long as the tests)
_PING_SECONDS = 2


def engine_answers() -> bool:
    """Return whether a Docker engine answers a ping: a client on PATH may have none behind it."""
    with warnings.catch_warnings():
        # The Docker library forgets to close the socket that it could not connect.
        warnings.simplefilter("ignore", ResourceWarning)
        answers = _ping()
        gc.collect()
    return answers


def _ping() -> bool:
    from docker import from_env  # noqa: PLC0415 (it is slow to import, and few runs need it)
    from docker.errors import DockerException  # noqa: PLC0415

    try:
        client = from_env(timeout=_PING_SECONDS)
    except DockerException:
        return False
    try:
        return bool(client.ping())
    except (DockerException, OSError):
        return False
    finally:
        client.close()


@contextmanager
def kafka() -> Iterator[KafkaSettings]:
    """Run Apache Kafka's official image; what it advertises must be the address that clients used."""
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415
    from testcontainers.core.wait_strategies import ExecWaitStrategy  # noqa: PLC0415

    port = free_port()
    environment = {
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_NODE_ID": "1",
        "KAFKA_LISTENERS": f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://127.0.0.1:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@127.0.0.1:9093",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    }
    container = DockerContainer(KAFKA_IMAGE, env=environment).with_bind_ports(port, port)
    # Asked inside, as the compose file's check does: an engine's proxy accepts before Kafka listens.
    with container.waiting_for(ExecWaitStrategy(["nc", "-z", "localhost", str(port)])):
        yield KafkaSettings(kafka_bootstrap_servers=f"127.0.0.1:{port}")


@contextmanager
def clickhouse() -> Iterator[ClickHouseSettings]:
    """Run ClickHouse's official image, whose default user is remote only with a password."""
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415
    from testcontainers.core.wait_strategies import HttpWaitStrategy  # noqa: PLC0415

    environment = {"CLICKHOUSE_USER": "default", "CLICKHOUSE_PASSWORD": PASSWORD}
    container = DockerContainer(CLICKHOUSE_IMAGE, env=environment).with_exposed_ports(8123)
    with container.waiting_for(HttpWaitStrategy(8123, "/ping")) as running:
        url = f"http://127.0.0.1:{running.get_exposed_port(8123)}"
        yield ClickHouseSettings(clickhouse_url=url, clickhouse_password=SecretStr(PASSWORD))


if __name__ == "__main__":
    raise SystemExit(not engine_answers())
