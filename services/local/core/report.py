"""What `afterword status` says.  Pure: values only."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from services.local.core.supervision import FIT


@dataclass(frozen=True, slots=True)
class PartReport:
    """A part as the supervisor last recorded it, checked against what runs."""

    name: str
    state: str
    pid: int | None
    uptime_seconds: float | None
    restarts: int
    detail: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What `afterword status` says.  `lag` is by stage, in records; None: the server did not answer."""

    home: str
    supervisor: int | None
    parts: tuple[PartReport, ...]
    events: int | None = None
    lag: Mapping[str, int] | None = None
    rows: int | None = None
    dead_letters: int | None = None
    unreachable: tuple[str, ...] = field(default=())
    refusals: tuple[str, ...] = field(default=())
    """Why merger or sink do not work, and what ends it."""
    kafka: tuple[str, ...] = field(default=())
    """What is not as it should be with Kafka's brokers and the copies of topics."""

    @property
    def ready(self) -> bool:
        """Tell whether all parts are fit (where a supervisor runs them here), and both servers answer.

        While merger or sink refuse to work, nothing is.
        """
        return not self.unreachable and not self.refusals and all_fit(self.parts)

    def as_json(self) -> dict[str, Any]:
        """Return the report for scripts."""
        return {"ready": self.ready, **asdict(self)}


def all_fit(parts: tuple[PartReport, ...]) -> bool:
    """Tell whether every part is what others need it to be."""
    return all(part.state in {*FIT} for part in parts)
