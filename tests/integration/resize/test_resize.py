"""More partitions while writers continue: nothing is lost, whatever is killed or stopped on the way."""

import asyncio
import math
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from schemas.identity import split_version
from schemas.tables import FEEDBACK, FEEDBACK_EVENTS
from schemas.topics import Topology
from services.local.ports import free_port
from services.local.processes import python_module
from services.runtime.settings import ClickHouseSettings
from tests.support.clickhouse import tables
from tests.support.eventually import eventually
from tests.support.merger.state_log import ends
from tests.support.operations.forked_command import start
from tests.support.sink.runs import migrated
from tests.support.stack.local_servers import OwnKafka
from tests.support.stack.restartable import Program

KEYS = 20
STEPS = (
    "Making the topics",
    "Recording them",
    "Pausing",
    "Fencing the old merger",
    "Copying states (paused)",
    "Comparing states (paused)",
    "Handing the positions over",
    "Opening the new generation",
)
GONE_BACK_AT = "Fencing the old merger"


class Service(Program):
    """A service in a process of its own, which finds the generation by itself."""

    def __init__(self, name: str, environ: dict[str, str], directory: Path) -> None:
        self.port = free_port()
        variable = {"ingest": "INGEST_PORT", "query": "QUERY_PORT"}.get(name, f"{name.upper()}_METRICS_PORT")
        environment = {**os.environ, **environ, variable: str(self.port)}
        super().__init__(
            lambda: python_module(f"services.{name}", environment=environment),
            self.is_ready,
            directory / f"{name}-{self.port}.log",
        )
        self.url = f"http://127.0.0.1:{self.port}"

    async def is_ready(self) -> bool:
        """Return whether it says that it works."""
        async with httpx.AsyncClient(timeout=5) as client:
            try:
                return (await client.get(f"{self.url}/readyz")).status_code == 200
            except httpx.TransportError:
                return False

    async def keep_running(self) -> None:
        """Start it again whenever it has ended, as its supervisor does: a fenced merger ends itself."""
        while True:
            await eventually(self._has_ended, within=math.inf)
            await self.start()

    def _has_ended(self) -> bool:
        return self.child is not None and self.child.exit_code() is not None

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.child is not None
        os.kill(self.child.pid, number)


class Writer:
    """Sends events for as long as it is let, and remembers what was answered."""

    def __init__(self, url: str) -> None:
        self.acknowledged: dict[str, list[tuple[int, int]]] = {f"k{number}": [] for number in range(KEYS)}
        """By request: versions, and what was said."""
        self.unknown: dict[str, list[int]] = {key: [] for key in self.acknowledged}
        self.refused: set[str] = set()
        self._url = url
        self.is_told_to_stop = False

    async def run(self) -> None:
        """Send one after the other: of a key, a later one says more."""
        async with httpx.AsyncClient(base_url=self._url, timeout=60) as client:
            number = 0
            while not self.is_told_to_stop:
                key = f"k{number % KEYS}"
                answer = await client.post(f"/feedback/{key}", json={"data": {"n": number, f"n{number}": 1}})
                self._note(key, number, answer)
                number += 1

    def _note(self, key: str, number: int, answer: httpx.Response) -> None:
        if answer.status_code == 202:
            self.acknowledged[key].append((int(answer.json()["version"]), number))
            return
        assert answer.status_code == 503, answer.text
        assert "retry-after" in answer.headers
        self.refused.add(answer.json()["code"])
        if answer.json()["code"] != "overloaded":
            self.unknown[key].append(number)

    def count(self, generation: int) -> int:
        """Return how many events of a generation were acknowledged."""
        versions = [version for told in self.acknowledged.values() for version, _ in told]
        return sum(split_version(version)[0] == generation for version in versions)


@pytest.fixture
async def environ(
    own_kafka: OwnKafka, clickhouse_settings: ClickHouseSettings, tmp_path: Path
) -> dict[str, str]:
    """The variables of an installation with four partitions."""
    await migrated(own_kafka.settings, clickhouse_settings)
    return {
        "KAFKA_BOOTSTRAP_SERVERS": own_kafka.settings.kafka_bootstrap_servers,
        "CLICKHOUSE_URL": clickhouse_settings.clickhouse_url,
        "CLICKHOUSE_DATABASE": clickhouse_settings.clickhouse_database,
        "AFTERWORD_HOME": str(tmp_path / "home"),
        "SINK_FLUSH_SECONDS": "0.2",
        "LOG_FORMAT": "json",
    }


@asynccontextmanager
async def services(environ: dict[str, str], directory: Path, *names: str) -> AsyncIterator[list[Service]]:
    """Run services for the block."""
    async with AsyncExitStack() as stack:
        found = [Service(name, environ, directory) for name in names]
        for one in found:
            stack.push_async_callback(one.kill)
        await asyncio.gather(*(one.start() for one in found))
        yield found


