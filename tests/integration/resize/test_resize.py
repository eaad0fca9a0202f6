"""More partitions while writers go on: nothing is lost, whatever is killed or stopped on the way."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from schemas.identity import split_version
from schemas.tables import FEEDBACK, FEEDBACK_EVENTS
from schemas.topics import Topology
from services.local.child import python_module
from services.local.ports import free_port
from services.runtime.settings import ClickHouseSettings
from tests.support import tables
from tests.support.afterword import started
from tests.support.eventually import eventually
from tests.support.programs import Program
from tests.support.servers import OwnKafka
from tests.support.sink_runs import migrated
from tests.support.state_log import ends

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
        """Tell whether it says that it works."""
        async with httpx.AsyncClient(timeout=5) as client:
            try:
                return (await client.get(f"{self.url}/readyz")).status_code == 200
            except httpx.TransportError:
                return False

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

    async def run(self) -> None:
        """Send one after the other: of a key, a later one says more."""
        async with httpx.AsyncClient(base_url=self._url, timeout=60) as client:
            number = 0
            while True:
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


def resized(environ: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """Run `afterword resize` to its end."""
    with started("resize", *arguments, environ=environ) as process:
        out, err = process.communicate()
        return process.returncode, out.decode(), err.decode()


def killed_at(step: str, environ: dict[str, str]) -> None:
    """Run it until it says that it begins a step, and kill it."""
    with started("resize", "--partitions", "6", "--yes", environ=environ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line.decode())
            if step in said[-1]:
                process.kill()
                process.communicate()
                return
        raise AssertionError(f"it never came to {step!r}: {''.join(said)}")


async def test_killed_at_every_step_beside_writers_it_ends_with_everything_in_more_partitions(
    environ: dict[str, str], own_kafka: OwnKafka, clickhouse_settings: ClickHouseSettings, tmp_path: Path
) -> None:
    """Every acknowledged event is in the rows, versions grow, and a process that slept cannot write."""
    kafka, old, new = own_kafka.settings, Topology(0), Topology(2)
    async with services(environ, tmp_path, "merger", "sink", "ingest", "ingest") as (_, _, ingest, sleeper):
        writer = Writer(ingest.url)
        writing = asyncio.create_task(writer.run())
        await eventually(lambda: writer.count(0) > 100)

        for step in STEPS:
            await asyncio.to_thread(killed_at, step, environ)
        sleeper.signal(signal.SIGSTOP)
        woken = asyncio.create_task(_post(sleeper.url, "late"))
        code, out, err = await asyncio.to_thread(
            resized, environ, "--partitions", "6", "--yes", "--json", "--arrival", "120"
        )
        assert code == 0, out + err
        report = orjson.loads(out)
        assert (report["to"], report["partitions"], report["absent"]) == (2, 6, [])

        end = await ends(kafka, old.events)
        sleeper.signal(signal.SIGCONT)
        answer = await woken
        assert answer.status_code == 503 or split_version(int(answer.json()["version"]))[0] == 2
        await eventually(lambda: _is_taken(sleeper.url), within=60)
        await eventually(lambda: writer.count(2) > 100, within=60)
        writing.cancel()
        assert await ends(kafka, old.events) == end
        assert len(await ends(kafka, new.events, partitions=6)) == 6
        assert "overloaded" in writer.refused

        await eventually(lambda: _all_there(clickhouse_settings, writer), within=60)
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
