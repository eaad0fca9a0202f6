"""The log of events as ingest uses it: its interface, its records, and the errors that it raises."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

from services.ingest.core.errors import Code, Rejection

NO_OFFSET = -1
"""In place of an offset: the event is in the log, but Kafka did not return its offset."""

Record: TypeAlias = tuple[bytes, bytes]
"""Key and value."""

OVERLOADED = "too many bytes are waiting for Kafka, of all tenants or of this one; the event was not queued"


class EventRange(NamedTuple):
    """Events with consecutive offsets in one partition."""

    first: asyncio.Future[int]
    """The offset of the first event, or NO_OFFSET."""
    indexes: list[int]
    """Indexes of the events in the sequence given to `publish_all`, in the order of their offsets."""


class LogUnavailable(Exception):  # noqa: N818 (named as its error code)
    """Kafka did not acknowledge an event.  `unknown`: the event may still be written, at most once."""

    def __init__(self, reason: str, *, unknown: bool) -> None:
        super().__init__(reason)
        self.unknown = unknown


class Overloaded(Exception):  # noqa: N818
    """The event was certainly not written: too many bytes wait for Kafka, or its text names the reason."""


def rejection_of(refusal: LogUnavailable | Overloaded) -> Rejection:
    """Return the rejection of an event that the log did not accept."""
    if isinstance(refusal, Overloaded):
        return Rejection(Code.OVERLOADED, str(refusal) or OVERLOADED)
    return Rejection(Code.LOG_UNAVAILABLE, str(refusal))


class EventLog(Protocol):
    """The events topic, for writing."""

    @property
    def epoch(self) -> int:
        """A number that grows when queued events may have been lost.

        A caller that sends events in order stops when it changes, so that none overtakes another.
        """
        ...

    @property
    def generation(self) -> int:
        """The topic generation that the most recently published event was queued for."""
        ...

    def publish(self, key: bytes, value: bytes) -> asyncio.Future[int]:
        """Queue an event, and return a future of its offset, or of NO_OFFSET.

        Raises LogUnavailable or Overloaded, at once or from the future.  Events of one key get offsets in the
        order of the calls.
        """
        ...

    def publish_all(self, records: Sequence[Record]) -> list[EventRange]:
        """Queue events of one tenant, and return ranges of offsets; each event is in exactly one range.

        Raises as `publish` does, and then no event was queued.  Events of one key keep their order.
        """
        ...

    def readiness(self) -> str | None:
        """Return why events cannot be written at the moment, or None."""
        ...

    def liveness(self) -> str | None:
        """Return why the process needs a restart, or None."""
        ...
