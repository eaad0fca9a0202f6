"""Whether a server that is needed does its work: said once when that changes, not with each try."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog

from services.runtime.core.backoff import delays

T = TypeVar("T")

log = structlog.get_logger()

LONGEST_PAUSE_SECONDS = 2.0
"""However long a server was away, it is asked again after so long, and its return noticed within that."""
SLOW_SECONDS = 10.0
"""A server that takes longer for one request does not do its work, though it took the connection."""

Sleep = Callable[[float], Awaitable[None]]
Clock = Callable[[], float]


@dataclass
class Outage:
    """What is known of one server from one route's point of view.  `since` is None while it works."""

    server: str
    route: str
    clock: Clock
    sleep: Sleep
    since: float | None = None
    tried_at: float | None = None
    """When the try began that the server has not answered yet."""
    reason: str = ""
    failures: int = 0
    """How many attempts have failed."""

    async def outlast(self, attempt: Callable[[], Awaitable[T]], *errors: type[Exception]) -> T:
        """Return what the attempt returns, trying again after these errors for as long as it takes."""
        for delay in delays(longest=LONGEST_PAUSE_SECONDS):
            try:
                result = await self._tried(attempt)
            except errors as error:
                self._failed(str(error) or type(error).__name__)
                await self.sleep(delay)
            else:
                self._worked()
                return result
        raise AssertionError

    async def _tried(self, attempt: Callable[[], Awaitable[T]]) -> T:
        self.tried_at = self.clock()
        try:
            return await attempt()
        finally:
            self.tried_at = None

    def _failed(self, reason: str) -> None:
        self.reason = reason
        self.failures += 1
        if self.since is None:
            self.since = self.clock()
            log.warning("server stopped answering", server=self.server, route=self.route, reason=reason)

    def _worked(self) -> None:
        if self.since is not None:
            seconds = round(self.clock() - self.since, 1)
            log.info("server answered again", server=self.server, route=self.route, seconds=seconds)
        self.since, self.reason = None, ""

    def complaint(self) -> str | None:
        """Return what is wrong in a few words, or None."""
        slow = 0.0 if self.tried_at is None else self.clock() - self.tried_at
        if self.since is None:
            return f"{self.server} has not answered for {slow:.0f} s" if slow > SLOW_SECONDS else None
        return f"{self.server} has not done its work for {self.clock() - self.since:.0f} s: {self.reason}"
