"""Starts the programs of the stack such that none of them outlives its parent."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import services
from services.local.processes import identity_of

_DIE_WITH_PARENT = Path(__file__).with_name("die_with_parent.py")
_LAST_BYTES = 8192
_ROOT = Path(services.__file__).parent.parent


@dataclass(frozen=True)
class Command:
    """A program with its arguments and its whole environment."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


def python_module(module: str, *arguments: str, environment: Mapping[str, str]) -> Command:
    """Return the command that runs a module of this installation, whatever the working directory holds."""
    path = os.pathsep.join(filter(None, (str(_ROOT), environment.get("PYTHONPATH", ""))))
    return Command(
        (sys.executable, "-P", "-m", module, *arguments),
        {**environment, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
    )


class Child:
    """A running program: its output appended to a log file, its life tied to the thread that made it."""

    def __init__(self, command: Command, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log, self._log_start = log, log.stat().st_size if log.exists() else 0
        tied = (sys.executable, "-I", "-S", str(_DIE_WITH_PARENT), str(os.getpid()), *command.argv)
        with log.open("ab") as output:
            # A session of its own: Ctrl-C reaches the supervisor alone, which stops the parts in order.
            self._process = subprocess.Popen(
                tied,
                env=dict(command.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.identity = identity_of(self.pid)

    def exit_code(self) -> int | None:
        """Return None while it runs, then its exit code; a negative one is the signal that ended it."""
        return self._process.poll()

    def last_lines(self, count: int) -> list[str]:
        """Return the last lines with any text that it has written to its log."""
        with self._log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            # A log that was cut meanwhile holds only what this program wrote.
            start = self._log_start if size >= self._log_start else 0
            file.seek(max(start, size - _LAST_BYTES))
            text = file.read().decode(errors="replace")
        return [line.strip() for line in text.splitlines() if line.strip()][-count:]

    def terminate(self) -> None:
        """Ask it to stop."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, with whatever it started."""
        self._send(signal.SIGKILL)

    def wait(self, seconds: float | None = None) -> int:
        """Return its exit code once it has ended; subprocess.TimeoutExpired when it takes longer."""
        return self._process.wait(seconds)

    def _send(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            os.killpg(self.pid, number) if number == signal.SIGKILL else os.kill(self.pid, number)
