"""The file of three brokers, laid over the first one as docker-compose does it."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from services.operations.migrate.settings import MigrateSettings
from services.runtime.settings import load

ROOT = Path(__file__).parents[3]
BROKERS = ("kafka", "kafka-2", "kafka-3")
TWICE = ("ingest", "merger", "sink", "query")


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    """What docker-compose makes of both files."""
    program = Path(sys.executable).parent / "docker-compose"
    files = ("-f", "docker-compose.yml", "-f", "docker-compose.cluster.yml", "--profile", "admin")
    shown = subprocess.run(
        [program, *files, "config", "--format", "json"],
        cwd=ROOT,
        env={"HOME": str(ROOT), "PATH": os.defpath},
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(shown.stdout)
    return answer


def test_it_is_a_project_of_its_own(cluster: dict[str, Any]) -> None:
    """A single broker's volume must not become one of three: the other two would outvote what it knows."""
    assert cluster["name"] != "afterword"
    assert all(volume["name"].startswith(f"{cluster['name']}_") for volume in cluster["volumes"].values())


def test_three_brokers_know_each_other(cluster: dict[str, Any]) -> None:
    """Each has a number, an address and a disk of its own, and the others' addresses."""
    services = cluster["services"]
    settings = [services[name]["environment"] for name in BROKERS]

    assert [setting["KAFKA_NODE_ID"] for setting in settings] == ["1", "2", "3"]
    assert [setting["KAFKA_ADVERTISED_LISTENERS"] for setting in settings] == [
        f"PLAINTEXT://{name}:9092" for name in BROKERS
    ]
    voters = ",".join(f"{number}@{name}:9093" for number, name in enumerate(BROKERS, 1))
    assert {setting["KAFKA_CONTROLLER_QUORUM_VOTERS"] for setting in settings} == {voters}
    disks = [mount["source"] for name in BROKERS for mount in _mounts(services[name], "/var/lib/kafka/data")]
    assert disks == list(BROKERS)


def test_any_broker_may_die(cluster: dict[str, Any]) -> None:
    """Three copies of everything, two of which must have a write."""
    for name in BROKERS:
        settings = cluster["services"][name]["environment"]
        copies = {value for key, value in settings.items() if key.endswith("REPLICATION_FACTOR")}
        least = {value for key, value in settings.items() if key.endswith(("MIN_ISR", "MIN_INSYNC_REPLICAS"))}
        assert (copies, least) == ({"3"}, {"2"})
    for name in ("init", "admin"):
        settings = load(MigrateSettings, cluster["services"][name]["environment"])
        assert settings.kafka_replication_factor == len(BROKERS)


def test_every_client_knows_all_brokers(cluster: dict[str, Any]) -> None:
    """One that knew the first alone could not start while that is away."""
    addresses = {
        name: service["environment"]["KAFKA_BOOTSTRAP_SERVERS"]
        for name, service in cluster["services"].items()
        if service["image"].startswith("afterword") and name != "secrets"
    }

    assert {*addresses.values()} == {",".join(f"{name}:9092" for name in BROKERS)}
    assert addresses.keys() == {"init", "admin", *TWICE, *(f"{name}-2" for name in TWICE)}


def test_twins_share_no_port_and_no_disk(cluster: dict[str, Any]) -> None:
    """Of each service two, which differ in what only one can have."""
    services = cluster["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]

    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    assert Counter(port["published"] for port in ports) == Counter(["8080", "8090", "8081", "8091"])
    for name in TWICE:
        first, second = services[name], services[f"{name}-2"]
        differing = {key for key in first | second if first.get(key) != second.get(key)}
        assert differing <= {"ports", "volumes"}
    copies = [_mounts(services[name], "/var/lib/afterword") for name in ("merger", "merger-2")]
    assert [mount["source"] for mounts in copies for mount in mounts] == ["merger", "merger-2"]


def test_topics_are_made_once_all_brokers_are_there(cluster: dict[str, Any]) -> None:
    """With fewer they would have fewer copies."""
    assert {*BROKERS, "clickhouse"} == cluster["services"]["init"]["depends_on"].keys()


def _mounts(service: dict[str, Any], target: str) -> list[dict[str, Any]]:
    return [mount for mount in service["volumes"] if mount["target"] == target]
