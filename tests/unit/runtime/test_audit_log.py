"""The audit log is appended to, private, and never skipped."""

import json
import os
import pty
import socket
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import pytest

from services.runtime.audit_log import AuditError, record
from services.runtime.settings import HomeSettings
from tests.support.operations.command import afterword

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_acts_are_appended_as_lines_of_json(tmp_path: Path) -> None:
    """Each act is a line with its time, its outcome, who did it and the facts."""
    settings = HomeSettings(afterword_home=tmp_path / "home")

    record(settings, "keys create", "done", NOW, tenant="acme", key="3f")
    record(settings, "erase", "begun", NOW, tenant="acme", requests=2)

    first, second = map(json.loads, settings.audit_file.read_text().splitlines())
    assert first.pop("by")
    assert first == {
        "at": NOW.isoformat(),
        "act": "keys create",
        "outcome": "done",
        "tenant": "acme",
        "key": "3f",
    }
    assert (second["act"], second["outcome"], second["requests"]) == ("erase", "begun", 2)


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    """A new file is made for its owner alone."""
    settings = HomeSettings(afterword_audit_file=tmp_path / "audit.ndjson")

    record(settings, "resize", "begun", NOW)

    assert stat.S_IMODE((tmp_path / "audit.ndjson").stat().st_mode) == 0o600


RECORDS = """
from datetime import UTC, datetime
from services.runtime.audit_log import record
from services.runtime.settings import HomeSettings, load
for number in range(3):
    now = datetime(2030, 1, 2, tzinfo=UTC)
    record(load(HomeSettings), "erase", "done", now, text="x" * 100_000, number=number)
"""


def recorded(path: str, stdout: int) -> int:
    """Run a process that records three acts of 100 kB at this path; return its exit code."""
    environment = {**os.environ, "AFTERWORD_AUDIT_FILE": path}
    return subprocess.run(
        [sys.executable, "-c", RECORDS], env=environment, stdout=stdout, check=False
    ).returncode


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("kind", ["pipe", "socket", "terminal", "file"])
def test_acts_go_to_a_stream_whatever_it_is(kind: str, path: str, tmp_path: Path) -> None:
    """As collectors of a container's output give it: a pipe, a journal's socket, a terminal, a file."""
    reading, writing = ends(kind, tmp_path)
    taken: list[bytes] = []
    taking = Thread(target=lambda: taken.extend(iter(lambda: piece(reading), b"")))
    if kind != "file":
        taking.start()
    assert recorded(path, writing) == 0
    os.close(writing)
    if kind == "file":
        taking.start()
    taking.join()
    os.close(reading)

    acts = [json.loads(line) for line in b"".join(taken).splitlines()]
    assert [act["number"] for act in acts] == [0, 1, 2]


def ends(kind: str, directory: Path) -> tuple[int, int]:
    """Return descriptors of a stream: what is written to the second is read from the first."""
    match kind:
        case "pipe":
            return os.pipe()
        case "socket":
            ours, theirs = socket.socketpair()
            return ours.detach(), theirs.detach()
        case "terminal":
            return pty.openpty()
    file = directory / "stdout"
    writing = os.open(file, os.O_WRONLY | os.O_CREAT)
    return os.open(file, os.O_RDONLY), writing


def piece(descriptor: int) -> bytes:
    """Return some bytes; nothing at the end, which a terminal tells by an error."""
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:
        return b""


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/null", "pipe"])
def test_what_keeps_nothing_is_not_read_as_an_audit_log(path: str, tmp_path: Path) -> None:
    """`afterword audit` would wait for ever, or list nothing."""
    os.mkfifo(tmp_path / "pipe")
    ended = afterword("audit", "--file", str(tmp_path / path))

    assert ended.code == 1
    assert "keeps nothing" in ended.err


def test_an_act_that_cannot_be_recorded_is_an_error(tmp_path: Path) -> None:
    """A file where a directory should be: the caller hears of it before it acts."""
    (tmp_path / "file").touch()

    with pytest.raises(AuditError, match="cannot write the audit log"):
        record(HomeSettings(afterword_home=tmp_path / "file"), "erase", "begun", NOW)
