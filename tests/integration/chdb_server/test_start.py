"""Starting and stopping: one clear line when it cannot be, and an orderly end within seconds."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.clickhouse.raw_http import Face, face
from tests.support.eventually import eventually
from tests.support.stack.local_servers import OwnWarehouse

MODULE = (sys.executable, "-m", "chdb_server")
SLOW = "SELECT count() AS slow FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))"


def refused(*arguments: str, **environment: str) -> str:
    """Run the program, which must refuse to start; return what it says."""
    ended = subprocess.run(
        [*MODULE, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    return ended.stderr


@pytest.fixture
def server(ours: Face) -> Face:
    """Test the warehouse alone."""
    return ours


def test_help_shows_what_it_is_and_where_settings_come_from() -> None:
    """Without starting an engine."""
    said = subprocess.run([*MODULE, "--help"], capture_output=True, text=True, check=True).stdout
    for word in ("ClickHouse", "CLICKHOUSE_URL", "WAREHOUSE_", "--port", "AFTERWORD_HOME"):
        assert word in said


async def test_a_second_one_on_the_directory_names_the_first(ours: Face, tmp_path: Path) -> None:
    """Two engines on one directory would destroy it."""
    first = OwnWarehouse(tmp_path)
    await first.start()
    try:
        said = await asyncio.to_thread(refused, str(tmp_path / "data"), "--port", "0")
    finally:
        await first.stop()
    assert (
        said
        == f"{tmp_path / 'data'} is in use by another warehouse: stop that one, or name another directory.\n"
    )


def test_a_taken_port_is_named_with_what_to_change(ours: Face, tmp_path: Path) -> None:
    """Before the engine is started."""
    url = ours.settings.clickhouse_url
    said = refused(str(tmp_path), CLICKHOUSE_URL=url)
    assert said.startswith(f"{url.removeprefix('http://')} cannot be listened on (Address already in use)")
    assert "CLICKHOUSE_URL" in said


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A file stands in the way, say; root may write anywhere else."""
    (tmp_path / "file").touch()
    said = refused(str(tmp_path / "file" / "data"), "--port", "0")
    assert said == f"{tmp_path / 'file' / 'data'} cannot be created: Not a directory.\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_of_another_user_is_named(tmp_path: Path) -> None:
    """With what to change."""
    tmp_path.chmod(0o500)
    assert "is not writable: change its owner" in refused(str(tmp_path), "--port", "0")


def test_settings_that_make_no_sense_are_all_named(tmp_path: Path) -> None:
    """A line each."""
    said = refused(str(tmp_path), WAREHOUSE_MAX_QUERIES="0", WAREHOUSE_MEMORY="1", CLICKHOUSE_URL="nowhere")
    assert {line.partition(":")[0] for line in said.splitlines()} == {
        "WAREHOUSE_MAX_QUERIES",
        "WAREHOUSE_MEMORY",
        "CLICKHOUSE_URL",
    }
    assert "this machine only" in refused(str(tmp_path), CLICKHOUSE_URL="http://10.0.0.1:8123")


async def test_a_signal_ends_it_in_order_and_its_data_stay(tmp_path: Path) -> None:
    """Running queries are killed after a while and told so; the next start has all data."""
    server = OwnWarehouse(tmp_path, WAREHOUSE_GRACE_SECONDS="0.5")
    await server.start()
    async with face(server.settings) as warehouse:
        await warehouse.value("CREATE TABLE default.kept (id UInt64) ENGINE = MergeTree ORDER BY id")
        await warehouse.value("INSERT INTO default.kept SELECT number FROM numbers(5)")
        slow = asyncio.create_task(warehouse.ask(body=SLOW))
        streamed = asyncio.create_task(_count_rows(warehouse))
        await eventually(lambda: _running(warehouse))
        assert await _signal(server, signal.SIGTERM) == 0
        assert "Code: 394" in (await slow).text
        with pytest.raises(httpx.HTTPError):
            await streamed
    await server.start()
    async with face(server.settings) as warehouse:
        assert await warehouse.value("SELECT sum(id) FROM default.kept") == "10"
    assert await _signal(server, signal.SIGINT) == 0


async def _signal(server: OwnWarehouse, number: signal.Signals) -> int:
    """Send a signal; the exit code."""
    assert server.child is not None
    os.kill(server.child.pid, number)
    return await asyncio.to_thread(server.child.wait, 30)


async def _running(warehouse: Face) -> bool:
    found = await warehouse.value("SELECT count() FROM system.processes WHERE query LIKE '%AS slow%'")
    return int(found) >= 3


async def _count_rows(warehouse: Face) -> int:
    """Read an answer without an end; it breaks when the warehouse stops."""
    query = "SELECT number AS slow FROM numbers(1000000000000)"
    async with warehouse.raw.stream("POST", "/", content=query) as answer:
        return sum([part.count(b"\n") async for part in answer.aiter_raw()])


async def test_a_client_that_reads_nothing_does_not_keep_it_from_stopping(tmp_path: Path) -> None:
    """Nor does one in the middle of its body."""
    server = OwnWarehouse(tmp_path, WAREHOUSE_GRACE_SECONDS="0")
    await server.start()
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
    query = b"SELECT number, randomPrintableASCII(100) FROM numbers(1000000000000)"
    _, unread = await asyncio.open_connection("127.0.0.1", server.port)
    unread.write(head + b"%d\r\n\r\n" % len(query) + query)
    _, unsent = await asyncio.open_connection("127.0.0.1", server.port)
    unsent.write(head + b"1000\r\n\r\nSELECT")
    async with face(server.settings) as warehouse:
        await eventually(lambda: _sends(warehouse))
    assert await server.stop() == 0
    unread.close()
    unsent.close()


async def _sends(warehouse: Face) -> bool:
    found = await warehouse.value("SELECT count() FROM system.processes WHERE query LIKE '%randomPrintable%'")
    return int(found) >= 2


@pytest.mark.parametrize("left", [b"", b"format version: 1\ncreate time: 2026-01-01 00:00:00\ncomm"])
async def test_a_mutation_that_a_full_disk_cut_off_keeps_nothing_from_starting(
    tmp_path: Path, left: bytes
) -> None:
    """Its file is set aside; rows and whole mutations are as they were."""
    server = OwnWarehouse(tmp_path)
    await server.start()
    try:
        await _ask(server, "CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
        await _ask(server, "INSERT INTO t VALUES (1), (2), (3)")
        await _ask(server, "ALTER TABLE t DELETE WHERE a = 2 SETTINGS mutations_sync = 1")
        await server.kill()
        (written,) = (tmp_path / "data").glob("store/*/*/mutation_*.txt")
        written.with_name("mutation_99.txt").write_bytes(left)
        await server.start()

        assert await _ask(server, "SELECT a FROM t ORDER BY a") == "1\n3\n"
        assert written.exists()
        assert written.with_name("cut_mutation_99.txt").read_bytes() == left
        await _ask(server, "ALTER TABLE t DELETE WHERE a = 3 SETTINGS mutations_sync = 1")
        assert await _ask(server, "SELECT a FROM t ORDER BY a") == "1\n"
    finally:
        await server.stop()


async def _ask(server: OwnWarehouse, sql: str) -> str:
    async with httpx.AsyncClient() as client:
        answer = await client.post(server.settings.clickhouse_url, content=sql, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.text
