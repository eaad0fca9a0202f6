"""The stage of three brokers on loopback, of which each may die, with every service a process of its own."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from chaos.stage import (
    SECOND,
    SERVICES,
    Kept,
    Stage,
    common_variables,
    pings,
    started,
    warehouse_command,
    warehouse_program,
)
from services.local.core.kafka_config import PARTITIONS
from services.local.ports import free_port
from services.local.processes import python_module
from services.local.settings import StatusSettings
from services.pipeline.survey import admin
from services.runtime.settings import load
from tests.support.eventually import eventually
from tests.support.kafka.brokers import Cluster
from tests.support.stack.whole_stack import environment

COMPILER = shutil.which("cc")
"""What it takes to move the clocks of brokers and of ClickHouse's engine; None where there is none."""
_MIGRATES_WITHIN = 120.0


class ClusterStage(Stage):
    """Three brokers with three copies of every topic, ClickHouse's engine, and the services."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        library = _compiled(directory) if COMPILER else None
        self.cluster = Cluster(
            directory / "cluster",
            environments={number: self._clock(f"broker-{number}", library) for number in (1, 2, 3)},
        )
        sql = free_port()
        self._environ = {
            **environment(directory, directory / "home"),
            "KAFKA_BOOTSTRAP_SERVERS": self.cluster.settings.kafka_bootstrap_servers,
            "CLICKHOUSE_URL": f"http://127.0.0.1:{sql}",
            "KAFKA_REPLICATION_FACTOR": "3",
            "LOG_FORMAT": "json",
            **common_variables(self.clocks),
        }
        self._settings = load(StatusSettings, self._environ)
        self._sql = sql
        self.keep(SERVICES, {second: str(free_port()) for second in SECOND})
        command = warehouse_command(self, sql, self._clock("clickhouse", library))
        self._warehouse = Kept("warehouse", command, directory / "warehouse.log")
        self.kept = {"warehouse": self._warehouse, **self.kept}

    def _clock(self, name: str, library: Path | None) -> Mapping[str, str]:
        """Return the variables that let the clock of a part be moved which is no Python."""
        self.shift(name, 0)
        return {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(self.clocks / name)} if library else {}

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
        self._warehouse.begin()
        await eventually(lambda: pings(self._sql), within=60)
        await self._refused()
        done = await self.migrate()
        if done.returncode != 0:
            raise RuntimeError(f"migrate ended with {done.returncode}: {done.stdout}{done.stderr}")

    async def _refused(self) -> None:
        """Have `migrate` refuse to make topics while a broker is away: they would keep too few copies."""
        *here, away = self.cluster.nodes
        await away.kill()
        await self.cluster.knows(*(node.number for node in here))
        done = await self.migrate()
        await self.cluster.start()
        async with admin(self.kafka, "chaos") as client:
            made = [name for name in await client.list_topics() if name.startswith("feedback-")]
        if done.returncode == 0 or made:
            raise RuntimeError(f"migrate made {made} with a broker away: {done.stdout}{done.stderr}")

    async def stop(self) -> int:
        """Stop the services, then the warehouse, and leave the brokers to the judge."""
        for name in SERVICES:
            await self.kept[name].rest()
        await self._warehouse.rest()
        return 0

    async def kill(self) -> None:
        """Kill the brokers; what is kept has been ended."""
        for node in self.cluster.nodes:
            await node.kill()

    async def serve(self, ending: AsyncExitStack) -> None:
        """Run the warehouse; the brokers never stopped."""
        warehouse = warehouse_program(self, self._sql)
        ending.push_async_callback(warehouse.kill)
        await warehouse.start()


def _compiled(directory: Path) -> Path:
    """Return the library that moves the clock of a process."""
    source, library = Path(__file__).with_name("clock") / "clock.c", directory / "clock.so"
    command = (str(COMPILER), "-shared", "-fPIC", "-O2", "-o", str(library), str(source))
    subprocess.run(command, check=True, timeout=60)
    return library


@asynccontextmanager
async def cluster_stage(directory: Path) -> AsyncIterator[ClusterStage]:
    """Start three brokers and everything else for the block."""
    one = ClusterStage(directory)
    async with started(one):
        yield one
