"""`python -m services.ingest`, from its start to its end."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from schemas.topics import Topology
from services.local.ports import free_port
from services.runtime.settings import KafkaSettings
from tests.support.eventually import eventually
from tests.support.ingest.app import new_key
from tests.support.kafka.topic_reader import read_topic


@asynccontextmanager
async def process(home: Path, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run ingest with these variables; it is killed at the end if it still runs."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("INGEST_", "KAFKA_"))
    }
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.ingest",
        env={**environment, "AFTERWORD_HOME": str(home), "INGEST_LOOKUP": "false", **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()


async def refused(home: Path, **variables: str) -> tuple[int | None, str]:
    """Return how a process ends that must not start, and what it says."""
    async with process(home, **variables) as running:
        _, errors = await running.communicate()
    return running.returncode, errors.decode()


async def test_without_keys_it_refuses_to_listen_to_others(tmp_path: Path) -> None:
    """And says what to do."""
    code, said = await refused(tmp_path, INGEST_HOST="0.0.0.0", INGEST_PORT="0")  # noqa: S104

    assert code == 2
    assert "afterword keys create" in said
    assert "Traceback" not in said


async def test_it_reports_every_mistake_in_its_settings(tmp_path: Path) -> None:
    """All at once, with near matches."""
    code, said = await refused(
        tmp_path, INGEST_PORT="high", INGEST_DEADLINE_SECOND="1", INGEST_MAX_LOOKUPS="0"
    )

    assert code == 2
    assert "INGEST_PORT" in said
    assert "did you mean INGEST_DEADLINE_SECONDS" in said
    assert "INGEST_MAX_LOOKUPS" in said


async def test_a_broken_key_file_is_not_taken_for_none(tmp_path: Path) -> None:
    """An operator who has keys does not want an open service."""
    (tmp_path / "keys.toml").write_text("[[keys]")
    code, said = await refused(tmp_path, INGEST_PORT="0")

    assert code == 2
    assert "keys.toml cannot be read" in said


async def test_a_taken_port_is_one_line_that_shows_what_to_change(tmp_path: Path) -> None:
    """INGEST_PORT."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    code, said = await refused(tmp_path, INGEST_PORT=str(port))
    server.close()

    assert code == 2
    assert f"127.0.0.1:{port} is taken by another program" in said
    assert said.count("\n") == 1
    assert "INGEST_PORT" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stopping_keeps_every_promise(
    kafka_settings: KafkaSettings, topology: Topology, tmp_path: Path, number: signal.Signals
) -> None:
    """Whoever got a 202 while the process was told to stop has an event in the log; it ends with 0."""
    key, port = new_key(tmp_path), free_port()
    promised: set[str] = set()
    async with process(
        tmp_path,
        INGEST_PORT=str(port),
        KAFKA_BOOTSTRAP_SERVERS=kafka_settings.kafka_bootstrap_servers,
        KAFKA_TOPIC_GENERATION=str(topology.generation),
    ) as running:
        url = f"http://127.0.0.1:{port}"
        await _answers(url)
        async with httpx.AsyncClient(base_url=f"{url}/k/{key}") as client:

            async def keep_sending(worker: int) -> None:
                for count in range(100_000):
                    try:
                        answer = await client.post(f"/feedback/{worker}-{count}", json={"data": {}})
                    except httpx.TransportError:
                        return
                    if answer.status_code == 202:
                        promised.add(answer.json()["request_id"])

            workers = [asyncio.create_task(keep_sending(worker)) for worker in range(4)]
            await eventually(lambda: len(promised) > 100, within=60)
            running.send_signal(number)
            await asyncio.gather(*workers)
        output, errors = await running.communicate()

    assert running.returncode == 0, errors.decode()
    assert key not in output.decode() + errors.decode()
    partitions = await read_topic(kafka_settings, topology.events.name)
    written = {record.key.decode().partition("/")[2] for partition in partitions for record in partition}
    assert promised <= written


async def _answers(url: str) -> None:
    async def is_ready() -> bool:
        async with httpx.AsyncClient() as client:
            try:
                return (await client.get(f"{url}/readyz")).status_code == 200
            except httpx.TransportError:
                return False

    await eventually(is_ready, within=60)
