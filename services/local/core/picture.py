"""The stack at one moment, as the screens show it.  Pure: values only."""

from dataclasses import dataclass, field

from services.local.core.flow import Flow, Rates
from services.local.core.supervision import FIT, State


@dataclass(frozen=True, slots=True)
class PartRow:
    """A part with its process id, if it runs, the seconds since it started, and where people find it."""

    name: str
    state: State
    pid: int | None
    up_seconds: float
    url: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that the screens show.  `download`: bytes here and bytes needed, while there is one."""

    parts: tuple[PartRow, ...]
    flow: Flow | None = None
    rates: Rates = field(default_factory=Rates)
    download: tuple[int, int] | None = None

    @property
    def is_ready(self) -> bool:
        """Tell whether every part is what others need it to be."""
        return all(part.state.phase in FIT for part in self.parts)


def duration(seconds: float) -> str:
    """Return a duration in the largest unit that says enough: `8 s`, `12 min`, `3 h`, `2 d`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
