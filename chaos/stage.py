"""What a run strikes: the parts of a stack by name, and what can be done to them.

`LocalStage` is `afterword up` behind a proxy, with a second merger and a second sink: the supervisor of the
stack restarts its own parts, and the second ones are restarted here.
"""

import asyncio
import math
import os
import signal
import subprocess
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from chaos.judge import Verdict, judge
from chaos.proxy import Proxy
from services.local import broker, probes
from services.local.core.kafka_config import LOOPBACK
from services.local.home import Home
from services.local.jars import fetch, kafka_jars
from services.local.ports import free_port
from services.local.processes import Child, Command, Identity, is_running, python_module
from services.local.settings import StatusSettings
from services.runtime.settings import ClickHouseSettings, KafkaSettings
from tests.support.eventually import eventually
from tests.support.stack.restartable import Program
from tests.support.stack.whole_stack import WholeStack

SERVICES = ("ingest", "merger", "merger-2", "sink", "sink-2")
"""In the order in which they stop."""
SECOND = ("merger-2", "sink-2")
MERGER_SESSION_SECONDS = 6

_CLOCK_DIRECTORY = Path(__file__).with_name("clock")
_LOOK_SECONDS, _AGAIN_SECONDS = 0.05, 0.5
RUNS_WITHIN = 400.0
"""A part whose needs are not met, such as a sink without ClickHouse, is not started before they are."""
_STOPS_WITHIN = 30.0


