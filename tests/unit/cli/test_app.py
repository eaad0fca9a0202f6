"""The command line itself: its table, its help, its exit codes."""

import errno
import json
import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from services.cli.app import COMMANDS, CommandRow
from services.operations.exits import CommandError, UnreachableError, UsageError, exit_code_of, unusable_file
from services.runtime.settings import SettingsError
from tests.support.operations.command import ROOT, afterword, started

HEAVY = ("aiokafka", "clickhouse_connect", "httpx", "pydantic", "fastapi", "faust", "chdb", "rich.markdown")


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.name)
def test_every_command_has_help(row: CommandRow) -> None:
    """Each row of the table loads, and says more than its line in the list."""
    ended = afterword(row.name, "--help")

    assert ended.code == 0
    assert len(ended.out) > len(row.help) + 200
    assert "--install-completion" not in ended.out


@pytest.mark.parametrize(
    "call",
    [
        "export all.csv --user-id=",
        "export all.csv --tag a --tag=",
        "export all.csv --where data.judge=",
        "export all.csv --q ...",
        "dlq list --request-id=",
        "dlq replay --tenant=",
        "rebuild --tenant=",
        "keys create --tenant=",
        "send all.ndjson --key=",
    ],
)
def test_an_empty_option_is_refused_by_name(call: str) -> None:
    """A variable that was not set would make the call be about everything."""
    ended = afterword(*call.split())

    assert ended.code == 2
    assert re.findall(r"--[a-z-]+", call)[-1] in ended.err


def test_help_lists_every_command() -> None:
    """The list is the table."""
    ended = afterword("--help")

    assert ended.code == 0
    for row in COMMANDS:
        assert row.name in ended.out
        assert row.help in ended.out


def test_listing_the_commands_imports_none_of_them() -> None:
    """`--help` and completion are quick, and work though a part is missing."""
    script = (
        "import sys; from services.cli.app import app\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
        "print([name for name in sys.modules if name.startswith('services.operations.')])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True, text=True
    )

    assert ended.stdout.splitlines() == ["[]", "['services.operations.exits']"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sned", "x"], "Did you mean 'send'?"),
        (["send"], "Missing argument 'FILE'"),
        (["send", "x", "--no-such-option"], "--no-such-option"),
        (["send", "/no/such/file"], "does not exist"),
        (["demo", "--url", "localhost:8080"], "is not a URL"),
        (["config", "check", "nothing"], "no such part"),
    ],
)
def test_a_wrong_call_ends_with_2_and_reports_why(arguments: list[str], said: str) -> None:
    """Usage errors are told from failures."""
    ended = afterword(*arguments)

    assert ended.code == 2
    assert said in ended.err


def test_the_version_is_that_of_the_package() -> None:
    """`--version` needs no server."""
    ended = afterword("--version")

    assert ended.code == 0
    assert ended.out.startswith("afterword 0.")


def test_completion_knows_commands_and_options() -> None:
    """What Typer's completion scripts ask for is answered without running anything."""
    assert "send" in _completed("afterword se")
    assert "--restart" in _completed("afterword send --re")


def _completed(line: str) -> str:
    asking = {
        "_AFTERWORD_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - 1),
    }
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv[0] = 'afterword'; from services.cli.app import main; main()",
        ],
        cwd=ROOT,
        env={**os.environ, **asking},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.stdout


def test_every_example_is_a_call_that_the_command_takes(tmp_path: Path) -> None:
    """What help pages show can be typed: commands and options exist."""
    shown = 0
    for row in COMMANDS:
        module = import_module(row.target.partition(":")[0])
        for call, _ in getattr(module, "EXAMPLES", ()):
            words = shlex.split(call)
            arguments = words[words.index("afterword") + 1 :]
            known = afterword(row.name, *_subcommand(row, arguments), "--help").out
            for option in (word for word in arguments if word.startswith("--")):
                assert option in known, call
            assert arguments[0] == row.name
            shown += 1

    assert shown >= 8


def _subcommand(row: CommandRow, arguments: list[str]) -> list[str]:
    """Return the command under the command that an example calls."""
    return arguments[1:2] if row.name in ("config", "dlq", "keys") else []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CommandError("x"), 1),
        (UsageError("x"), 2),
        (SettingsError(["x", "y"]), 2),
        (UnreachableError("x"), 75),
        (RuntimeError("x"), None),
    ],
)
def test_errors_have_exit_codes(error: Exception, code: int | None) -> None:
    """What a user can mend ends in a code, everything else in a traceback."""
    assert exit_code_of(error) == code


