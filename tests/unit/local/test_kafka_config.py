"""How the local Kafka is set up."""

from pathlib import Path

from schemas.topics import DAY_MS, Topology
from services.local.core.kafka_config import PARTITIONS, java_command, log4j2_properties, server_properties


def settings() -> dict[str, str]:
    """Return Kafka's settings as it reads them."""
    text = server_properties(port=9092, controller_port=9093, data=Path("/home/of/kafka"))
    return dict(line.split("=", 1) for line in text.splitlines())


def test_everything_is_on_loopback() -> None:
    """Nothing of the local stack is reachable from another machine."""
    addresses = [
        *settings()["listeners"].split(","),
        settings()["advertised.listeners"],
        settings()["controller.quorum.voters"].replace("1@", "CONTROLLER://"),
    ]

    assert all("://127.0.0.1:" in address for address in addresses)


def test_kafka_advertises_the_port_that_it_is_given() -> None:
    """Where a proxy stands before it, they must not go round that."""
    text = server_properties(port=19092, controller_port=9093, data=Path("/home/of/kafka"), advertised=9092)

    assert "listeners=PLAINTEXT://127.0.0.1:19092,CONTROLLER" in text
    assert "advertised.listeners=PLAINTEXT://127.0.0.1:9092\n" in text


def test_no_topic_comes_into_being_by_itself() -> None:
    """A name with a typing error must be an error."""
    assert settings()["auto.create.topics.enable"] == "false"


def test_offsets_outlive_the_records_they_point_into() -> None:
    """A group that was away for as long as a topic keeps its records still finds its place."""
    minutes = int(settings()["offsets.retention.minutes"])
    retention = (topic.config().get("retention.ms", "0") for topic in Topology().topics)

    assert minutes * 60_000 >= max(map(int, retention)) > DAY_MS


def test_one_node_holds_every_copy() -> None:
    """A replication factor above the number of nodes would keep internal topics from being made."""
    copies = (".replication.factor", ".min.isr")

    assert [value for name, value in settings().items() if name.endswith(copies)] == ["1"] * 5


def test_few_logs_have_to_be_recovered_after_a_kill() -> None:
    """Internal topics have 50 partitions by default, and each would cost time at the next start."""
    names = ("offsets.topic.num.partitions", "transaction.state.log.num.partitions")

    assert [settings()[name] for name in names] == [str(PARTITIONS)] * 2


def test_the_command_runs_a_class_from_the_jars_and_needs_no_other_java() -> None:
    """Every path is one that was given."""
    command = java_command(
        Path("/runtime/java"),
        [Path("/jars/a.jar"), Path("/jars/b.jar")],
        "kafka.Kafka",
        "server.properties",
        logging=Path("/l.properties"),
        scratch=Path("/scratch"),
    )

    assert command[0] == "/runtime/java"
    assert command[-4:] == ("-cp", "/jars/a.jar:/jars/b.jar", "kafka.Kafka", "server.properties")
    assert "-Djava.io.tmpdir=/scratch" in command
    assert "rootLogger.level=WARN" in log4j2_properties()
