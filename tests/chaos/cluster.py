"""The stage of three brokers on loopback, of which each may die, with every service a process of its own."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from services.local.child import python_module
from services.local.kafka_config import PARTITIONS
from services.local.ports import free_port
from services.local.settings import StatusSettings
from services.runtime.settings import load
from tests.chaos.stage import SECOND, SERVICES, Stage, common_variables, started, warehouse_program
from tests.support.cluster import Cluster
from tests.support.programs import Program
from tests.support.whole import environment

_MIGRATES_WITHIN = 120.0


class ClusterStage(Stage):
    """Three brokers with three copies of every topic, ClickHouse's engine, and the services."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.cluster = Cluster(directory / "cluster")
        sql = free_port()
        self._environ = {
            **environment(directory, directory / "home"),
            "KAFKA_BOOTSTRAP_SERVERS": self.cluster.settings.kafka_bootstrap_servers,
            "CLICKHOUSE_URL": f"http://127.0.0.1:{sql}",
            "LOG_FORMAT": "json",
            **common_variables(self.clocks),
        }
        self._settings = load(StatusSettings, self._environ)
        self.warehouse = self._warehouse(sql)
        self.keep(SERVICES, {second: str(free_port()) for second in SECOND})

    def _warehouse(self, port: int) -> Program:
        return warehouse_program(self, port)

    @property
    def settings(self) -> StatusSettings:
        """Every broker is named in them."""
        return self._settings

    @property
    def environ(self) -> Mapping[str, str]:
        """The variables of every service."""
        return self._environ

    async def migrate(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `afterword migrate`."""
        command = python_module(
            "services.cli",
            *("migrate", "--partitions", str(PARTITIONS), *arguments),
            environment=self._environ,
        )
        return await asyncio.to_thread(
            subprocess.run,
            command.argv,
            env=dict(command.environment),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=_MIGRATES_WITHIN,
        )

    async def start(self) -> None:
        """Start brokers and warehouse, and make topics and tables."""
        await self.cluster.start()
        await self.warehouse.start()
        done = await self.migrate()
        if done.returncode != 0:
            raise RuntimeError(f"migrate ended with {done.returncode}: {done.stdout}{done.stderr}")

    async def stop(self) -> int:
        """Stop the services, then the warehouse, and leave the brokers to the judge; 0 when that worked."""
        for name in SERVICES:
            await self.kept[name].rest()
        return await self.warehouse.stop() or 0

    async def kill(self) -> None:
        """Kill warehouse and brokers; the kept parts are ended by their keeper."""
        await self.warehouse.kill()
        for node in self.cluster.nodes:
            await node.kill()

    async def serve(self, ending: AsyncExitStack) -> None:
        """Run the warehouse; the brokers never stopped."""
        ending.push_async_callback(self.warehouse.kill)
        await self.warehouse.start()


@asynccontextmanager
async def cluster_stage(directory: Path) -> AsyncIterator[ClusterStage]:
    """Start three brokers and everything else for the block."""
    one = ClusterStage(directory)
    async with started(one):
        yield one
