"""Servers of the local stack for tests, in a directory and on a port of their own."""

import asyncio
import os
from pathlib import Path
from urllib.request import urlopen

from services.local import broker
from services.local.jars import fetch, kafka_jars
from services.local.ports import free_port
from services.local.processes import Command, python_module
from services.runtime.settings import ClickHouseSettings, KafkaSettings
from tests.support.stack.restartable import Program


class OwnKafka(Program):
    """A Kafka node: `settings` lead to it; a start after any kind of end continues with its data."""

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self.directory, self.port = directory, port or free_port()
        self.settings = KafkaSettings(kafka_bootstrap_servers=f"127.0.0.1:{self.port}")
        super().__init__(self._command, self._is_ready, directory / "kafka.log")

    def _command(self) -> Command:
        return broker.prepare(self.directory, fetch(kafka_jars(), self.directory / "jars"), self.port)

    async def _is_ready(self) -> bool:
        return await broker.is_ready(self.port)


class OwnWarehouse(Program):
    """A warehouse: `settings` lead to it; a start after any kind of end continues with its data.

    `variables` are added to its environment.
    """

    def __init__(self, directory: Path, port: int | None = None, **variables: str) -> None:
        self.directory, self.data, self.port = directory, directory / "data", port or free_port()
        self.environment = {**os.environ, **variables}
        self.settings = ClickHouseSettings(clickhouse_url=f"http://127.0.0.1:{self.port}")
        super().__init__(self._command, self._is_ready, directory / "warehouse.log")

    def _command(self) -> Command:
        arguments = (str(self.data), "--port", str(self.port))
        return python_module("chdb_server", *arguments, environment=self.environment)

    async def _is_ready(self) -> bool:
        return await asyncio.to_thread(_pings, self.settings.clickhouse_url)


def _pings(url: str) -> bool:
    try:
        with urlopen(f"{url}/ping", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