class Kept:
    """A part that is restarted whenever it ends, until it is to rest."""

    def __init__(self, name: str, command: Command, log: Path) -> None:
        self.name, self._command, self._log = name, command, log
        self.child: Child | None = None
        self._rests = False
        self._free = asyncio.Event()
        self._free.set()
        self._task: asyncio.Task[None] | None = None

    @property
    def _has_ended(self) -> bool:
        return self.child is not None and self.child.exit_code() is not None

    def begin(self) -> None:
        """Keep it running from now on.  Call it from the main thread's loop, whose life it shares."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=self.name)

    async def end(self) -> None:
        """Kill it, and leave it so."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.child is not None:
            self.child.kill()
            await asyncio.to_thread(self.child.wait)

    async def _run(self) -> None:
        while not self._rests:
            await self._free.wait()
            self.child = Child(self._command, self._log)
            # Not in a thread: there are few of them by default, and one would be taken for each part.
            await eventually(lambda: self._has_ended, within=math.inf, every=_LOOK_SECONDS)
            await asyncio.sleep(_AGAIN_SECONDS)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Stop it for the block in the orderly way, and start it again."""
        self._free.clear()
        try:
            await self._stop()
            yield
        finally:
            self._free.set()

    async def rest(self) -> None:
        """Stop it in the orderly way."""
        self._rests = True
        await self._stop()

    async def _stop(self) -> None:
        if self.child is None:
            return
        self.child.terminate()
        try:
            await asyncio.to_thread(self.child.wait, _STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            self.child.kill()


class Stage:
    """The parts, by name, and what can be done to them.  `kept` are those that the run itself restarts."""

    kept: Mapping[str, Kept]
    load: Child | None = None
    """The writers, while they run."""
    traffic: tuple[str, ...] = ()
    """What else they are told."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.ledgers = directory, directory / "ledger"
        self.ledgers.mkdir(parents=True)
        self.clocks = directory / "clocks"
        self.clocks.mkdir()
        for name in SERVICES:
            self.shift(name, 0)
        self.flows = asyncio.Event()
        """Cleared while nothing is to be sent, also by the probe."""
        self.flows.set()

    @property
    @abstractmethod
    def settings(self) -> StatusSettings:
        """Where Kafka and ClickHouse are, and the directory of the stack's files."""

    @property
    @abstractmethod
    def environ(self) -> Mapping[str, str]:
        """The variables of the first part of each kind."""

    @abstractmethod
    async def start(self) -> None:
        """Start everything, and return once it is ready."""

    @abstractmethod
    async def stop(self) -> int:
        """Stop everything but the kept parts in the orderly way; 0 when that worked."""

    @abstractmethod
    async def kill(self) -> None:
        """End at once whatever still runs."""

    @abstractmethod
    async def serve(self, ending: AsyncExitStack) -> None:
        """Run Kafka and the warehouse alone, once everything has been stopped."""

    async def judged(self) -> Verdict:
        """Return what is amiss, while Kafka and the warehouse run and nothing else does."""
        homes = [self.merger_home(name) for name in ("merger", "merger-2")]
        return await judge(self.ledgers, self.kafka, self.clickhouse, homes)

    async def verified(self) -> None:
        """Ask what only the running stack can be asked, once everything is at rest."""

    @property
    def home(self) -> Path:
        """The directory of the stack's files."""
        return self.settings.afterword_home

    @property
    def ingest_url(self) -> str:
        """Where feedback goes."""
        return f"http://{LOOPBACK}:{self.environ['INGEST_PORT']}"

    @property
    def kafka(self) -> KafkaSettings:
        """Where Kafka is."""
        return KafkaSettings(kafka_bootstrap_servers=self.settings.kafka_bootstrap_servers)

    @property
    def clickhouse(self) -> ClickHouseSettings:
        """Where ClickHouse is."""
        return ClickHouseSettings(clickhouse_url=self.settings.clickhouse_url)

    def merger_home(self, name: str) -> Path:
        """Return the directory of a merger."""
        return self.home / name

    def process(self, name: str) -> Identity | None:
        """Return which process a part is, if it runs."""
        found = self._process(name)
        return found if found is not None and is_running(found) else None

    def _process(self, name: str) -> Identity | None:
        child = self.kept[name].child
        return child.identity if child else None

    async def running(self, name: str) -> Identity:
        """Wait until a part runs; which process it is."""
        await eventually(lambda: self.process(name), within=RUNS_WITHIN, every=0.05)
        found = self.process(name)
        return found or await self.running(name)

    def port(self, name: str) -> int:
        """Return where a service answers `/readyz`."""
        kind = name.partition("-")[0].upper()
        suffix = "_PORT" if kind in ("INGEST", "QUERY") else "_METRICS_PORT"
        return int(self.environ_of(name)[kind + suffix])

    async def ready(self, name: str) -> None:
        """Wait until a part reports that it is ready."""
        port = self.port(name)
        await eventually(lambda: _is_ready(port), within=RUNS_WITHIN, every=0.1)

    async def signal(self, name: str, number: signal.Signals) -> Identity:
        """Send a part a signal, once it runs; which process it is."""
        process = await self.running(name)
        send(process, number)
        return process

    async def another(self, name: str, process: Identity) -> None:
        """Wait until a part runs in another process."""
        await eventually(lambda: self.process(name) not in (None, process), within=RUNS_WITHIN, every=0.05)

    def shift(self, name: str, seconds: float) -> None:
        """Set how much a part's clock is off."""
        # Never cut short: the file is mapped into the part's memory.
        with os.fdopen(os.open(self.clocks / name, os.O_WRONLY | os.O_CREAT, 0o644), "wb") as file:
            file.write(int(seconds * 1e9).to_bytes(8, "little", signed=True))

    def keep(self, names: Iterable[str], ports: Mapping[str, str]) -> None:
        """Make parts that the run itself restarts; `ports` are those that differ from the environment's."""
        self._ports = ports
        self.kept = {
            name: Kept(
                name,
                python_module(f"services.{name.partition('-')[0]}", environment=self.environ_of(name)),
                self.directory / f"{name}.log",
            )
            for name in names
        }

    def environ_of(self, name: str) -> Mapping[str, str]:
        """Return the variables of a service."""
        if name not in SECOND:
            return self.environ
        variable = f"{name.partition('-')[0].upper()}_METRICS_PORT"
        own = {"CHAOS_PART": name, "MERGER_INSTANCE": "2", variable: self._ports[name], "LOG_FORMAT": "json"}
        return {**self.environ, **own}


