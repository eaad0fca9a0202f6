"""What `afterword up` refuses, each in a line that says what to change; nothing is started."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.local.home import Home
from tests.support.stack.whole_stack import WholeStack


@pytest.fixture
def stack(tmp_path: Path) -> WholeStack:
    """A stack that does not run yet."""
    return WholeStack(tmp_path)


@pytest.fixture
def busy() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def test_a_taken_port_is_named_with_its_variable(tmp_path: Path, busy: int) -> None:
    """And with whoever has it."""
    stack = WholeStack(tmp_path, INGEST_PORT=str(busy))
    result = await stack.call("up")

    assert result.returncode == 2
    assert f"port {busy} for ingest is taken by process " in result.stderr
    assert "set INGEST_PORT to another" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list((stack.home / "logs").iterdir())


async def test_a_directory_that_cannot_be_written_is_named_with_its_variable(tmp_path: Path) -> None:
    """No traceback."""
    (tmp_path / "file").touch()
    result = await WholeStack(tmp_path, AFTERWORD_HOME=str(tmp_path / "file" / "home")).call("up")

    assert result.returncode == 2
    assert "cannot be written (Not a directory): set AFTERWORD_HOME to another directory" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


async def test_a_second_up_on_the_same_data_is_refused(stack: WholeStack) -> None:
    """Two Kafkas on one directory would ruin it."""
    home = Home(stack.home)
    home.make()
    with home.owned():
        result = await stack.call("up")

    assert result.returncode == 2
    assert f"`afterword up` already runs on {stack.home}" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


async def test_a_disk_without_room_for_a_start_is_named(stack: WholeStack) -> None:
    """What had started is stopped in order; no traceback."""
    kafka = stack.home / "kafka"
    kafka.mkdir(parents=True)
    (kafka / "log4j2.properties").symlink_to("/dev/full")
    result = await stack.call("up")

    assert result.returncode == 1
    assert result.stderr.startswith("the disk is full (")
    assert len(result.stderr.strip().splitlines()) == 1


async def test_all_mistakes_in_the_settings_are_shown_at_once(stack: WholeStack) -> None:
    """Not one after the other."""
    stack.environ.update(INGEST_PORT="http", KAFKA_BOOTSTRAP_SERVERS="nowhere")
    result = await stack.call("up")

    assert result.returncode == 2
    assert "INGEST_PORT" in result.stderr
    assert "KAFKA_BOOTSTRAP_SERVERS" in result.stderr


async def test_status_reports_that_no_stack_runs(stack: WholeStack) -> None:
    """With the exit code of what is not reachable, and JSON for scripts."""
    plain = await stack.call("status")
    waited = await stack.call("status", "--json", "--wait", "0.5")

    assert (plain.returncode, waited.returncode) == (75, 75)
    assert "`afterword up` starts one" in plain.stdout
    assert '"ready":false' in waited.stdout
