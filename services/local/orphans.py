"""Checks before a stack starts: kills orphaned parts of an earlier one, and refuses taken ports."""

from collections.abc import Iterable
from contextlib import suppress

import psutil

from services.local.home import Home
from services.local.ports import is_free
from services.local.processes import Identity, end
from services.local.runners import PartRunner


class PortTakenError(Exception):
    """Raised when ports that the stack needs are taken; the text names the variable to change for each."""


def end_orphans(home: Home) -> list[int]:
    """Kill parts whose supervisor died, and return their process ids.

    Call it only while the home is owned: then no supervisor of the recorded parts runs any more.
    """
    parts = home.state().get("parts", {})
    recorded = [Identity(part["pid"], part["created"]) for part in parts.values() if part["pid"]]
    ended = end(recorded)
    for name in parts:
        home.forget_pid(name)
    home.forget_state()
    return ended


def check_ports(runners: Iterable[PartRunner]) -> None:
    """Raise PortTakenError if ports are taken, naming the process that has each and the variable to set."""
    taken = [
        f"port {runner.port} for {runner.part.name} is taken{_by(runner.port)}: "
        f"set {runner.variable} to another"
        for runner in runners
        if runner.port and not is_free(runner.port)
    ]
    if taken:
        raise PortTakenError("\n".join(taken))


def _by(port: int) -> str:
    """Return the process that listens on a port, where the system reveals it."""
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return ""
