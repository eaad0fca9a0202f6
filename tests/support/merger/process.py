"""A merger in a process of its own, as supervisors run it."""

import asyncio
import os
from pathlib import Path

from services.local import probes
from services.local.ports import free_port
from services.local.processes import Command, python_module
from services.runtime.settings import KafkaSettings
from tests.support.merger.partitions import NOWHERE
from tests.support.stack.restartable import Program


class MergerProcess(Program):
    """A merger on a port of its own: ready once it has its partitions; a start after any end continues."""

    def __init__(self, kafka: KafkaSettings, home: Path, instance: int = 1, **variables: str) -> None:
        self.port = free_port()
        self._environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": kafka.kafka_bootstrap_servers,
            "KAFKA_TOPIC_GENERATION": str(kafka.kafka_topic_generation),
            "CLICKHOUSE_URL": NOWHERE,
            "AFTERWORD_HOME": str(home),
            "MERGER_INSTANCE": str(instance),
            "MERGER_METRICS_PORT": str(self.port),
            "MERGER_SESSION_SECONDS": "6",
            "LOG_FORMAT": "json",
            **variables,
        }
        super().__init__(self._command, self._is_ready, home / f"merger-{instance}.log")

    def _command(self) -> Command:
        return python_module("services.merger", environment=self._environment)

    async def _is_ready(self) -> bool:
        status, _ = await self.get("/readyz")
        return status == 200

    async def get(self, path: str) -> tuple[int | None, str]:
        """Return status and body of a probe, or None and nothing when nobody answers in time."""
        status, body = await asyncio.to_thread(probes.get, self.port, path)
        return status, body.decode()

    def signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.child is not None and self.child.exit_code() is None:
            os.kill(self.child.pid, number)

    def said(self) -> str:
        """Return everything that it logged, over all starts."""
        return self.log.read_text() if self.log.exists() else ""
