"""Fuzzes a service that runs: rounds of examples, and a look at the process after each."""

import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, seed, settings

from fuzz.calls import caller
from fuzz.conversations import conversations
from fuzz.framings import exchanges
from fuzz.health import Health
from fuzz.sockets import exchange, talk
from tests.support.stack.whole_stack import WholeStack

SERVICES = ("ingest", "query")
_EXAMPLES = {"calls": 10, "socket": 20, "between": 20}
"""Between two looks at the process."""
_GAUGES = re.compile(r"(ingest_(inflight|upload)_bytes|ingest_connections|query_connections)$")

Round = Callable[[int, int], Counter[int]]
"""Takes a seed and a number of examples; how often each status came back."""


@dataclass
class Ran:
    """The result of a target."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    complaint: str | None = None
    health: str = ""

    def __str__(self) -> str:
        """All of it in a line."""
        counts = ", ".join(f"{status}: {count:,}" for status, count in sorted(self.statuses.items()))
        found = self.complaint or "nothing found"
        total = self.statuses.total()
        return f"{found}; {total:,} answers in {self.seconds:.0f} s ({counts}); {self.health}"


def fuzz(stack: WholeStack, name: str, seconds: float, number: int) -> Ran:
    """Fuzz `calls-`, `socket-` or `between-SERVICE` for so long, or until something is found."""
    kind, _, service = name.partition("-")
    url = {"ingest": stack.ingest_url, "query": stack.query_url}[service]
    health = Health(stack.pid(service), f"{url}/metrics", _GAUGES)
    port = int(url.rpartition(":")[2])
    round_: Round = caller(url) if kind == "calls" else _talker(kind, service, port)
    ran, began = Ran(), time.monotonic()
    health.look()
    logged = _log_size(stack, service)
    while ran.complaint is None and (ran.seconds < seconds or not ran.statuses):
        number += 1
        ran.complaint = _tried(round_, number, _EXAMPLES[kind], ran.statuses)
        if ran.complaint is None and stack.pid(service) != health.pid:
            ran.complaint = "the process ended, and another one was started"
        elif ran.complaint is None:
            health.look()
        ran.seconds = time.monotonic() - began
    ran.complaint = ran.complaint or health.complaint() or _logged(stack, service, logged)
    ran.health = health.summary()
    return ran


def _tried(round_: Round, number: int, count: int, statuses: Counter[int]) -> str | None:
    """Run a round; what was found, with the smallest example that shows it."""
    try:
        statuses.update(round_(number, count))
    except Exception as error:  # noqa: BLE001 (whatever it is, it is what was looked for)
        notes = "\n".join(getattr(error, "__notes__", ()))
        return f"seed {number}: {type(error).__name__}: {error}\n{notes}"
    return None


def _log_size(stack: WholeStack, service: str) -> int:
    return (stack.home / "logs" / f"{service}.log").stat().st_size


def _logged(stack: WholeStack, service: str, start: int) -> str | None:
    """Return what a service logged since then and its callers did not see: unhandled exceptions."""
    with (stack.home / "logs" / f"{service}.log").open("rb") as file:
        file.seek(start)
        failed = [line for line in file if b"Traceback" in line]
    if not failed:
        return None
    return f"{len(failed)} exceptions in its log: {failed[0][-1500:].decode(errors='replace')}"


def _talker(kind: str, service: str, port: int) -> Round:
    drawn: Any = {"socket": conversations, "between": exchanges}[kind](service)
    hold: Any = {"socket": talk, "between": exchange}[kind]

    def talked(number: int, count: int) -> Counter[int]:
        statuses: Counter[int] = Counter()

        @seed(number)
        @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))
        @given(drawn)
        def one(conversation: Any) -> None:
            statuses.update(hold(port, conversation))

        one()
        return statuses

    return talked
