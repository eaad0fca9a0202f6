"""Settings that no warehouse can run on are refused in words."""

from pathlib import Path

import pytest

from chdb_server.settings import WarehouseSettings
from services.runtime.settings import SettingsError, load


def test_it_listens_where_clients_look_for_it() -> None:
    """CLICKHOUSE_URL is the one place."""
    settings = load(WarehouseSettings, {"CLICKHOUSE_URL": "http://localhost:9999"})

    assert (settings.host, settings.port) == ("localhost", 9999)
    assert (WarehouseSettings().host, WarehouseSettings().port) == ("127.0.0.1", 8123)
    assert (
        load(WarehouseSettings, {"CLICKHOUSE_URL": "http://[::1]:5"}).on_port(6).clickhouse_url
        == "http://[::1]:6"
    )


@pytest.mark.parametrize("url", ["http://192.168.0.1:8123", "https://127.0.0.1:8443", "http://0.0.0.0:8123"])
def test_it_serves_this_machine_only(url: str) -> None:
    """In plain HTTP."""
    with pytest.raises(SettingsError, match="this machine only"):
        load(WarehouseSettings, {"CLICKHOUSE_URL": url})


def test_readers_are_accounts_beside_the_writer() -> None:
    """Passwords may hold colons."""
    environ = {"CLICKHOUSE_USER": "w", "CLICKHOUSE_PASSWORD": "p", "WAREHOUSE_READER_PASSWORDS": "a:b:c, d:"}
    accounts = load(WarehouseSettings, environ).accounts()

    assert {account.name: (account.password, account.may_write) for account in accounts.values()} == {
        "w": ("p", True),
        "a": ("b:c", False),
        "d": ("", False),
    }


@pytest.mark.parametrize("given", ["secret", ":secret", "default:secret", "a:secret,a:secret"])
def test_readers_that_make_no_sense_are_refused_without_their_passwords(given: str) -> None:
    """A reader cannot have the writer's name."""
    with pytest.raises(SettingsError, match="WAREHOUSE_READER_PASSWORDS must be") as refused:
        load(WarehouseSettings, {"WAREHOUSE_READER_PASSWORDS": given})

    assert "secret" not in str(refused.value)


def test_the_writers_password_may_come_from_a_file(tmp_path: Path) -> None:
    """One that cannot be read is named, as every other mistake is."""
    file = tmp_path / "password"
    with pytest.raises(SettingsError, match=f"CLICKHOUSE_PASSWORD_FILE cannot be read: .*{file}"):
        load(WarehouseSettings, {"CLICKHOUSE_PASSWORD_FILE": str(file)})
    file.write_text("hunter2\n")

    settings = load(WarehouseSettings, {"CLICKHOUSE_PASSWORD_FILE": str(file)})

    assert {account.password for account in settings.accounts().values()} == {"hunter2"}


def test_a_misspelt_setting_is_named() -> None:
    """With the one that was meant."""
    with pytest.raises(SettingsError, match=r"WAREHOUSE_MEMORY_BYTE: .*WAREHOUSE_MEMORY_BYTES"):
        load(WarehouseSettings, {"WAREHOUSE_MEMORY_BYTE": "1"})
