"""What ingest needs of the log, and the two ways in which the log refuses."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

from services.ingest.core.errors import Code, Rejection

NO_OFFSET = -1
"""In place of an offset: the event is in the log, but Kafka did not say where."""


Record: TypeAlias = tuple[bytes, bytes]
"""Key and value."""

OVERLOADED = (
    "more waits for Kafka at the moment than may, of all tenants or of this one; the event was not queued"
)


class Stretch(NamedTuple):
    """Events that lie one behind the other in the log."""

    first: asyncio.Future[int]
    """The offset of the first of them, or NO_OFFSET."""
    places: list[int]
    """Which they are of those that were handed over together, in their order in the log."""


class LogUnavailable(Exception):  # noqa: N818 (named as callers are told)
    """Kafka did not acknowledge an event.  `unknown`: it may still be written, at most once."""

    def __init__(self, reason: str, *, unknown: bool) -> None:
        super().__init__(reason)
        self.unknown = unknown


class Overloaded(Exception):  # noqa: N818
    """Too much waits for Kafka, or its text says what else: the event was certainly not written."""


def rejection_of(refusal: LogUnavailable | Overloaded) -> Rejection:
    """Return the response to a request whose event the log did not take."""
    if isinstance(refusal, Overloaded):
        return Rejection(Code.OVERLOADED, str(refusal) or OVERLOADED)
    return Rejection(Code.LOG_UNAVAILABLE, str(refusal))


class Log(Protocol):
    """The topic of events, for writing."""

    @property
    def epoch(self) -> int:
        """A number that grows when events handed over before may have been lost.

        Whoever sends several events in order stops when it changes, so that none overtakes another.
        """
        ...

    @property
    def generation(self) -> int:
        """The generation of the topics that the event published last went to."""
        ...

    def publish(self, key: bytes, value: bytes) -> asyncio.Future[int]:
        """Queue an event, and return a future of its offset, or of NO_OFFSET.

        Raises LogUnavailable or Overloaded, at once or from the future.  Events of one key get their offsets
        in the order of these calls.
        """
        ...

    def publish_all(self, records: Sequence[Record]) -> list[Stretch]:
        """Queue events of one tenant, and return where to learn their offsets: each is in one stretch.

        Raises as `publish` does, and then none of them was queued.  Their keys' orders are kept likewise.
        """
        ...

    def readiness(self) -> str | None:
        """Return why events cannot be written right now, or None."""
        ...

    def liveness(self) -> str | None:
        """Return why only a restart can help, or None."""
        ...
