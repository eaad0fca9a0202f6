"""Puts dead letters back, part by part: write, wait until that is acknowledged, then mark.

Killed anywhere, the same call begins with what is not marked.  What was written and not marked is written
again at the same place, which changes nothing.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from schemas.limits import MIB
from services.operations.dlq.core.decisions import Decided, Ground, Insert, Leave, Send, decide
from services.operations.dlq.core.letters import Bytes, Id, Letter
from services.operations.dlq.core.selection import Selection
from services.operations.dlq.core.statements import mark_replayed
from services.operations.dlq.tables import Tables
from services.runtime.clickhouse.core.bisection import halves
from services.runtime.clickhouse.insert import RowsRefusedError, RowWriter

PART_LETTERS, PART_BYTES = 200, 16 * MIB
"""How much is in the air at once: at most that many letters, or one that is larger."""


class Events(Protocol):
    """Where events go back to."""

    async def send(self, events: Sequence[Send]) -> None:
        """Return once Kafka has them all."""


def parts(letters: Iterable[Letter]) -> Iterator[list[Letter]]:
    """Cut letters into parts that are small enough to be held in memory."""
    part: list[Letter] = []
    size = 0
    for letter in letters:
        weight = letter.size or 0
        if part and (len(part) == PART_LETTERS or size + weight > PART_BYTES):
            yield part
            part, size = [], 0
        part.append(letter)
        size += weight
    if part:
        yield part


async def decided(
    tables: Tables, selection: Selection, ground: Ground, correction: bytes | None = None
) -> AsyncIterator[list[Decided]]:
    """Yield everything that is selected, part by part, with what is to be done about it.

    `correction` stands for a body that is not written down yet.
    """
    async for page in tables.pages(selection):
        for part in parts(page):
            ids = [letter.id for letter in part]
            known = replace(ground, places=await tables.places(ids), erased=await tables.erased(ids))
            contents = await tables.contents(ids)
            yield [
                Decided(one, decide(one, _with(contents[one.id], correction), known))
                for one in part
                if one.id in contents
            ]


def _with(content: Bytes, correction: bytes | None) -> Bytes:
    return content if correction is None else content._replace(correction=correction)


async def replay(
    tables: Tables,
    plan: AsyncIterator[list[Decided]],
    events: Events,
    rows: RowWriter,
    shown: Callable[[Sequence[Id], Sequence[Decided], int], None],
) -> None:
    """Carry the plan out.

    `shown` hears of each part: what was put back, what was refused again, and how many were left.
    """
    async for part in plan:
        sends = {one.letter.id: one.decision for one in part if isinstance(one.decision, Send)}
        if sends:
            await events.send(list(sends.values()))
        inserted, refused = await _inserted(part, rows)
        done = [*sends, *inserted]
        if done:
            await tables.mark(mark_replayed(done))
        shown(done, refused, len(part) - len(done) - len(refused))


async def _inserted(part: Sequence[Decided], rows: RowWriter) -> tuple[list[Id], list[Decided]]:
    """Insert the rows of a part; return which are stored, and which are refused again."""
    by_table: dict[str, list[tuple[Letter, bytes]]] = {}
    for letter, decision in part:
        if isinstance(decision, Insert):
            by_table.setdefault(decision.table, []).append((letter, decision.line))
    stored: list[Id] = []
    refused: list[Decided] = []
    pending: list[tuple[str, Sequence[tuple[Letter, bytes]]]] = list(by_table.items())
    while pending:
        table, several = pending.pop()
        try:
            await rows.insert(table, [line for _, line in several])
        except RowsRefusedError as error:
            if len(several) == 1:
                refused.append(Decided(several[0][0], Leave(f"ClickHouse refuses it again: {error}")))
            else:
                pending.extend((table, half) for half in halves(several))
        else:
            stored.extend(letter.id for letter, _ in several)
    return stored, refused
