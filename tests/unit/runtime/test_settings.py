"""Settings: all mistakes at once, no nonsense, no secrets in sight."""

from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field, SecretStr

from services.operations.config import PARTS, checked_settings
from services.runtime.settings import (
    MASK,
    ClickHouseSettings,
    KafkaSettings,
    Port,
    SettingsError,
    describe,
    load,
    service_links,
)


class Example(KafkaSettings, ClickHouseSettings):
    """Settings of a service that exists only here."""

    prefix: ClassVar[str] = "EXAMPLE_"
    neighbours: ClassVar[tuple[str, ...]] = ("EXAMPLE_OF_ANOTHER",)
    example_batch_rows: int = Field(default=10, gt=0, description="Rows a batch.")


def test_the_environment_wins_over_defaults() -> None:
    """A field's name in upper case is its variable."""
    settings = load(Example, {"EXAMPLE_BATCH_ROWS": "7", "KAFKA_BOOTSTRAP_SERVERS": "a:1, b:2"})

    assert settings.example_batch_rows == 7
    assert settings.kafka_bootstrap_servers == "a:1,b:2"


def test_every_mistake_is_reported_at_once() -> None:
    """Nobody likes to meet them one by one."""
    with pytest.raises(SettingsError) as caught:
        load(
            Example,
            {
                "EXAMPLE_BATCH_ROWS": "-1",
                "KAFKA_BOOTSTRAP_SERVERS": "nowhere",
                "CLICKHOUSE_URL": "localhost",
                "EXAMPLE_BATCH_ROW": "5",
            },
        )

    assert sorted(line.split(":")[0] for line in caught.value.mistakes) == [
        "CLICKHOUSE_URL",
        "EXAMPLE_BATCH_ROW",
        "EXAMPLE_BATCH_ROWS",
        "KAFKA_BOOTSTRAP_SERVERS",
    ]
    assert "did you mean EXAMPLE_BATCH_ROWS?" in str(caught.value)


def test_an_empty_variable_counts_as_unset() -> None:
    """Compose files and shells leave such variables behind."""
    assert load(Example, {"EXAMPLE_BATCH_ROWS": ""}).example_batch_rows == 10


def test_variables_of_a_neighbour_are_no_mistake() -> None:
    """Two parts may share a prefix."""
    assert load(Example, {"EXAMPLE_OF_ANOTHER": "1"}).example_batch_rows == 10


LINKS = {
    "EXAMPLE_BATCH_ROWS_PORT": "tcp://10.0.0.1:8080",
    "EXAMPLE_PORT": "tcp://[fd00::1]:8080",
    "EXAMPLE_PORT_8080_TCP": "tcp://10.0.0.1:8080",
    "EXAMPLE_PORT_8080_TCP_ADDR": "10.0.0.1",
    "EXAMPLE_PORT_8080_TCP_PORT": "8080",
    "EXAMPLE_PORT_8080_TCP_PROTO": "tcp",
    "EXAMPLE_PORT_53_UDP": "udp://10.0.0.1:53",
    "EXAMPLE_SERVICE_HOST": "10.0.0.1",
    "EXAMPLE_SERVICE_PORT": "8080",
    "EXAMPLE_SERVICE_PORT_HTTP_API": "8080",
    "KAFKA_BOOTSTRAP_SERVERS_PORT": "tcp://10.0.0.1:9092",
}
"""What Kubernetes sets for Services, one of them named like this service."""


class Listening(Example):
    """Settings with a port, whose variable is the link of a Service named `example`."""

    example_port: Port = Field(default=8080, description="Port to listen on.")


def test_service_links_are_passed_over() -> None:
    """A Service named like ours does not keep ours from starting, and changes no setting."""
    settings = load(Listening, LINKS)

    assert settings.example_port == 8080
    assert settings.passed_over == ("EXAMPLE_PORT",)
    assert service_links(LINKS) == set(LINKS)
    assert load(Listening, LINKS | {"EXAMPLE_PORT": "8090"}).example_port == 8090


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("EXAMPLE_PORT", "tcp://10.0.0.1"),
        ("EXAMPLE_PORT", "http://10.0.0.1:8080"),
        ("EXAMPLE_PORT", "8O80"),
        ("EXAMPLE_BATCH_ROWS", "tcp://10.0.0.1:8080"),
        ("EXAMPLE_SERVICE_HOST", "elsewhere.example"),
        ("EXAMPLE_SERVICE_PORTS", "8080"),
    ],
)
def test_what_only_looks_like_a_service_link_is_refused(variable: str, value: str) -> None:
    """A mistake in a setting, or in its name, is reported all the same."""
    with pytest.raises(SettingsError) as caught:
        load(Listening, LINKS | {variable: value})

    assert [line.split(":")[0] for line in caught.value.mistakes] == [variable]


def test_every_service_starts_beside_services_of_its_own_names() -> None:
    """The names of the parts are what operators call their Services; each of them may listen on a port."""
    for name in PARTS:
        settings = checked_settings(name, links_of(*PARTS, "kafka", "clickhouse", "merger-metrics"))
        assert settings.mistakes == [], name


def links_of(*services: str) -> dict[str, str]:
    """Return what Kubernetes sets for Services of these names."""
    found = {}
    for service in services:
        name = service.upper().replace("-", "_")
        for link, value in LINKS.items():
            if link.startswith(("EXAMPLE_PORT", "EXAMPLE_SERVICE")):
                found[link.replace("EXAMPLE", name)] = value
    return found


def test_secrets_are_masked() -> None:
    """Where settings are shown, passwords are not."""
    settings = Example(clickhouse_password=SecretStr("hunter2"))
    shown = {row.variable: row for row in describe(settings)}

    assert shown["CLICKHOUSE_PASSWORD"].value == MASK
    assert "hunter2" not in str(describe(settings))
    assert shown["EXAMPLE_BATCH_ROWS"].default == "10"


def test_a_password_may_come_from_a_file(tmp_path: Path) -> None:
    """As containers hand secrets over; the line end that editors add does not count."""
    file = tmp_path / "password"
    file.write_text("hunter2\n")

    assert load(Example, {"CLICKHOUSE_PASSWORD_FILE": str(file)}).password() == "hunter2"
    assert load(Example, {"CLICKHOUSE_PASSWORD": "hunter3"}).password() == "hunter3"


def test_every_setting_is_described() -> None:
    """A setting without a description is unfinished."""
    assert all(row.description for row in describe(Example()))


def test_settings_made_in_a_test_ignore_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only `load` reads it."""
    monkeypatch.setenv("EXAMPLE_BATCH_ROWS", "99")

    assert Example().example_batch_rows == 10
