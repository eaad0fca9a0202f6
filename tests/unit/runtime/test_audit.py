"""The audit log is appended to, private, and never skipped."""

import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.runtime.audit import AuditError, record
from services.runtime.settings import HomeSettings

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


def test_an_act_that_cannot_be_recorded_is_an_error(tmp_path: Path) -> None:
    """A file where a directory should be: the caller hears of it before it acts."""
    (tmp_path / "file").touch()

    with pytest.raises(AuditError, match="cannot write the audit log"):
        record(HomeSettings(afterword_home=tmp_path / "file"), "erase", "begun", NOW)
