"""Which recorded processes still run."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from services.local.processes import Identity, end, identity_of, is_running


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing for long, in a group of its own."""
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
        yield process
        process.kill()


def test_a_recorded_process_is_known_again(sleeper: subprocess.Popen[bytes]) -> None:
    """By its id and the time at which it was made."""
    assert is_running(identity_of(sleeper.pid))


def test_another_process_under_the_same_id_is_not_killed(sleeper: subprocess.Popen[bytes]) -> None:
    """The kernel uses ids again: killing by id alone would hit a stranger."""
    stranger = Identity(sleeper.pid, identity_of(sleeper.pid).created - 60)

    assert end([stranger]) == []
    assert sleeper.poll() is None


def test_what_was_left_behind_is_ended(sleeper: subprocess.Popen[bytes]) -> None:
    """And counts as gone afterwards."""
    identity = identity_of(sleeper.pid)

    assert end([identity]) == [sleeper.pid]
    assert not is_running(identity)
    assert end([identity]) == []
