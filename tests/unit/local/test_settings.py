"""What `afterword up` refuses to start on."""

import pytest

from services.local.settings import LocalSettings
from services.runtime.settings import SettingsError, load


def mistakes(**environ: str) -> str:
    """Return what is wrong with an environment."""
    with pytest.raises(SettingsError) as caught:
        load(LocalSettings, environ)
    return str(caught.value)


def test_ports_come_from_the_variables_of_the_services() -> None:
    """Whoever sets INGEST_PORT for ingest has set it for the stack."""
    settings = load(
        LocalSettings,
        {
            "KAFKA_BOOTSTRAP_SERVERS": "localhost:19092",
            "CLICKHOUSE_URL": "http://127.0.0.1:18123",
            "INGEST_PORT": "1",
        },
    )

    assert list(settings.ports.values()) == [19092, 18123, 1, 8081, 8082, 8083]


def test_defaults_are_those_of_the_services() -> None:
    """A stack that nobody configured is found by services that nobody configured."""
    assert list(load(LocalSettings, {}).ports.values()) == [9092, 8123, 8080, 8081, 8082, 8083]


def test_kafka_may_listen_behind_a_proxy_that_its_clients_know() -> None:
    """The proxy's port is the one that Kafka tells everybody, and its own is checked like the others."""
    settings = load(LocalSettings, {"KAFKA_LISTEN_PORT": "19092"})

    assert (settings.kafka_own_port, settings.kafka_port) == (19092, 9092)
    assert settings.ports["KAFKA_LISTEN_PORT"] == 19092
    assert load(LocalSettings, {}).kafka_own_port == 9092


def test_a_server_elsewhere_is_refused() -> None:
    """`up` runs its own servers; taking the address silently would leave the user's server unused."""
    text = mistakes(KAFKA_BOOTSTRAP_SERVERS="kafka.example:9092", CLICKHOUSE_URL="https://127.0.0.1:8443")

    assert "KAFKA_BOOTSTRAP_SERVERS names a server on another machine" in text
    assert "CLICKHOUSE_URL names" in text


def test_two_parts_on_one_port_are_refused() -> None:
    """With the names of both variables."""
    assert "QUERY_PORT and SINK_METRICS_PORT are the same port, 8083" in mistakes(QUERY_PORT="8083")


def test_a_port_that_changes_at_each_start_is_refused() -> None:
    """Nobody would find the stack."""
    assert "INGEST_PORT" in mistakes(INGEST_PORT="0")


def test_further_instances_have_ports_that_follow() -> None:
    """So metrics of each are found without asking."""
    settings = load(LocalSettings, {"AFTERWORD_MERGERS": "3", "MERGER_METRICS_PORT": "8182"})

    assert [settings.port("merger", number) for number in (1, 2, 3)] == [8182, 8192, 8202]
    assert settings.ports["MERGER_METRICS_PORT (of merger-3)"] == 8202


def test_as_many_instances_as_there_may_be_have_ports_to_themselves() -> None:
    """With the ports that nobody has chosen."""
    variables = ("INGESTS", "MERGERS", "SINKS", "QUERIES")
    settings = load(LocalSettings, {f"AFTERWORD_{variable}": "4" for variable in variables})

    assert len(settings.ports) == 18


def test_a_port_of_a_further_instance_that_another_part_has_is_refused() -> None:
    """As is one that there is not."""
    shared = mistakes(AFTERWORD_INGESTS="2", QUERY_PORT="8090")

    assert "INGEST_PORT (of ingest-2) and QUERY_PORT are the same port, 8090" in shared
    assert "the last one is 65535" in mistakes(AFTERWORD_INGESTS="2", INGEST_PORT="65530")