class LocalStage(Stage):
    """`afterword up`, a proxy before its Kafka, and a second merger and sink."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        inner, outer = free_port(), free_port()
        variables = {
            "KAFKA_BOOTSTRAP_SERVERS": f"{LOOPBACK}:{outer}",
            "KAFKA_LISTEN_PORT": str(inner),
        }
        self.stack = WholeStack(directory, **variables, **common_variables(self.clocks))
        self.proxy = Proxy(outer, inner)
        self.keep(SECOND, {second: str(free_port()) for second in SECOND})

    @property
    def settings(self) -> StatusSettings:
        """Kafka is behind the proxy."""
        return self.stack.settings

    @property
    def environ(self) -> Mapping[str, str]:
        """The whole stack's variables."""
        return self.stack.environ

    def _process(self, name: str) -> Identity | None:
        if name in self.kept:
            return super()._process(name)
        part = Home(self.home).state().get("parts", {}).get(name, {})
        return Identity(part["pid"], part["created"]) if part.get("pid") else None

    async def start(self) -> None:
        """Start `afterword up`, and return once it reports that it is ready."""
        await self.stack.start(RUNS_WITHIN)

    async def stop(self) -> int:
        """Stop `afterword up` as Ctrl-C does; its exit code."""
        return await self.stack.stop(signal.SIGINT)

    async def kill(self) -> None:
        """Kill the supervisor, and with it all that it runs."""
        await self.stack.kill()

    async def serving(self, name: str) -> None:
        """Wait until Kafka or the warehouse answers."""
        settings = self.stack.settings
        kafka, sql = settings.kafka_own_port, settings.clickhouse_port
        probe = partial(probes.kafka, kafka) if name == "kafka" else partial(probes.warehouse, sql)

        async def answers() -> bool:
            return self.process(name) is not None and bool((await probe()).ready)

        await eventually(answers, within=RUNS_WITHIN, every=0.1)

    @asynccontextmanager
    async def unsupervised(self) -> AsyncIterator[None]:
        """Stop the supervisor by SIGSTOP for the block, so that it restarts nothing."""
        if self.stack.child is None:
            raise RuntimeError("start it first")
        process = self.stack.child.identity
        send(process, signal.SIGSTOP)
        try:
            yield
        finally:
            send(process, signal.SIGCONT)

    async def serve(self, ending: AsyncExitStack) -> None:
        """Run the stack's Kafka behind its proxy, and its warehouse."""
        settings, home = self.stack.settings, self.home
        inner, outer, sql = settings.kafka_own_port, settings.kafka_port, settings.clickhouse_port

        def kafka() -> Command:
            return broker.prepare(home / "kafka", fetch(kafka_jars(), home / "jars"), inner, outer)

        programs = (
            Program(kafka, lambda: broker.is_ready(inner), self.directory / "kafka.log"),
            warehouse_program(self, sql),
        )
        for program in programs:
            ending.push_async_callback(program.kill)
            await program.start()


def send(process: Identity, number: signal.Signals) -> None:
    """Send this very process a signal, if it still runs: its id may be another one's by now."""
    if is_running(process):
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


async def _is_ready(port: int) -> bool:
    status, _ = await asyncio.to_thread(probes.get, port, "/readyz")
    return status == 200


def common_variables(clocks: Path) -> dict[str, str]:
    """Return what the services of every stage get."""
    return {
        "MERGER_SESSION_SECONDS": str(MERGER_SESSION_SECONDS),
        "CHAOS_CLOCKS": str(clocks),
        "PYTHONPATH": str(_CLOCK_DIRECTORY),
    }


def warehouse_program(one: Stage, port: int) -> Program:
    """Return the stage's warehouse as a program of its own."""
    command = warehouse_command(one, port)
    return Program(lambda: command, partial(pings, port), one.directory / "warehouse.log")


def warehouse_command(one: Stage, port: int, variables: Mapping[str, str] | None = None) -> Command:
    """Return what runs the stage's warehouse, with some more variables."""
    arguments = (str(one.home / "warehouse"), "--port", str(port))
    environment = {**one.environ, **(variables or {})}
    return python_module("chdb_server", *arguments, environment=environment)


async def pings(port: int) -> bool:
    """Return whether a warehouse answers."""
    return (await asyncio.to_thread(probes.get, port, "/ping"))[0] == 200


@asynccontextmanager
async def local_stage(directory: Path) -> AsyncIterator[LocalStage]:
    """Start `afterword up` and its company for the block."""
    one = LocalStage(directory)
    async with one.proxy, started(one):
        yield one


@asynccontextmanager
async def started(one: Stage) -> AsyncIterator[None]:
    """Start everything for the block, and end whatever of it still runs."""
    async with AsyncExitStack() as ending:
        ending.push_async_callback(one.kill)
        for kept in one.kept.values():
            ending.push_async_callback(kept.end)
        await one.start()
        for kept in one.kept.values():
            kept.begin()
        for name in SECOND:
            await one.ready(name)
        yield


@asynccontextmanager
async def servers(one: Stage) -> AsyncIterator[None]:
    """Run Kafka and the warehouse alone for the block, once the stage has been stopped."""
    async with AsyncExitStack() as ending:
        await one.serve(ending)
        yield
