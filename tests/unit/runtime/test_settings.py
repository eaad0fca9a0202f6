"""Settings: all mistakes at once, no nonsense, no secrets in sight."""

from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field, SecretStr

from services.runtime.settings import (
    MASK,
    ClickHouseSettings,
    KafkaSettings,
    SettingsError,
    describe,
    load,
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
