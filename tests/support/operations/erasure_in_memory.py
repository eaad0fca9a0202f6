"""Servers in memory for erasing: a log, a merger and a sink that are always done, and deaths on order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from schemas.tables import DEAD_LETTERS, FEEDBACK, FEEDBACK_EVENTS, FEEDBACK_STATE
from services.erasure.core import leftovers, statements
from services.erasure.core.erasures import ErasureRecord, ErasureState, RequestedBy, event_id, user_hash
from services.erasure.core.statements import ErasureScope, of_erasure
from services.pipeline.core.snapshot import PipelineSnapshot
from services.runtime.clickhouse.core.statement import Statement

AT = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
TENANT, USER = "acme", "u-1"
ID = UUID(int=7)


class DiedError(Exception):
    """The process is gone; what it did before stays done."""


@dataclass(frozen=True)
class Event:
    """An event in the log; its place there is its version."""

    request_id: str
    user: str = ""
    erase: UUID | None = None


@dataclass
class World:
    """Everything that outlives a process.  `coming` is appended bit by bit, while somebody waits."""

    log: list[Event] = field(default_factory=list)
    coming: list[Event] = field(default_factory=list)
    stored: dict[int, Event] = field(default_factory=dict)
    """Events in ClickHouse, by version."""
    erased: dict[tuple[str, int], UUID] = field(default_factory=dict)
    erasure: ErasureRecord | None = None
    lives: int | None = None
    """How many calls the process has left; None: it does not die."""

    def step(self) -> None:
        """Count a call, and die if it was the last one."""
        if self.lives is not None:
            self.lives -= 1
            if self.lives < 0:
                raise DiedError

    def append(self, *events: Event) -> None:
        """Log events, and store them."""
        for event in events:
            self.stored[len(self.log)] = event
            self.log.append(event)

    def upto(self, request_id: str) -> int:
        """Return the version up to which a request is erased, -1 if it is not."""
        return max((version for name, version in self.erased if name == request_id), default=-1)

    def left(self) -> dict[int, Event]:
        """Return stored events at or below an erase of their request."""
        return {
            version: one
            for version, one in self.stored.items()
            if one.erase is None and version <= self.upto(one.request_id)
        }


@dataclass
class FakeTables:
    """ClickHouse, as `Work` uses it."""

    world: World

    async def now(self) -> datetime:
        """Return always the same time."""
        return AT

    async def write(self, erasure: ErasureRecord) -> None:
        """Keep an erasure."""
        self.world.step()
        self.world.erasure = replace(erasure, updated=AT)

    async def run(self, statement: Statement, **_: int) -> None:
        """Note the erase events."""
        self.world.step()
        assert statement == statements.gather(0, {0: len(self.world.log)})
        for version, one in self.world.stored.items():
            if one.erase is not None:
                self.world.erased[one.request_id, version] = one.erase

    async def named(self, tenant: str, user: str) -> list[str]:
        """Return the requests that name the user and are not erased since."""
        self.world.step()
        assert (tenant, user) == (TENANT, user_hash(TENANT, USER))
        return sorted(
            {
                one.request_id
                for version, one in self.world.stored.items()
                if one.user == USER and version > self.world.upto(one.request_id)
            }
        )

    async def erased_by(self, _tenant: str, erasure: UUID) -> dict[str, datetime]:
        """Return what an erasure erased."""
        self.world.step()
        return {
            name: AT for (name, _), whose in self.world.erased.items() if whose == event_id(erasure, name)
        }

    async def count(self, _tenant: str, request_ids: Iterable[str]) -> dict[str, int]:
        """Count rows of requests."""
        self.world.step()
        wanted = set(request_ids)
        own = [one for one in self.world.stored.values() if one.request_id in wanted and one.erase is None]
        return {FEEDBACK: len({one.request_id for one in own}), FEEDBACK_EVENTS: len(own)}

    async def number(self, statement: Statement) -> int:
        """Return that nothing was given up, and that no row stands."""
        self.world.step()
        expected = statements.given_up(TENANT, ID), leftovers.standing(of_erasure(TENANT, ID))
        assert statement in expected
        return 0

    async def left(self, scope: ErasureScope) -> dict[str, int]:
        """Count what is at or below erases."""
        self.world.step()
        assert scope == of_erasure(TENANT, ID)
        return {FEEDBACK_EVENTS: len(self.world.left()), FEEDBACK_STATE: 0, DEAD_LETTERS: 0}

    async def delete(self, _scope: ErasureScope) -> Mapping[str, int]:
        """Delete that, one by one."""
        for version in list(self.world.left()):
            self.world.step()
            del self.world.stored[version]
        return {}


@dataclass
class FakeLog:
    """Kafka, as `Work` uses it."""

    world: World
    topology: Any = field(default_factory=lambda: SimpleNamespace(generation=0))

    async def ends(self) -> dict[int, int]:
        """Return the end; what is coming comes meanwhile."""
        self.world.step()
        if self.world.coming:
            self.world.append(self.world.coming.pop(0))
        return {0: len(self.world.log)}

    async def snapshot(self, _tables: Any) -> PipelineSnapshot:
        """Return that everybody is done."""
        self.world.step()
        end = {0: len(self.world.log)}
        return PipelineSnapshot(
            at=AT,
            logged=end,
            merged=end,
            states={},
            stored_states={},
            stored_events=end,
            letters={},
            stored_letters={},
        )

    async def publish(self, tenant: str, erasure: UUID, request_ids: Iterable[str], now: datetime) -> None:
        """Append erase events, one by one."""
        assert (tenant, now) == (TENANT, AT)
        for one in request_ids:
            self.world.step()
            self.world.append(Event(one, erase=event_id(erasure, one)))

    async def check(self, _tables: Any) -> list[Any]:
        """Return the one generation."""
        self.world.step()
        return [SimpleNamespace(generation=0)]

    async def kept(self, _generations: Iterable[int]) -> dict[str, dict[str, str]]:
        """Return no topics."""
        return {}


def an_erasure(**changes: Any) -> ErasureRecord:
    """Return an erasure of the user that was asked for just now."""
    given = {"user_hash": user_hash(TENANT, USER), **changes}
    return ErasureRecord(
        tenant=TENANT, id=ID, state=ErasureState.ASKED, asked_at=AT, asked_by=RequestedBy.API, **given
    )
