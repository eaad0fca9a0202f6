"""`afterword audit` lists the log, and what is begun before it is done."""

import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.runtime.audit_log import AuditError, audited, record
from services.runtime.settings import HomeSettings
from tests.support.operations.command import Ended, afterword

THEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ALL = ["keys create", "erase over http", "dlq drop", "dlq drop"]


@pytest.fixture
def home(tmp_path: Path) -> HomeSettings:
    """A home with an audit log of three acts."""
    settings = HomeSettings(afterword_home=tmp_path)
    record(settings, "keys create", "done", THEN, tenant="acme", key="k-1")
    record(settings, "erase over http", "refused", THEN, tenant="other", requests=["r[1]"])
    with audited("dlq drop", settings, letters=7) as done:
        done["dropped"] = 7
    return settings


def run(home: HomeSettings, *arguments: str) -> Ended:
    """Call the command."""
    return afterword("audit", *arguments, environ={"AFTERWORD_HOME": str(home.afterword_home)})


def test_the_list_shows_when_what_and_how_it_ended(home: HomeSettings) -> None:
    """A line an entry, with its facts as they are."""
    shown = run(home)

    assert shown.code == 0
    assert [line.split()[2] for line in shown.out.splitlines()[1:]] == ["keys", "erase", "dlq", "dlq"]
    assert "tenant=other requests=r[1]" in shown.out
    assert "letters=7 dropped=7" in shown.out


@pytest.mark.parametrize(
    ("arguments", "acts"),
    [
        ([], ALL),
        (["--since", "1h"], ALL[2:]),
        (["--since", "2026-01-02"], ALL),
        (["--act", "keys"], ALL[:1]),
        (["--act", "key"], []),
        (["--tenant", "other"], ALL[1:2]),
        (["--outcome", "begun"], ALL[2:3]),
    ],
)
def test_json_is_for_scripts_and_filters_narrow(
    home: HomeSettings, arguments: list[str], acts: list[str]
) -> None:
    """One object a line, as it is in the file."""
    lines = run(home, "--json", *arguments).out.splitlines()

    assert [json.loads(line)["act"] for line in lines] == acts


def test_no_log_is_no_acts_and_a_foreign_line_is_reported(tmp_path: Path) -> None:
    """Nobody did anything yet; somebody wrote something else into it."""
    home = HomeSettings(afterword_home=tmp_path)
    assert run(home, "--json") == Ended(0, "", "")
    (tmp_path / "audit.ndjson").write_text("{}\n")
    found = run(home)
    assert found.code == 1
    assert "audit.ndjson:1" in found.err


def test_a_time_that_is_none_is_a_mistake(home: HomeSettings) -> None:
    """It says what a time looks like."""
    found = run(home, "--since", "soon")

    assert found.code == 2
    assert "2h" in found.err


def test_what_fails_is_written_down_and_what_cannot_be_is_not_begun(home: HomeSettings) -> None:
    """With the kind of error, and nothing of its text."""
    with pytest.raises(RuntimeError), audited("rebuild", home):
        raise RuntimeError("secret")
    last = json.loads(home.audit_file.read_text().splitlines()[-1])
    assert (last["act"], last["outcome"], last["error"]) == ("rebuild", "failed", "RuntimeError")
    assert "secret" not in home.audit_file.read_text()
    assert stat.S_IMODE(home.audit_file.stat().st_mode) == 0o600
    home.audit_file.unlink()
    home.audit_file.mkdir()
    began = False
    with pytest.raises(AuditError), audited("rebuild", home):
        began = True
    assert not began
