"""Carries out an erasure step by step from what the servers have, and sweeps rows that an erase covers.

It may be killed anywhere: each step is either visible to the next run or safe to repeat.

An event from before an erase can be stored after it: late, as a replayed dead letter, or because a topic is
read again.  The merger ignores it, and no view shows it; a sweep deletes it from the tables.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from schemas.tables import FEEDBACK
from services.erasure.core import leftovers, statements
from services.erasure.core.certificate import certificate
from services.erasure.core.erasures import ErasureFacts, ErasureRecord, ErasureState, ErasureStep, next_step
from services.erasure.core.statements import EVERY, noted_since, of_erasure
from services.erasure.log import ErasureLog
from services.erasure.tables import ErasureTables
from services.pipeline.core.barrier import LogBarrier

LOOK_SECONDS = 0.2
BEAT_SECONDS = 10.0
"""How often an erasure is written while it waits, so that it does not count as abandoned."""
MOST_DELETES = 5
"""How often rows may reappear before an operator has to look."""

Shown = Callable[[str], None]
"""Hears what is being done."""


def _silent(_doing: str) -> None:
    pass


@dataclass
class ErasureRun:
    """One erasure being carried out; `patience` seconds without an end of a wait end the work for now."""

    tables: ErasureTables
    log: ErasureLog
    erasure: ErasureRecord
    patience: float | None = None
    shown: Shown = _silent
    deletes: int = field(default=0, init=False)

    async def run(self) -> ErasureRecord:
        """Return the erasure once it is verified, or has a problem."""
        while self.erasure.state is not ErasureState.VERIFIED:
            merged = await self._passed()
            if merged is None:
                break
            await self.tables.run(statements.gather(self.log.topology.generation, merged))
            missing = await self._missing()
            step, facts = await self._decided(missing)
            if not await self._take(step, facts, missing):
                break
        return self.erasure

    async def _take(self, step: ErasureStep, facts: ErasureFacts, missing: list[str]) -> bool:
        """Do a step; return whether to continue."""
        match step:
            case ErasureStep.PUBLISH:
                await self._publish(missing)
            case ErasureStep.DELETE if self.deletes < MOST_DELETES:
                await self._delete()
            case ErasureStep.CERTIFY:
                await self._certify(facts)
            case _:
                await self._complain(facts)
        return step in (ErasureStep.PUBLISH, ErasureStep.DELETE) and not self.erasure.problem

    async def _passed(self) -> Mapping[int, int] | None:
        """Wait until everything logged by now is merged and stored, and return up to where that is.

        None when that takes too long.
        """
        began = beaten = time.monotonic()
        barrier = LogBarrier(await self.log.ends())
        while True:
            barrier = barrier.after(await self.log.snapshot(self.tables))
            if barrier.is_passed:
                return barrier.target
            now = time.monotonic()
            self.shown(f"Waiting for the {barrier.waits_for}")
            if self.patience is not None and now - began > self.patience:
                await self._write(problem=f"the {barrier.waits_for} is behind, or does not run")
                return None
            if now - beaten > BEAT_SECONDS:
                beaten = now
                await self._write()
            await asyncio.sleep(LOOK_SECONDS)

    async def _missing(self) -> list[str]:
        """Return the requests that are to be erased and have no erase that counts."""
        one = self.erasure
        if one.user_hash:
            return await self.tables.named(one.tenant, one.user_hash)
        erased = await self.tables.erased_by(one.tenant, one.id)
        return [request_id for request_id in one.asked_for if request_id not in erased]

    async def _decided(self, missing: list[str]) -> tuple[ErasureStep, ErasureFacts]:
        one, tables = self.erasure, self.tables
        scope = of_erasure(one.tenant, one.id)
        facts = ErasureFacts(
            by_user=bool(one.user_hash),
            missing=len(missing),
            given_up=await tables.number(statements.given_up(one.tenant, one.id)),
            remaining=await tables.left(scope),
            standing=await tables.number(leftovers.standing(scope)),
        )
        return next_step(one.rounds, facts), facts

    async def _publish(self, missing: list[str]) -> None:
        self.shown("Publishing")
        one, known = self.erasure, set(self.erasure.request_ids)
        fresh = [request_id for request_id in missing if request_id not in known]
        found = await self.tables.count(one.tenant, fresh)
        # Before it is published: what is published twice is erased once, and counted once.
        self.erasure = one.counted(fresh, found)
        await self._write()
        await self.log.publish(one.tenant, one.id, missing, await self.tables.now())
        await self._write(state=ErasureState.PUBLISHED)

    async def _delete(self) -> None:
        self.shown("Deleting")
        await self._write(state=ErasureState.MERGED)
        self.deletes += 1
        await self.tables.delete(of_erasure(self.erasure.tenant, self.erasure.id))
        await self._write(state=ErasureState.DELETED)

    async def _certify(self, facts: ErasureFacts) -> None:
        self.shown("Verifying")
        one = self.erasure
        erased = await self.tables.erased_by(one.tenant, one.id)
        generations = [recorded.generation for recorded in await self.log.check(self.tables)]
        done = certificate(
            one,
            checked_at=await self.tables.now(),
            left={FEEDBACK: facts.standing, **facts.remaining},
            later=facts.missing,
            erased_at=max(erased.values(), default=None),
            topics=await self.log.kept(generations),
        )
        await self._write(state=ErasureState.VERIFIED, certificate=done)

    async def _complain(self, facts: ErasureFacts) -> None:
        await self._write(problem=complaint(facts))

    async def _write(
        self,
        *,
        state: ErasureState | None = None,
        problem: str = "",
        certificate: Mapping[str, object] | None = None,
    ) -> None:
        one = self.erasure
        self.erasure = replace(one, state=state or one.state, problem=problem, certificate=certificate)
        await self.tables.write(self.erasure)


def complaint(facts: ErasureFacts) -> str:
    """Return why an erasure cannot finish, and what to do."""
    if facts.given_up:
        return (
            f"the merger gave {facts.given_up} of its erase events up: `afterword dlq list --stage merger`"
            " shows them, `afterword dlq replay` brings them back"
        )
    if facts.standing:
        return f"{facts.standing} requests still have a row, though their erase is merged: please report this"
    if facts.missing:
        return f"{facts.missing} requests are still not erased after several tries: please report this"
    return "rows that were deleted come back: does anything restore or rebuild tables right now?"


async def settled(log: ErasureLog, tables: ErasureTables, patience: float) -> Mapping[int, int] | None:
    """Wait until all that the merger has committed is stored, dead letters too, and return up to where.

    None if that takes longer.
    """
    began = time.monotonic()
    snapshot = await log.snapshot(tables)
    barrier = LogBarrier(snapshot.merged).after(snapshot)
    while not barrier.is_passed:
        if time.monotonic() - began > patience:
            return None
        await asyncio.sleep(LOOK_SECONDS)
        barrier = barrier.after(await log.snapshot(tables))
    return barrier.target


MARGIN = timedelta(minutes=2)
"""How much older than the last sweep a part may be and still be looked at: inserts take their time."""
WHOLE_AFTER = timedelta(days=1)
"""How often everything is looked at; in between, what was written since the last time."""
PATIENCE_SECONDS = 20.0


class ErasureSweep:
    """Repeated sweeps.  It remembers only the time of the last one, and checks all rows when that is lost."""

    def __init__(self) -> None:
        self._since: datetime | None = None
        self._whole_at: datetime | None = None

    async def run(self, tables: ErasureTables, log: ErasureLog) -> Mapping[str, int]:
        """Return how many rows went from each table."""
        now = await tables.now()
        merged = await settled(log, tables, PATIENCE_SECONDS)
        if merged is not None:
            await tables.run(statements.gather(log.topology.generation, merged))
        if self._since is None or self._whole_at is None or now - self._whole_at > WHOLE_AFTER:
            await tables.run(statements.gather_states())
            gone = Counter(await tables.delete(EVERY))
            self._whole_at = now
        else:
            since = self._since.isoformat(timespec="seconds")
            gone = Counter(await tables.delete(noted_since(since)))
            gone.update(await tables.delete(EVERY, since))
        self._since = now - MARGIN
        return gone
