"""What a reader waits for: `min_version` and `wait`.  Pure."""

import re
from dataclasses import dataclass

from schemas.identity import split_version
from services.query.core.problems import Fault, invalid

_DURATION = re.compile(r"([0-9]{1,9}(?:[.][0-9]{1,9})?)(ms|s)", re.ASCII)
_VERSION = re.compile(r"[0-9]{1,20}", re.ASCII)

NOT_A_DURATION = "a number of seconds or milliseconds with its unit, such as 2s or 500ms"
NOT_A_VERSION = "the `version` of an acknowledgement: a whole number below 2^64"


@dataclass(frozen=True)
class Wait:
    """An event that has to have passed, and for how many seconds at most that is waited for."""

    version: int
    seconds: float

    @property
    def generation(self) -> int:
        """The generation of the topics that the event is in."""
        return split_version(self.version)[0]

    @property
    def offset(self) -> int:
        """Its offset there."""
        return split_version(self.version)[1]


def parse_version(text: str) -> int:
    """Return a version; raise Problem for what is none."""
    if not _VERSION.fullmatch(text) or int(text) >= 2**64:
        raise invalid(Fault("min_version", NOT_A_VERSION))
    return int(text)


def parse_wait(text: str, most: float) -> float:
    """Return seconds; raise Problem for what is no duration, or longer than `most` seconds."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise invalid(Fault("wait", NOT_A_DURATION))
    seconds = float(match[1]) / (1000 if match[2] == "ms" else 1)
    if seconds > most:
        raise invalid(Fault("wait", f"at most {most:g}s here; ask again to wait longer"))
    return seconds


def check_generation(wait: Wait, current: int) -> None:
    """Raise Problem for a version that only a later generation of the topics can have."""
    if wait.generation > current:
        raise invalid(
            Fault(
                "min_version",
                f"it is of generation {wait.generation} of the topics, and this service reads generation "
                f"{current}: no acknowledgement of this installation has named it",
            )
        )
