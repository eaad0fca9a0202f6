"""An erasure, the ids of its events, and its next step.

Nothing depends on remembered progress: an erasure that was interrupted is inspected again, and what is
missing is done.  Its state is for clients and operators.  The event that erases a request has the same id in
each attempt, so that what was published is known from the log.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any, Self
from uuid import UUID

import orjson

SOURCE = "erasure"
"""What erase events name as their dialect."""

PREFIX_CHARACTERS = 18
"""`xxxxxxxx-xxxx-8xxx`: what all event ids of one erasure begin with."""


def user_hash(tenant: str, user_id: str) -> str:
    """Return the hash of a user as tables have it, 32 hex digits; their DDL computes the same."""
    return sha256(f"{tenant}/{user_id}".encode()).digest()[:16].hex()


def event_id(erasure: UUID, request_id: str) -> UUID:
    """Return the id of the event by which this erasure erases the request: a UUIDv8."""
    whose = sha256(erasure.bytes).digest()[:8]
    which = sha256(erasure.bytes + request_id.encode()).digest()[:8]
    number = int.from_bytes(whose + which)
    number = number & ~(0xF << 76) | 0x8 << 76
    return UUID(int=number & ~(0x3 << 62) | 0x2 << 62)


def prefix(erasure: UUID) -> str:
    """Return the characters that all event ids of an erasure begin with."""
    return str(event_id(erasure, ""))[:PREFIX_CHARACTERS]


MOST_ROUNDS = 5
"""How often new requests are looked for: a user who keeps sending feedback must not keep it from ending."""
ABANDONED_AFTER = timedelta(seconds=30)
"""A command that works at its erasure writes it more often than that; else the sink resumes it."""
AGAIN_AFTER = timedelta(seconds=60)
"""Seconds before an erasure with a problem is retried."""


class ErasureState(StrEnum):
    """How far an erasure is."""

    ASKED = "asked"
    PUBLISHED = "published"
    """Erase events are in the log."""
    MERGED = "merged"
    """The latest rows are gone, and nothing names the user but what is being deleted."""
    DELETED = "deleted"
    """History, dead letters and older versions of the rows are deleted."""
    VERIFIED = "verified"
    """Every table was checked again; the certificate lists what is retained, and until when."""


class RequestedBy(StrEnum):
    """How the erasure was requested."""

    API = "api"
    COMMAND = "command"


@dataclass(frozen=True, kw_only=True)
class ErasureRecord:
    """One erasure, as the table has it.  Its subject is either `user_hash` or `asked_for`."""

    tenant: str
    id: UUID
    state: ErasureState
    asked_at: datetime
    asked_by: RequestedBy
    user_hash: str = ""
    asked_for: tuple[str, ...] = ()
    request_ids: tuple[str, ...] = ()
    found: Mapping[str, int] = field(default_factory=dict)
    rounds: int = 0
    problem: str = ""
    certificate: Mapping[str, Any] | None = None
    updated: datetime | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Return the erasure of a row: times RFC 3339, numbers as numbers."""
        certificate = row["certificate"]
        return cls(
            tenant=row["tenant"],
            id=UUID(row["id"]),
            state=ErasureState(row["state"]),
            asked_at=datetime.fromisoformat(row["asked_at"]),
            asked_by=RequestedBy(row["asked_by"]),
            user_hash=row["user_hash"],
            asked_for=tuple(row["asked_for"]),
            request_ids=tuple(row["request_ids"]),
            found=row["found"],
            rounds=row["rounds"],
            problem=row["problem"],
            certificate=orjson.loads(certificate) if certificate else None,
            updated=datetime.fromisoformat(row["updated"]),
        )

    def row(self) -> dict[str, Any]:
        """Return the row; ClickHouse dates it."""
        return {
            "tenant": self.tenant,
            "id": str(self.id),
            "state": self.state,
            "asked_at": self.asked_at.isoformat(),
            "asked_by": self.asked_by,
            "user_hash": self.user_hash,
            "asked_for": self.asked_for,
            "request_ids": self.request_ids,
            "found": self.found,
            "rounds": self.rounds,
            "problem": self.problem,
            "certificate": "" if self.certificate is None else orjson.dumps(self.certificate).decode(),
        }

    def counted(self, request_ids: Iterable[str], found: Mapping[str, int]) -> "ErasureRecord":
        """Return it with requests that it is going to erase, and how many rows these have."""
        known = set(self.request_ids)
        more = [request_id for request_id in dict.fromkeys(request_ids) if request_id not in known]
        total = {name: self.found.get(name, 0) + found.get(name, 0) for name in {**self.found, **found}}
        return replace(self, request_ids=(*self.request_ids, *more), found=total, rounds=self.rounds + 1)

    def is_due(self, now: datetime) -> bool:
        """Return whether the sink should work on it."""
        if self.state is ErasureState.VERIFIED:
            return False
        since = now - (self.updated or self.asked_at)
        if self.problem:
            return since >= AGAIN_AFTER
        return self.asked_by is RequestedBy.API or since >= ABANDONED_AFTER


class ErasureStep(StrEnum):
    """What an erasure needs next."""

    PUBLISH = "publish"
    DELETE = "delete"
    CERTIFY = "certify"
    COMPLAIN = "complain"


@dataclass(frozen=True, kw_only=True)
class ErasureFacts:
    """What the servers have, once everything that was in the log has passed all stages.

    `by_user`: whom it is about is a user, about whom more may be on its way.  `missing` requests are to be
    erased and have no erase that counts; `given_up` of their erase events are dead letters; `remaining` rows
    at or below an erase remain, by table; `standing` requests have a row that the erase should have taken.
    """

    by_user: bool
    missing: int
    given_up: int
    remaining: Mapping[str, int]
    standing: int


def next_step(rounds: int, facts: ErasureFacts) -> ErasureStep:
    """Return what to do next; after `MOST_ROUNDS` nothing more is published."""
    if facts.given_up:
        return ErasureStep.COMPLAIN
    if facts.missing and rounds < MOST_ROUNDS:
        return ErasureStep.PUBLISH
    if facts.missing and not facts.by_user:
        return ErasureStep.COMPLAIN
    if any(facts.remaining.values()):
        return ErasureStep.DELETE
    return ErasureStep.COMPLAIN if facts.standing else ErasureStep.CERTIFY
