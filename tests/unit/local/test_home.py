"""The directory of a stack."""

import os
from pathlib import Path

import pytest

from services.local import home as home_module
from services.local.home import Home, HomeError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home that is made."""
    made = Home(tmp_path / "home")
    made.make()
    return made


def test_a_directory_that_cannot_be_made_is_named_with_the_variable_to_change(tmp_path: Path) -> None:
    """One line that says what to do."""
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(HomeError, match=r"cannot be written \(Not a directory\): set AFTERWORD_HOME"):
        Home(tmp_path / "file" / "home").make()


def test_a_home_has_one_owner(home: Home) -> None:
    """The second is told who the first is."""
    home.write_state({"pid": 4711})
    with (
        home.owned(),
        pytest.raises(HomeError, match=r"already runs .* \(process 4711\).*AFTERWORD_HOME"),
    ):
        home.owned().__enter__()
    with home.owned():
        pass


def test_a_process_id_is_all_that_its_file_holds(home: Home) -> None:
    """Such that `kill $(cat merger.pid)` works."""
    home.write_pid("merger", 4711)
    content = home.pid_file("merger").read_text()
    home.forget_pid("merger")

    assert content == "4711\n"
    assert not home.pid_file("merger").exists()


def test_a_state_that_cannot_be_read_is_no_state(home: Home) -> None:
    """Nothing there, or half of something, are the same: nothing is known."""
    before = home.state()
    (home.run / "state.json").write_text('{"pid": 1')

    assert (before, home.state()) == ({}, {})


def test_a_log_is_bounded_while_its_writer_continues(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old content moves aside, and what the writer appends next is in the new log."""
    monkeypatch.setattr(home_module, "MAX_LOG_BYTES", 10)
    log = home.log("kafka")
    with log.open("ab", buffering=0) as writer:
        writer.write(b"more than ten bytes\n")
        home.bound_log("kafka")
        writer.write(b"new\n")
        home.bound_log("kafka")

    assert log.read_bytes() == b"new\n"
    assert log.with_suffix(".log.1").read_bytes() == b"more than ten bytes\n"


def test_a_home_is_found_from_any_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A relative path means the directory that `up` was started in, for good."""
    monkeypatch.chdir(tmp_path)
    home = Home(Path(".afterword"))
    monkeypatch.chdir(os.sep)

    assert home.path == tmp_path / ".afterword"