@pytest.mark.parametrize("blocked", ["psutil", "chdb", "jgo"])
def test_status_needs_nothing_of_the_local_stack(blocked: str, tmp_path: Path) -> None:
    """An image has no part of it: status asks both servers all the same, and tells of those that are away."""
    ended = _without(blocked, tmp_path, "status", "--json")

    assert (ended.returncode, ended.stderr) == (75, "")
    assert json.loads(ended.stdout)["parts"] == []


@pytest.mark.parametrize(
    ("blocked", "command", "extra"),
    [("psutil", "up", "local"), ("httpx", "demo", "client"), ("httpx", "export", "client")],
)
def test_a_command_without_its_packages_names_them(
    blocked: str, command: str, extra: str, tmp_path: Path
) -> None:
    """Wherever the import is: at the top of its module, or in the middle of its work."""
    ended = _without(blocked, tmp_path, command)

    assert ended.returncode == 2
    cure = f"Install it: pip install 'afterword[{extra}]'"
    assert ended.stderr == f"afterword {command} needs {blocked}, which is not installed.  {cure}\n"


def _without(package: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command where a package is not installed."""
    script = f"import sys; sys.modules[{package!r}] = None; from services.cli.app import main; main()"
    closed = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "CLICKHOUSE_URL": "http://127.0.0.1:2"}
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        env={**os.environ, **closed, "AFTERWORD_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_file_that_the_system_refuses_is_one_line(number: int) -> None:
    """Whichever command meets it: the file and the system's own reason."""
    refused = unusable_file(OSError(number, os.strerror(number), "/volume/file"))

    assert refused is not None
    assert str(refused).startswith(f"/volume/file: {os.strerror(number)}")
    assert exit_code_of(refused) == 1


def test_a_connection_that_fails_is_no_file() -> None:
    """What has no file's name, or is a fault of the program's, keeps its traceback."""
    assert unusable_file(OSError(errno.EACCES, "refused")) is None
    assert unusable_file(FileNotFoundError(errno.ENOENT, "no such file", "x")) is None


@pytest.mark.parametrize(
    ("arguments", "variable"),
    [
        (["ingest"], "INGEST_PORT"),
        (["merger"], "KAFKA_BOOTSTRAP_SERVERS"),
        (["merger", "accept-loss"], "KAFKA_BOOTSTRAP_SERVERS"),
        (["sink"], "CLICKHOUSE_URL"),
        (["query"], "QUERY_PORT"),
    ],
    ids=" ".join,
)
def test_a_service_command_is_the_service(arguments: list[str], variable: str) -> None:
    """It reads its own settings and ends with its own exit code."""
    with started(*arguments, environ={variable: "nonsense"}) as process:
        _, err = process.communicate(timeout=60)

    assert process.returncode == 2
    assert variable in err.decode()
    assert "Traceback" not in err.decode()


def test_a_command_shows_all_mistakes_of_its_settings() -> None:
    """One round of mending is enough."""
    environ = {
        "KAFKA_BOOTSTRAP_SERVERS": "nowhere",
        "CLICKHOUSE_URL": "localhost",
        "CLICKHOUSE_DATABASE": "9",
    }
    ended = afterword("migrate", environ=environ)

    assert ended.code == 2
    assert all(f"{variable}: " in ended.err for variable in environ)
    assert len(ended.err.splitlines()) == 3


def test_a_missing_extra_is_named() -> None:
    """Who installed only a part is told what to install for the rest."""
    hidden = "import sys; sys.modules['httpx'] = None; from services.cli.app import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", hidden, "send", "x"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 2
    assert "pip install 'afterword[client]'" in ended.stderr


def test_what_a_library_logs_stays_out_of_the_output() -> None:
    """A retry in the middle of `status --json` must not spoil the JSON."""
    load = "from services.cli.app import _load, _rows; _load(_rows['dlq'])"
    code = f"{load}; import structlog; structlog.get_logger().warning('again')"
    ended = subprocess.run((sys.executable, "-c", code), cwd=ROOT, capture_output=True, text=True, check=True)

    assert ended.stdout == ""
    assert "again" in ended.stderr
