"""Where client commands go: to the stack that runs, else where the settings say, and they name it first."""

import os
from pathlib import Path

import psutil
import pytest

from services.local.home import Home
from services.operations.destination import adopted, shown, target
from services.runtime.http.keys import Scope
from tests.support.operations.command import afterword
from tests.support.query.app import reading_key

RUNNING = {
    "AFTERWORD_URL": "http://127.0.0.1:18300",
    "AFTERWORD_QUERY_URL": "http://127.0.0.1:18301",
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:19300",
    "CLICKHOUSE_URL": "http://127.0.0.1:18302",
}
PARTS = {
    "ingest": RUNNING["AFTERWORD_URL"],
    "ingest-2": "http://127.0.0.1:18310",
    "query": RUNNING["AFTERWORD_QUERY_URL"],
    "kafka": RUNNING["KAFKA_BOOTSTRAP_SERVERS"],
    "warehouse": RUNNING["CLICKHOUSE_URL"],
    "migrate": "",
}


def stack(directory: Path, pid: int) -> Path:
    """Write what a supervisor of this process id records of its parts; return its directory."""
    home = Home(directory / "home")
    home.make()
    created = psutil.Process().create_time()
    parts = {name: {"address": address} for name, address in PARTS.items()}
    home.write_state({"pid": pid, "created": created, "parts": parts})
    return home.path


def test_commands_find_the_stack_that_runs(tmp_path: Path) -> None:
    """Whatever the ports are that are exported here; what names an address outright stays."""
    home = str(stack(tmp_path, os.getpid()))

    assert adopted({"AFTERWORD_HOME": home, "INGEST_PORT": "9999"}) == RUNNING
    own = {"AFTERWORD_HOME": home, "CLICKHOUSE_URL": "https://db", "AFTERWORD_URL": ""}
    assert adopted(own) == {name: value for name, value in RUNNING.items() if name != "CLICKHOUSE_URL"}


@pytest.mark.parametrize("home", ["none", "ended"])
def test_without_a_stack_the_settings_name_the_address(home: str, tmp_path: Path) -> None:
    """One that ended, or was never there; a service link of Kubernetes is no port."""
    directory = str(stack(tmp_path, 2**22 + 1)) if home == "ended" else str(tmp_path / "nothing")

    assert adopted({"AFTERWORD_HOME": directory}) == {}
    ports = {"INGEST_PORT": "18300", "QUERY_PORT": "tcp://10.0.0.1:8081"}
    assert adopted({"AFTERWORD_HOME": directory, **ports}) == {"AFTERWORD_URL": "http://127.0.0.1:18300"}


def test_the_target_has_its_tenant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found in the key file of this machine, and no secret is shown."""
    monkeypatch.setenv("AFTERWORD_HOME", str(tmp_path))
    key = reading_key(tmp_path, Scope.WRITE, tenant="acme")
    here = "http://127.0.0.1:8080"

    assert target(here, None) == f"{here}, tenant default, without a key"
    assert target(here, key).startswith(f"{here}, tenant acme, key ")
    assert target(f"{here}/k/{key}", None).startswith(f"{here}/k/***, tenant acme, key ")
    assert target("https://example.org", key) == "https://example.org, the tenant of the key"
    assert key not in target(here, key) + target(f"{here}/k/{key}", None)


@pytest.mark.parametrize(
    ("call", "first"),
    [
        ("export - --patience 0", "Reading from http://127.0.0.1:1, tenant default"),
        ("send events.ndjson --patience 0", "Sending to http://127.0.0.1:1, tenant default"),
        (
            "verify --tenant acme",
            "Kafka at 127.0.0.1:1, ClickHouse at http://127.0.0.1:1, database afterword, tenant",
        ),
        ("dlq list", "Kafka at 127.0.0.1:1, ClickHouse at http://127.0.0.1:1, database afterword"),
    ],
)
def test_a_command_names_its_target_first(call: str, first: str, tmp_path: Path) -> None:
    """On standard error, since standard output is data."""
    (tmp_path / "events.ndjson").write_text('{"request_id": "r", "data": {}}\n')
    arguments = [str(tmp_path / one) if one.endswith(".ndjson") else one for one in call.split()]
    environ = {
        "AFTERWORD_HOME": str(tmp_path / "home"),
        "AFTERWORD_SEND_STATE_DIR": str(tmp_path / "sent"),
        "INGEST_PORT": "1",
        "QUERY_PORT": "1",
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "CLICKHOUSE_URL": "http://127.0.0.1:1",
    }
    ended = afterword(*arguments, environ=environ)

    assert ended.code == 75
    assert ended.out == ""
    assert ended.err.startswith(first)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://user:secret@example.org/feedback-api/", "https://example.org/feedback-api"),
        ("https://example.org/k/aw_secret", "https://example.org/k/***"),
        (
            "https://example.org/feedback-api/k/aw_secret/gptboost",
            "https://example.org/feedback-api/k/***/gptboost",
        ),
    ],
)
def test_an_address_is_shown_with_its_path_and_without_secrets(url: str, text: str) -> None:
    """A path prefix says which installation it is; a user, a password and a key are left out."""
    assert shown(url) == text
