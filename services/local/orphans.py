"""What must hold before a stack starts: nothing of an earlier one runs, and every port is free."""

from collections.abc import Iterable
from contextlib import suppress

import psutil

from services.local.home import Home
from services.local.ports import is_free
from services.local.processes import Identity, end
from services.local.runners import Runner


class PortTakenError(Exception):
    """Raised when ports that the stack needs are taken; a line for each says which variable to change."""


def end_orphans(home: Home) -> list[int]:
    """Kill the parts that a supervisor which died left running, and return their process ids.

    Call it only while the home is owned: then whatever the last supervisor recorded has nobody to stop it.
    """
    parts = home.state().get("parts", {})
    recorded = [Identity(part["pid"], part["created"]) for part in parts.values() if part["pid"]]
    ended = end(recorded)
    for name in parts:
        home.forget_pid(name)
    home.forget_state()
    return ended


def check_ports(runners: Iterable[Runner]) -> None:
    """Raise PortTakenError naming every port that is taken, who has it, and what to set."""
    taken = [
        f"port {runner.port} for {runner.part.name} is taken{_by(runner.port)}: "
        f"set {runner.variable} to another"
        for runner in runners
        if runner.port and not is_free(runner.port)
    ]
    if taken:
        raise PortTakenError("\n".join(taken))


def _by(port: int) -> str:
    """Return who listens on a port, where the system tells."""
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return ""
