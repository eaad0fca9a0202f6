"""Everything that a run strikes: `afterword up` behind a proxy, and a second merger and a second sink.

The supervisor of the stack starts its own parts again; the second ones are started again here.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from services.local import broker, probes
from services.local.child import Child, Command, python_module
from services.local.home import Home
from services.local.jars import fetch, kafka_jars
from services.local.kafka_config import LOOPBACK
from services.local.ports import free_port
from services.local.processes import Identity, is_running
from services.runtime.settings import ClickHouseSettings, KafkaSettings
from tests.chaos.proxy import Proxy
from tests.support.eventually import eventually
from tests.support.programs import Program
from tests.support.whole import WholeStack

CLOCKS = ("ingest", "merger", "merger-2", "sink", "sink-2")
SECOND = ("merger-2", "sink-2")
MERGER_SESSION_SECONDS = 6

_CLOCK_DIRECTORY = Path(__file__).with_name("clock")
_AGAIN_SECONDS = 0.5
_RUNS_WITHIN = 400.0
"""A part whose needs are not met, such as a sink without ClickHouse, is not started before they are."""
_STOPS_WITHIN = 30.0


class Second:
    """A part beside the stack's own: started again whenever it ends, until it is to rest."""

    def __init__(self, name: str, command: Command, log: Path) -> None:
        self.name, self._command, self._log = name, command, log
        self.child: Child | None = None
        self._rests = False

    async def run(self) -> None:
        """Keep it running.  Call it from the main thread's loop, whose life it shares."""
        while not self._rests:
            self.child = Child(self._command, self._log)
            await asyncio.to_thread(self.child.wait)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def rest(self) -> None:
        """Stop it in the orderly way."""
        self._rests = True
        if self.child is None:
            return
        self.child.terminate()
        try:
            await asyncio.to_thread(self.child.wait, _STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            self.child.kill()


class Stage:
    """The parts, by name, and what can be done to them."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.ledgers = directory, directory / "ledger"
        self.ledgers.mkdir(parents=True)
        self.clocks = directory / "clocks"
        self.clocks.mkdir()
        for name in CLOCKS:
            (self.clocks / name).write_bytes(bytes(8))
        inner, outer = free_port(), free_port()
        self.stack = WholeStack(directory, **_variables(self.clocks, inner, outer))
        self.proxy = Proxy(outer, inner)
        self.home = self.stack.home
        self._ports = {second: str(free_port()) for second in SECOND}
        self.seconds = {name: self._second(name) for name in SECOND}

    @property
    def kafka(self) -> KafkaSettings:
        """Where Kafka is, through the proxy."""
        return KafkaSettings(kafka_bootstrap_servers=self.stack.settings.kafka_bootstrap_servers)

    @property
    def clickhouse(self) -> ClickHouseSettings:
        """Where ClickHouse is."""
        return ClickHouseSettings(clickhouse_url=self.stack.settings.clickhouse_url)

    def merger_home(self, name: str) -> Path:
        """Return the directory of a merger."""
        return self.home / name

    def process(self, name: str) -> Identity | None:
        """Return which process a part is, if it runs."""
        if name in self.seconds:
            child = self.seconds[name].child
            found = child.identity if child else None
        else:
            part = Home(self.home).state().get("parts", {}).get(name, {})
            found = Identity(part["pid"], part["created"]) if part.get("pid") else None
        return found if found is not None and is_running(found) else None

    async def running(self, name: str) -> Identity:
        """Wait until a part runs; which process it is."""
        await eventually(lambda: self.process(name), within=_RUNS_WITHIN, every=0.05)
        found = self.process(name)
        return found or await self.running(name)

    async def ready(self, name: str) -> None:
        """Wait until a part says that it is ready."""
        port = int(self._environ(name)[f"{name.partition('-')[0].upper()}_METRICS_PORT"])
        await eventually(lambda: _is_ready(port), within=_RUNS_WITHIN, every=0.1)

    async def signal(self, name: str, number: signal.Signals) -> Identity:
        """Send a part a signal, once it runs; which process it is."""
        process = await self.running(name)
        send(process, number)
        return process

    async def another(self, name: str, process: Identity) -> None:
        """Wait until a part runs in another process."""
        await eventually(lambda: self.process(name) not in (None, process), within=_RUNS_WITHIN, every=0.05)

    async def restart(self) -> None:
        """Start `afterword up` again, and return once it says that it is ready."""
        await self.stack.start(_RUNS_WITHIN)

    def shift(self, name: str, seconds: float) -> None:
        """Set how much a part's clock is off."""
        with (self.clocks / name).open("r+b") as file:
            file.write(int(seconds * 1e9).to_bytes(8, "little", signed=True))

    def _second(self, name: str) -> Second:
        module = f"services.{name.partition('-')[0]}"
        command = python_module(module, environment=self._environ(name))
        return Second(name, command, self.directory / f"{name}.log")

    def _environ(self, name: str) -> Mapping[str, str]:
        if name not in SECOND:
            return self.stack.environ
        variable = f"{name.partition('-')[0].upper()}_METRICS_PORT"
        own = {"CHAOS_PART": name, "MERGER_INSTANCE": "2", variable: self._ports[name], "LOG_FORMAT": "json"}
        return {**self.stack.environ, **own}


def send(process: Identity, number: signal.Signals) -> None:
    """Send this very process a signal, if it still runs: its id may be another one's by now."""
    if is_running(process):
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


async def _is_ready(port: int) -> bool:
    status, _ = await asyncio.to_thread(probes.get, port, "/readyz")
    return status == 200


def _variables(clocks: Path, inner: int, outer: int) -> dict[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": f"{LOOPBACK}:{outer}",
        "KAFKA_LISTEN_PORT": str(inner),
        "MERGER_SESSION_SECONDS": str(MERGER_SESSION_SECONDS),
        "CHAOS_CLOCKS": str(clocks),
        "PYTHONPATH": str(_CLOCK_DIRECTORY),
    }


@asynccontextmanager
async def stage(directory: Path) -> AsyncIterator[Stage]:
    """Start everything for the block, and end whatever of it still runs."""
    async with AsyncExitStack() as ending:
        one = Stage(directory)
        await ending.enter_async_context(one.proxy)
        ending.push_async_callback(one.stack.kill)
        await one.restart()
        for second in one.seconds.values():
            task = asyncio.create_task(second.run(), name=second.name)
            ending.push_async_callback(_ended, second, task)
        for name in SECOND:
            await one.ready(name)
        yield one


async def _ended(second: Second, task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    if second.child is not None:
        second.child.kill()
        await asyncio.to_thread(second.child.wait)


@asynccontextmanager
async def servers(one: Stage) -> AsyncIterator[None]:
    """Run the stack's Kafka and its warehouse alone, once it has been stopped."""
    settings, home = one.stack.settings, one.home
    inner, outer, sql = settings.kafka_own_port, settings.kafka_port, settings.clickhouse_port

    def kafka() -> Command:
        return broker.prepare(home / "kafka", fetch(kafka_jars(), home / "jars"), inner, outer)

    def warehouse() -> Command:
        arguments = (str(home / "warehouse"), "--port", str(sql))
        return python_module("services.local.warehouse", *arguments, environment=one.stack.environ)

    async def pings() -> bool:
        return (await asyncio.to_thread(probes.get, sql, "/ping"))[0] == 200

    async with AsyncExitStack() as ending:
        programs = (
            Program(kafka, lambda: broker.is_ready(inner), one.directory / "kafka.log"),
            Program(warehouse, pings, one.directory / "warehouse.log"),
        )
        for program in programs:
            ending.push_async_callback(program.kill)
            await program.start()
        yield
