"""Starts the programs of the stack so that none outlives its parent, and ends those that still do.

A process id alone proves nothing, since the kernel reuses it: a process is identified by its id together with
its creation time.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psutil

import services

_DIE_WITH_PARENT = Path(__file__).with_name("die_with_parent.py")
_LAST_BYTES = 8192
_ROOT = Path(services.__file__).parent.parent


@dataclass(frozen=True)
class Command:
    """A program with its arguments and its complete environment."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


def python_module(module: str, *arguments: str, environment: Mapping[str, str]) -> Command:
    """Return the command that runs a module of this installation, whatever the working directory contains."""
    path = os.pathsep.join(filter(None, (str(_ROOT), environment.get("PYTHONPATH", ""))))
    return Command(
        (sys.executable, "-P", "-m", module, *arguments),
        {**environment, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
    )


class Child:
    """A running program: its output goes to the end of a log file, and it dies with its parent thread."""

    def __init__(self, command: Command, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log, self._log_start = log, log.stat().st_size if log.exists() else 0
        command_line = (sys.executable, "-I", "-S", str(_DIE_WITH_PARENT), str(os.getpid()), *command.argv)
        with log.open("ab") as output:
            # A session of its own: Ctrl-C reaches the supervisor alone, which stops the parts in order.
            self._process = subprocess.Popen(
                command_line,
                env=dict(command.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.identity = identity_of(self.pid)

    def exit_code(self) -> int | None:
        """Return None while it runs, then its exit code; negative: minus the number of the signal."""
        return self._process.poll()

    def last_lines(self, count: int) -> list[str]:
        """Return the last non-empty lines that it has written to its log, at most `count`."""
        with self._log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            # A log that was truncated meanwhile holds only the output of this program.
            start = self._log_start if size >= self._log_start else 0
            file.seek(max(start, size - _LAST_BYTES))
            text = file.read().decode(errors="replace")
        return [line.strip() for line in text.splitlines() if line.strip()][-count:]

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to it and all that it started."""
        self._send(signal.SIGKILL)

    def wait(self, seconds: float | None = None) -> int:
        """Wait for its end and return the exit code.  subprocess.TimeoutExpired after `seconds`."""
        return self._process.wait(seconds)

    def _send(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            os.killpg(self.pid, number) if number == signal.SIGKILL else os.kill(self.pid, number)


_SAME_MOMENT_SECONDS = 0.05
_ENDED_WITHIN_SECONDS = 10.0


class Identity(NamedTuple):
    """A process: its id and its creation time, in seconds since 1970."""

    pid: int
    created: float


def identity_of(pid: int) -> Identity:
    """Return the identity of a running process."""
    return Identity(pid, psutil.Process(pid).create_time())


def is_running(identity: Identity) -> bool:
    """Return whether this very process still runs, and not another one under its id."""
    try:
        process = psutil.Process(identity.pid)
        same = abs(process.create_time() - identity.created) < _SAME_MOMENT_SECONDS
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end(identities: Iterable[Identity]) -> list[int]:
    """Kill the processes that still run, with their process groups, and return their ids once they ended.

    Each part leads a process group of its own.
    """
    running = [identity for identity in identities if is_running(identity)]
    for identity in running:
        with suppress(ProcessLookupError):
            os.killpg(identity.pid, signal.SIGKILL)
    for identity in running:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(identity.pid).wait(_ENDED_WITHIN_SECONDS)
    return [identity.pid for identity in running]
