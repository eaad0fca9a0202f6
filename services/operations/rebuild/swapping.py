"""Makes one table anew beside live traffic, and swaps it in with no gap.

From the feed on, whatever the sink inserts goes to both tables, so that all the shadow lacks is in the log
by then.  ClickHouse shows an insert in the live table a moment before the feed has copied it, and a swap in
that moment would take rows away again.  So inserts are refused for the moment of the swap, and those that are
under way end before it; the sink outlasts that as it outlasts a restart of ClickHouse.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from services.operations.exits import CommandError
from services.operations.rebuild.core import statements
from services.operations.rebuild.core.kinds import Kind
from services.operations.rebuild.core.scope import Scope
from services.operations.rebuild.core.steps import DONE_BEFORE, Step, next_step
from services.operations.rebuild.engine import Engine
from services.operations.rebuild.shadow_table import Bench, Built, build, carry_over, parts

GATE_SECONDS = 15
SWAP_WITHIN_SECONDS = 11.0
"""Inserts that take longer than this are waited for with the gate open."""
PATIENCE_TRIES = 60

Passed = Callable[[str], Awaitable[None]]
"""Hears which point was passed; tests end the command there."""


async def nobody(_: str) -> None:
    """Let every point pass."""


@dataclass
class Swapped:
    """What became of a table."""

    table: str
    read: int = 0
    rows: int = 0
    refused: int = 0
    carried: int = 0
    unknown: int = 0
    examples: list[str] = field(default_factory=list)
    kept: str | None = None
    finished_before: bool = False
    """An earlier call had done the swap, and this one only cleaned up."""
    seconds: float = 0.0


async def rebuild(bench: Bench, kind: Kind, *, keep_unknown: bool, passed: Passed = nobody) -> Swapped:
    """Make a table anew; the old one stays under its `kept` name."""
    clock = asyncio.get_running_loop().time
    began = clock()
    if await clean(bench.engine, kind):
        return Swapped(kind.table, kept=kind.kept, finished_before=True)
    names = await bench.engine.columns(kind)
    await begin(bench.engine, kind)
    await passed("fed")
    built = await build(bench, kind, kind.shadow, Scope())
    await passed("built")
    result = await _completed(bench, built, names, keep_unknown=keep_unknown)
    await passed("completed")
    bench.bar.begin(f"{kind.table}: swapping", None)
    await swap(bench.engine, kind, passed)
    await passed("swapped")
    await clean(bench.engine, kind)
    result.kept, result.seconds = kind.kept, clock() - began
    return result


async def _completed(bench: Bench, built: Built, names: list[str], *, keep_unknown: bool) -> Swapped:
    before, _ = await _unknown(bench, built.kind)
    await carry_over(bench, built, names, Scope(), unknown=keep_unknown)
    unknown, examples = await _unknown(bench, built.kind)
    return Swapped(
        built.kind.table,
        read=built.copied.read,
        rows=built.total.rows,
        refused=built.copied.refused,
        carried=max(0, before - unknown),
        unknown=unknown,
        examples=examples,
    )


async def _unknown(bench: Bench, kind: Kind) -> tuple[int, list[str]]:
    """Return how many rows of the live table the shadow lacks, and some of them."""
    shares = await parts(bench.engine, kind)
    count, examples = 0, list[str]()
    for part in range(shares):
        (found,) = await bench.engine.rows(statements.unknown(kind, part, shares))
        count, examples = count + found["rows"], examples + found["examples"]
    return count, examples[: statements.MOST_EXAMPLES]


async def begin(engine: Engine, kind: Kind) -> None:
    """Make the shadow and its feed.  Under its name it is never without the comment that says what it is."""
    await engine.change(statements.create(kind, kind.scratch))
    await engine.change(statements.comment(kind.scratch, statements.BUILDING))
    await engine.change(f"RENAME TABLE {kind.scratch} TO {kind.shadow}")
    shadow = (await engine.tables())[kind.shadow]
    await engine.change(statements.feed(kind, shadow.uuid))


async def swap(engine: Engine, kind: Kind, passed: Passed = nobody) -> None:
    """Let both tables change names while nothing is inserted; CommandError when inserts never end."""
    comment = (await engine.tables())[kind.table].comment
    for _ in range(PATIENCE_TRIES):
        if await _swapped(engine, kind, comment, passed):
            return
        await engine.change(statements.open_gate(kind.table))
        await asyncio.sleep(1)
    raise CommandError(
        f"inserts into {kind.table} take so long that there is no moment to swap tables in; nothing was"
        " changed.  Run the same call when there is less to do, or `afterword rebuild --abort` to clean up."
    )


async def _swapped(engine: Engine, kind: Kind, comment: str, passed: Passed) -> bool:
    clock = asyncio.get_running_loop().time
    (now,) = await engine.rows(statements.later(GATE_SECONDS))
    began = clock()
    await engine.change(statements.close_gate(kind, now["until"]))
    closed = clock()
    await passed("gated")
    # Those that began later are refused; the sink tries again and again, so there may always be one.
    while await engine.number(statements.inserts(kind, clock() - closed), "running"):
        if clock() - began > SWAP_WITHIN_SECONDS:
            return False
        await asyncio.sleep(0.02)
    await engine.change(statements.comment(kind.shadow, comment))
    await passed("commented")
    if clock() - began > SWAP_WITHIN_SECONDS:
        return False
    await engine.change(statements.swap(kind))
    return True


async def clean(engine: Engine, kind: Kind) -> bool:
    """Put right what is left of a rebuild; tell whether its swap had been done."""
    was_done = False
    while (step := next_step(kind, await engine.tables())) is not None:
        for statement in _STATEMENTS[step](kind):
            await engine.change(statement)
        was_done = was_done or step in DONE_BEFORE
    return was_done


def _dropped(table: str) -> str:
    return f"DROP TABLE IF EXISTS {table} SYNC SETTINGS max_table_size_to_drop = 0"


def drop_kept(kind: Kind) -> str:
    """Drop the old table that a rebuild kept."""
    return _dropped(kind.kept)


_STATEMENTS: dict[Step, Callable[[Kind], list[str]]] = {
    Step.OPEN_GATE: lambda kind: [statements.open_gate(kind.table)],
    Step.MARK: lambda kind: [statements.comment(kind.shadow, statements.BUILDING)],
    Step.DROP_FEED: lambda kind: [_dropped(kind.feed)],
    Step.FINISH: lambda kind: [_dropped(kind.feed)],
    Step.DROP_SHADOW: lambda kind: [_dropped(kind.shadow)],
    Step.DROP_SCRATCH: lambda kind: [_dropped(kind.scratch)],
    Step.KEEP: lambda kind: [
        statements.open_gate(kind.shadow),
        _dropped(kind.kept),
        f"RENAME TABLE {kind.shadow} TO {kind.kept}",
    ],
}