class Command:
    """`afterword resize`, which may be killed at any step."""

    def __init__(self, environ: dict[str, str], directory: Path) -> None:
        self._environ, self._log = environ, directory / "resize.log"
        self._log.touch()

    async def killed_at(self, step: str) -> None:
        """Run it until it says that it begins a step, and kill it."""
        before = len(self._log.read_text())
        process = self._start("--partitions", "6")
        try:
            await eventually(lambda: step in self._log.read_text()[before:], within=120)
            assert process.is_alive(), self._log.read_text()
        finally:
            process.kill()
            process.join()

    async def completed(self, *arguments: str) -> str:
        """Run it to its end; the last line that it printed."""
        process = self._start(*arguments)
        try:
            await eventually(lambda: not process.is_alive(), within=300)
            said = self._log.read_text()
            assert process.exitcode == 0, said
            return said.splitlines()[-1]
        finally:
            process.kill()
            process.join()

    def _start(self, *arguments: str) -> BaseProcess:
        return start(
            ["resize", "--yes", *arguments],
            self._environ,
            self._log,
            preload="services.cli.resize",
        )


async def test_killed_at_every_step_beside_writers_it_ends_with_everything_in_more_partitions(
    environ: dict[str, str], own_kafka: OwnKafka, clickhouse_settings: ClickHouseSettings, tmp_path: Path
) -> None:
    """Every acknowledged event is in the rows, versions grow, and a process that slept cannot write."""
    kafka, old, new = own_kafka.settings, Topology(0), Topology(2)
    names = ("merger", "sink", "ingest", "ingest")
    async with (
        services(environ, tmp_path, *names) as (merger, _, ingest, sleeper),
        asyncio.TaskGroup() as group,
    ):
        supervising = group.create_task(merger.keep_running())
        writer = Writer(ingest.url)
        writing = asyncio.create_task(writer.run())
        await eventually(lambda: writer.count(0) > 100)

        command = Command(environ, tmp_path)
        for step in STEPS:
            await command.killed_at(step)
            if step == GONE_BACK_AT:
                before = writer.count(0)
                assert "Generation 0 takes events again" in await command.completed("--abort")
                await eventually(lambda: writer.count(0) > before, within=60)  # noqa: B023 (awaited here)
        sleeper.signal(signal.SIGSTOP)
        woken = asyncio.create_task(_post(sleeper.url, "late"))
        report = orjson.loads(await command.completed("--partitions", "6", "--json", "--arrival", "120"))
        assert (report["to"], report["partitions"], report["absent"]) == (2, 6, [])

        end = await ends(kafka, old.events)
        sleeper.signal(signal.SIGCONT)
        answer = await woken
        assert answer.status_code == 503 or split_version(int(answer.json()["version"]))[0] == 2
        await eventually(lambda: _is_taken(sleeper.url), within=60)
        await eventually(lambda: writer.count(2) > 100, within=60)
        writer.is_told_to_stop = True
        await writing
        assert await ends(kafka, old.events) == end
        assert len(await ends(kafka, new.events, partitions=6)) == 6
        assert "overloaded" in writer.refused

        await eventually(lambda: _all_there(clickhouse_settings, writer), within=60)
        supervising.cancel()
    for told in writer.acknowledged.values():
        assert [version for version, _ in told] == sorted({version for version, _ in told})


async def _post(url: str, request_id: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=url, timeout=300) as client:
        return await client.post(f"/feedback/{request_id}", json={"data": {"n": 1}})


async def _is_taken(url: str) -> bool:
    answer = await _post(url, "late")
    return answer.status_code == 202 and split_version(int(answer.json()["version"]))[0] == 2


async def _all_there(settings: ClickHouseSettings, writer: Writer) -> bool:
    """Check rows and history against what was acknowledged; what is unknown may be there."""
    rows = await tables.rows(settings, f"SELECT request_id, data FROM {FEEDBACK}")
    found: dict[str, dict[str, Any]] = {request_id: orjson.loads(data) for request_id, data in rows}
    history = await tables.rows(settings, f"SELECT request_id, version FROM {FEEDBACK_EVENTS} FINAL")
    for key, told in writer.acknowledged.items():
        said = {f"n{number}" for _, number in told}
        maybe = {f"n{number}" for number in writer.unknown[key]}
        assert said <= found[key].keys() <= said | maybe | {"n"}, key
        versions = {version for request_id, version in history if request_id == key}
        assert {version for version, _ in told} <= versions
        assert len(versions) <= len(told) + len(maybe)
    return True
